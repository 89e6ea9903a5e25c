package session

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/pdu"
)

// Adopt returns a session that somebody else logged in, to be kept from now on:
// Watch hears of it, Reconnect repairs it. Its Config is what sysfs says.
func (in *Initiator) Adopt(sid uint32) (*Session, error) {
	s, err := in.Attach(sid, Default())
	if err != nil {
		return nil, err
	}
	return s, s.Refresh()
}

// adopted are what a login brings, as sysfs has it and as a node record does, in
// the order that iscsid reads it (usr/iscsi_sysfs.c). The kernel keeps the timers.
var adopted = [...]struct {
	attr, name string
	words      string // what 0 and 1 mean, parted by a blank; empty: it is no switch
}{
	{"username", "node.session.auth.username", ""},
	{"password", "node.session.auth.password", ""},
	{"username_in", "node.session.auth.username_in", ""},
	{"password_in", "node.session.auth.password_in", ""},
	{"initial_r2t", "node.session.iscsi.InitialR2T", "No Yes"},
	{"immediate_data", "node.session.iscsi.ImmediateData", "No Yes"},
	{"first_burst_len", "node.session.iscsi.FirstBurstLength", ""},
	{"max_burst_len", "node.session.iscsi.MaxBurstLength", ""},
	{"max_outstanding_r2t", "node.session.iscsi.MaxOutstandingR2T", ""},
	{"max_recv_dlength", "node.conn[0].iscsi.MaxRecvDataSegmentLength", ""},
	{"header_digest", "node.conn[0].iscsi.HeaderDigest", "None,CRC32C CRC32C,None"},
	{"data_digest", "node.conn[0].iscsi.DataDigest", "None,CRC32C CRC32C,None"},
}

// Refresh reads the Config of a session that was adopted again, as another manager
// may have changed it. The digests stay while the connection is down: the kernel
// forgets them then (iscsi_tcp.c, iscsi_sw_tcp_conn_stop). So does the Interface,
// of which it never knew.
func (s *Session) Refresh() error {
	cfg := Default()
	cfg.Interface, cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = s.Config.Interface, s.Config.Offer.HeaderDigest, s.Config.Offer.DataDigest
	attr := func(name string) string {
		text, err := s.in.sys.SessionAttr(s.SID, name)
		if err != nil {
			text, _ = s.in.sys.ConnAttr(s.SID, cid, name)
		}
		return text
	}
	up, _ := s.Up()
	for _, a := range adopted {
		text := attr(a.attr)
		if no, yes, ok := strings.Cut(a.words, " "); ok {
			if text == "1" {
				text = yes
			} else {
				text = no
			}
		}
		if text != "" && (up || !strings.HasSuffix(a.attr, "_digest")) {
			_ = cfg.Set(a.name, text) // what only another initiator could have: the default
		}
	}
	cfg.TargetName, cfg.InitiatorName = attr("targetname"), attr("initiatorname")
	var err error
	cfg.Portal, err = netip.ParseAddrPort(net.JoinHostPort(attr("persistent_address"), attr("persistent_port")))
	if err == nil { // else it is not there any more
		s.Config, s.Portal, s.adopted = cfg, cfg.Portal, true
	}
	return err
}

// Up says whether the kernel has the session, and whether it is logged in.
func (s *Session) Up() (up, there bool) {
	state, err := s.in.sys.SessionAttr(s.SID, "state")
	return state == "LOGGED_IN", err == nil
}

// News is what happened to a session. All of it zero says that something may
// have happened of which the kernel's word was lost: look.
type News struct {
	Down error    // the connection was lost, and this is why
	PDU  *pdu.PDU // what the kernel leaves to us of what the target sent
}

// Watch has the session's news kept from now on, for Next, until Unwatch.
func (s *Session) Watch() { s.watch = s.in.netlink.Listen(s.SID, cid) }

// Unwatch ends Watch.
func (s *Session) Unwatch() {
	s.watch.Close()
	s.watch = nil
}

// Next waits for the next news, or returns ctx's error. What Reconnect has
// ended is no news any more.
func (s *Session) Next(ctx context.Context) (News, error) {
	for {
		ev, err := s.watch.Receive(ctx)
		switch {
		case errors.Is(err, kernel.ErrLost):
			return News{}, nil
		case err != nil:
			return News{}, err
		case ev.Kind == kernel.ConnFailed:
			return News{Down: ev.Code}, nil
		case ev.Kind == kernel.SessionDestroyed:
			return News{}, nil
		case ev.Kind == kernel.ReceivedPDU:
			if p, err := splitPDU(ev.PDU); err == nil {
				return News{PDU: &p}, nil
			}
		}
	}
}

// LeaveConnection logs out as a target asks for (RFC 7143, 11.9.1), within its
// time. The devices stay, and wait: Reconnect comes next.
func (s *Session) LeaveConnection(ctx context.Context) error {
	a := &attempt{Session: s, start: time.Now(), conn: s.watch}
	if err := a.logOut(ctx); err != nil {
		return a.failed("log out", err)
	}
	return nil
}

// Cause is why an attempt failed, without the times, which differ at each.
func Cause(err error) string {
	if op, ok := errors.AsType[*OpError](err); ok {
		err = op.Err
	}
	return err.Error()
}
