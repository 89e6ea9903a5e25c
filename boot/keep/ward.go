package keep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/pdu"
)

// ward is a session that is kept, or that is to be.
type ward struct {
	nic    int
	lun    uint64
	any    bool
	config session.Config // of a path

	*session.Session // nil: it is not logged in to yet

	down  error     // why it has to be repaired; nil: it has not
	since time.Time // when that was seen
	due   time.Time // the next attempt
	tries int
	last  string // what the last one failed of
}

// errDown is all that is known of a session whose end was not heard.
var errDown = errors.New("it is not logged in")

// keep looks after one session until the kernel has it no more.
func (k *keeper) keep(ctx context.Context, w *ward) {
	for ctx.Err() == nil {
		up, there := false, true
		if w.Session != nil {
			up, there = w.Up()
		}
		if !there {
			k.Printf("session %d is no more", w.SID)
			w.Unwatch()
			return
		}
		if !up && w.down == nil {
			w.down = errDown
		}
		wait := k.seldom
		switch {
		case k.other():
			w.down = nil // its needs are the other's to know, and are seen when that one has gone
			w.tries, wait = 0, k.often
		case w.down == nil: // also where the other had it until now
			_ = w.Refresh()
		default:
			if wait = time.Until(w.due); wait <= 0 {
				k.attempt(ctx, w)
				continue
			}
		}
		k.listen(ctx, w, wait)
	}
}

// listen waits for what happens to the session.
func (k *keeper) listen(ctx context.Context, w *ward, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if w.Session == nil {
		<-ctx.Done()
		return
	}
	news, err := w.Next(ctx)
	switch {
	case err != nil:
		<-ctx.Done() // also where there will be no more news: it is looked at all the same
	case news.Down != nil:
		w.down, w.due = news.Down, time.Now().Add(rand.N(k.first)) // others have lost the same target
	case news.PDU != nil && !k.other():
		k.answer(ctx, w, *news.PDU)
	}
}

// attempt makes one to log in, and says when the next is due if it fails.
func (k *keeper) attempt(ctx context.Context, w *ward) {
	began := time.Now()
	if w.tries++; w.tries == 1 {
		w.since, w.last = began, ""
		if w.Session != nil {
			_ = w.Refresh() // else what was known before
			k.Printf("session %d: %v; reconnecting to %s at %v", w.SID, w.down, w.Config.TargetName, w.Config.Portal)
		}
	}
	err := k.logIn(ctx, w)
	if err == nil {
		k.Printf("session %d: logged in to %s at %v after %v", w.SID, w.Config.TargetName, w.Portal, time.Since(w.since).Round(time.Millisecond))
		w.down, w.due, w.tries = nil, time.Time{}, 0
		return
	}
	pause := min(k.first<<min(w.tries-1, 16), k.most)
	if session.Retry(err) != session.Normally {
		pause = k.slow
	}
	w.due = began.Add(jitter(pause)) // what the attempt took is time that the target had
	if cause := session.Cause(err); cause != w.last && !errors.Is(err, session.ErrNotMine) && ctx.Err() == nil {
		w.last = cause
		k.Printf("%v; trying again", err)
	}
}

// logIn gives the session that is there another connection, or logs in. The
// interface has the name that it has now: udev may have renamed it.
func (k *keeper) logIn(ctx context.Context, w *ward) error {
	cfg := &w.config
	if w.Session != nil {
		cfg = &w.Config
	}
	if w.nic != 0 {
		cfg.Interface = network.Name(w.nic)
		if a := cfg.Portal.Addr(); a.Zone() != "" {
			cfg.Portal = netip.AddrPortFrom(a.WithZone(cfg.Interface), cfg.Portal.Port())
		}
	}
	if w.Session != nil {
		return w.Reconnect(ctx, func() bool { return !k.other() })
	}
	s, err := k.in.Login(ctx, w.config)
	if err != nil {
		return err
	}
	_, err = s.Disk(ctx, w.lun)
	if w.any && errors.Is(err, session.ErrNoLUN) {
		_, err = s.Disks(ctx)
	}
	if err != nil {
		return errors.Join(err, s.Logout(context.Background()))
	}
	s.Watch()
	w.Session = s
	return nil
}

// answer does what the kernel leaves to user space of what a target sends on its
// own: asynchronous messages (RFC 7143, 11.9.1). A NOP-In the kernel answers
// (libiscsi.c, iscsi_send_nopout).
func (k *keeper) answer(ctx context.Context, w *ward, p pdu.PDU) {
	m, err := pdu.ParseAsync(p)
	if err != nil || m.Event == pdu.AsyncSCSI || m.Event > pdu.AsyncRenegotiate {
		return
	}
	w.down = fmt.Errorf("asynchronous message %d of the target", m.Event)
	w.due = time.Time{}
	if m.Event == pdu.AsyncLogout || m.Event == pdu.AsyncRenegotiate { // within Parameter3 seconds
		if err := w.LeaveConnection(ctx); err != nil {
			k.Printf("%v", err)
		}
		return
	}
	// It closes the connection, and is to be left alone for Parameter2 seconds. A
	// root can't wait for as long as 16 bits of them.
	w.due = time.Now().Add(min(time.Duration(m.Parameter2)*time.Second, time.Minute))
}
