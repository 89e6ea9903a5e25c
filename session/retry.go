package session

import (
	"time"

	"github.com/rootlun/rootlun/session/login"
)

// Pace is how soon an attempt that failed is worth making again.
type Pace int

const (
	// Never: only a change on this machine helps.
	Never Pace = iota
	// Slowly: somebody has to mend the target, or this machine. Asking at speed
	// would fill its log, and may lock the account.
	Slowly
	// Normally: it may pass by itself.
	Normally
)

// SlowPause is the pause between two attempts that are made slowly.
const SlowPause = 30 * time.Second

// Retry says at what pace to try again after err, what Login, Reconnect,
// Discover, Disk or Disks returned. Of several errors, one for each address of a
// portal, that with the most hope counts.
func Retry(err error) Pace {
	pace, _ := retry(err)
	return pace
}

// retry also says whether the kind of err, or of one that it wraps, is known:
// what came up while undoing an attempt does not hide why that failed.
func retry(err error) (_ Pace, known bool) {
	switch e := err.(type) {
	case *login.ConfigError:
		return Never, true
	case *login.StatusError:
		return ofStatus(e.Class, e.Detail), true
	case *login.AuthError, *login.ProtocolError, *login.RedirectError: // the last: in circles
		return Slowly, true
	case *OpError:
		pace, _ := retry(e.Err)
		return pace, true
	case interface{ Unwrap() error }:
		return retry(e.Unwrap())
	case interface{ Unwrap() []error }:
		best := Normally
		for _, one := range e.Unwrap() {
			if pace, ok := retry(one); ok && (!known || pace > best) {
				best, known = pace, true
			}
		}
		return best, known
	}
	return Normally, false
}

// ofStatus is for a status of RFC 7143, 11.13.5. A target that is starting may
// not know its own targets yet, and one that has lost its connections takes a
// while to notice.
func ofStatus(class, detail uint8) Pace {
	if class == 3 || class == 2 && (detail == 0x03 || detail == 0x06) {
		return Normally
	}
	return Slowly
}
