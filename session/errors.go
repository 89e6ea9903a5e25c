package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoLUN says that the target has no such logical unit, or none that is a disk.
var ErrNoLUN = errors.New("the target has no such logical unit")

const (
	opLogin  = "log in"
	opFollow = "follow its redirect to "
)

// unasked warns of a login without authentication to the portal that follows,
// though there are credentials.
const unasked = "warning: authentication is optional, and not asked for by "

// ErrNotMine says that Reconnect has left a session to another manager.
var ErrNotMine = errors.New("another process manages the session")

// OpError is a step of a session that failed. It wraps the cause: the kernel's
// answer (*kernel.OpError, unix.Errno), the connection's end (kernel.ConnError),
// the login's (the errors of package login), ErrNoLUN, or the context's.
type OpError struct {
	Op     string // "connect", "create session", "log in", …
	Target string
	Portal netip.AddrPort
	After  time.Duration // since the attempt began
	Err    error
}

func (e *OpError) Error() string {
	after := e.After.Round(time.Millisecond)
	if e.Op == opLogin { // package login names the step and the target
		return fmt.Sprintf("portal %v, after %v: %v", e.Portal, after, e.Err)
	}
	return fmt.Sprintf("%s at %v: %s, after %v: %v", e.Target, e.Portal, e.Op, after, e.Err)
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// awaited says in words what a context's end cut short.
type awaited struct {
	what string
	err  error
}

func (e *awaited) Error() string {
	if errors.Is(e.err, context.Canceled) {
		return e.what + " when the attempt was cancelled"
	}
	return e.what + " in time"
}

func (e *awaited) Unwrap() error { return e.err }

// explain adds what to check to the errors of connect.
func explain(err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		hint = "check that the target runs and listens on this port, and that no firewall rejects the connection"
	case errors.Is(err, unix.ENETUNREACH):
		hint = "check this machine's address and routes"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded):
		hint = "check the portal's address, cabling, VLAN and firewalls"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		hint = "check that the source address is on a NIC that is up"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}
