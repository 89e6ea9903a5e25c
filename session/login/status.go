package login

import (
	"errors"
	"fmt"
)

// Status classes (RFC 7143, 11.13.5).
const (
	classRedirect  = 1
	classInitiator = 2 // ours to mend
	classTarget    = 3 // may pass
)

// What errors.Is finds in a *StatusError, the first also in an *AuthError.
var (
	ErrNoCredentials     = errors.New("credentials are missing") // the target wants some, none are configured
	ErrAuthFailed        = errors.New("authentication failed")   // 0201
	ErrNotAuthorized     = errors.New("not authorized")          // 0202
	ErrTargetNotFound    = errors.New("target not found")        // 0203
	ErrTargetRemoved     = errors.New("target removed")          // 0204
	ErrTargetUnavailable = errors.New("target is not available") // class 3, any detail
)

// StatusError says that the target refused the login (RFC 7143, 11.13.5).
type StatusError struct {
	Target        string
	Class, Detail uint8
	CHAP          bool      // credentials were offered
	Algorithm     Algorithm // that CHAP used; 0: it had not got so far

	retryMD5 bool
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("login to %s: the target refused it with status %02x%02x: %s", e.Target, e.Class, e.Detail, e.text())
}

// Temporary tells whether the same login may succeed later.
func (e *StatusError) Temporary() bool { return e.Class == classTarget }

// Is finds the errors named above.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrNoCredentials:
		return e.code() == 0x0201 && !e.CHAP
	case ErrAuthFailed:
		return e.code() == 0x0201
	case ErrNotAuthorized:
		return e.code() == 0x0202
	case ErrTargetNotFound:
		return e.code() == 0x0203
	case ErrTargetRemoved:
		return e.code() == 0x0204
	case ErrTargetUnavailable:
		return e.Class == classTarget
	}
	return false
}

func (e *StatusError) code() uint16 { return uint16(e.Class)<<8 | uint16(e.Detail) }

// text says what the status means to an operator, and what to check.
func (e *StatusError) text() string {
	switch e.code() {
	case 0x0200:
		return "the target found a fault in our login" + with(e.Algorithm) + "; check its log"
	case 0x0201:
		if !e.CHAP {
			return "it wants authentication, and no credentials are configured"
		}
		if e.Algorithm == 0 {
			return "it does not take CHAP from us, or none of the digests offered; check which authentication it is set to"
		}
		return "authentication failed" + with(e.Algorithm) + "; check user name and secret on both sides"
	case 0x0202:
		return "this initiator may not use the target; check the initiator name and the target's access list"
	case 0x0203:
		return "there is no such target; check the target name, and that this initiator may see it"
	case 0x0204:
		return "the target has been removed, and nobody knows where to"
	case 0x0205:
		return "the target does not speak this version of iSCSI"
	case 0x0206:
		return "too many connections in this session"
	case 0x0207:
		return "a parameter is missing, for example the initiator or target name"
	case 0x0208:
		return "the target cannot include this connection in the session"
	case 0x0209:
		return "the target does not offer this type of session; check that the portal is the target's own"
	case 0x020a:
		return "the session to join does not exist"
	case 0x020b:
		return "the target does not take this kind of request in a login"
	case 0x0300:
		return "the target has a fault of its own; check its log"
	case 0x0301:
		return "the target is not in service at present; where that lasts, check that the target name exists there"
	case 0x0302:
		return "the target has no resources left for another session"
	}
	switch e.Class {
	case classInitiator:
		return "a fault of the initiator's, of a kind this program does not know"
	case classTarget:
		return "a fault of the target's, of a kind this program does not know"
	}
	return "a status that RFC 7143 does not know"
}
