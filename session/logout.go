package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/pdu"
)

// logoutTimeout is how long the target has to answer what the removal of its
// disks asks of it, and then a Logout Request.
const logoutTimeout = 15 * time.Second

// scanGrace is what a scan has to end in that waits for no answer.
const scanGrace = time.Second

// Logout removes the session's disks, logs out and destroys the session. The
// disks must not be in use, and iscsi_tcp must be its driver. A target that does
// not answer is no error, as its connection is closed all the same. Errors are
// *OpError.
func (s *Session) Logout(ctx context.Context) error {
	a := &attempt{Session: s, start: time.Now()}
	if driver := s.in.sys.Attr(fmt.Sprintf("class/scsi_host/host%d/proc_name", s.HostNo)); driver != "" && driver != "iscsi_tcp" {
		return a.failed("log out", fmt.Errorf("the session is of the driver %s, whose own tool can", driver))
	}
	a.conn = s.in.netlink.Listen(s.SID, cid)
	defer a.conn.Close()
	state, err := s.in.sys.SessionAttr(s.SID, "state")
	if s.mute.Load() || err == nil && state != "LOGGED_IN" {
		a.giveUp()
	} else if err := a.leave(ctx); err != nil {
		s.in.note(fmt.Sprintf("%s at %v: log out: %v", s.Config.TargetName, s.Portal, err))
	}
	if err := a.destroy(); err != nil {
		return a.failed("destroy session", err)
	}
	return nil
}

// giveUp ends the connection of a target that does not answer. The removal of
// disks waits for that with a scan, for minutes, and on a session that is lost
// for the replacement timeout; destroy ends that. But a scan that has had its
// last answer must have ended before: the kernel (6.1, iscsi_sw_tcp_slave_configure)
// takes the connection for granted there.
func (a *attempt) giveUp() {
	ctx, cancel := context.WithTimeout(context.Background(), scanGrace)
	defer cancel()
	_ = a.conn.Stop(ctx, kernel.StopTerm)
	ended := make(chan struct{})
	go func() { // ends with the session
		a.scans.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done(): // those wait for an answer that cannot come
	}
}

// leave removes the disks and logs out.
func (a *attempt) leave(ctx context.Context) error {
	if err := a.unbind(ctx); err != nil {
		return err
	}
	return a.logOut(ctx)
}

// unbind removes the disks. The kernel says when they are gone.
func (a *attempt) unbind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, logoutTimeout)
	defer cancel()
	if err := a.in.netlink.UnbindSession(ctx, a.SID); err != nil {
		return err
	}
	for {
		ev, err := a.conn.Receive(ctx)
		switch {
		case ctx.Err() != nil && err != nil:
			return &awaited{"the kernel did not finish", ctx.Err()}
		case errors.Is(err, kernel.ErrLost):
			return nil // DESTROY_SESSION removes what is left
		case err != nil:
			return err
		case ev.Kind == kernel.SessionUnbound:
			return nil
		}
	}
}

// logOut tells the target. What else arrives meanwhile is answers to earlier
// commands of no more interest.
func (a *attempt) logOut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, logoutTimeout)
	defer cancel()
	conn := pduConn{a.conn}
	request := pdu.LogoutRequest{Immediate: true, Reason: pdu.LogoutSession}
	if err := conn.Send(ctx, request.Marshal()); err != nil {
		if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EPERM) {
			return nil // the connection is down already
		}
		return err
	}
	for {
		p, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		response, err := pdu.ParseLogoutResponse(p)
		if err != nil {
			continue
		}
		if response.Response != 0 { // RFC 7143, 11.15.1
			return fmt.Errorf("the target answers with response %d", response.Response)
		}
		return nil
	}
}
