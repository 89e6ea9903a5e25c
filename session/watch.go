package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/login"
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

// Software returns the numbers of the sessions of iscsi_tcp, in order.
func (in *Initiator) Software() ([]uint32, error) {
	sids, err := in.sys.Sessions()
	var list []uint32
	for _, sid := range sids {
		if in.sys.Driver(sid) == "iscsi_tcp" {
			list = append(list, sid)
		}
	}
	return list, err
}

// adopted are the attributes of a session and its connection that are settings
// of a node record, as iscsid reads them (usr/iscsi_sysfs.c). Those that no
// target may see differ from ours are left out, as is what only a new session has.
var adopted = [...]struct {
	conn       bool
	name, node string
}{
	{false, "username", "node.session.auth.username"},
	{false, "password", "node.session.auth.password"},
	{false, "username_in", "node.session.auth.username_in"},
	{false, "password_in", "node.session.auth.password_in"},
	{false, "recovery_tmo", "node.session.timeo.replacement_timeout"},
	{false, "abort_tmo", "node.session.err_timeo.abort_timeout"},
	{false, "lu_reset_tmo", "node.session.err_timeo.lu_reset_timeout"},
	{false, "tgt_reset_tmo", "node.session.err_timeo.tgt_reset_timeout"},
	{false, "fast_abort", "node.session.iscsi.FastAbort"},
	{false, "initial_r2t", "node.session.iscsi.InitialR2T"},
	{false, "immediate_data", "node.session.iscsi.ImmediateData"},
	{false, "first_burst_len", "node.session.iscsi.FirstBurstLength"},
	{false, "max_burst_len", "node.session.iscsi.MaxBurstLength"},
	{false, "max_outstanding_r2t", "node.session.iscsi.MaxOutstandingR2T"},
	{true, "ping_tmo", "node.conn[0].timeo.noop_out_timeout"},
	{true, "recv_tmo", "node.conn[0].timeo.noop_out_interval"},
	{true, "max_recv_dlength", "node.conn[0].iscsi.MaxRecvDataSegmentLength"},
	{true, "header_digest", "node.conn[0].iscsi.HeaderDigest"},
	{true, "data_digest", "node.conn[0].iscsi.DataDigest"},
}

// Refresh reads the Config again, as another manager may have changed it. The
// digests stay while the connection is down: the kernel forgets them then
// (iscsi_tcp.c, iscsi_conn_stop). So does the Interface, of which it never knew.
func (s *Session) Refresh() error {
	cfg := Default()
	cfg.Interface = s.Config.Interface
	var err error
	if cfg.TargetName, err = s.in.sys.SessionAttr(s.SID, "targetname"); err != nil {
		return fmt.Errorf("session %d: %w", s.SID, err)
	}
	cfg.InitiatorName, _ = s.in.sys.SessionAttr(s.SID, "initiatorname")
	address, _ := s.in.sys.ConnAttr(s.SID, cid, "persistent_address")
	port, _ := s.in.sys.ConnAttr(s.SID, cid, "persistent_port")
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("session %d: its portal %q is no address", s.SID, address)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	cfg.Portal = netip.AddrPortFrom(addr, uint16(n))
	for _, a := range adopted {
		var text string
		if a.conn {
			text, _ = s.in.sys.ConnAttr(s.SID, cid, a.name)
		} else {
			text, _ = s.in.sys.SessionAttr(s.SID, a.name)
		}
		digest := strings.HasSuffix(a.name, "_digest")
		boolean := a.name == "fast_abort" || a.name == "initial_r2t" || a.name == "immediate_data"
		switch {
		case text == "off": // recovery_tmo
			text = "-1"
		case digest && text == "1":
			text = "CRC32C,None"
		case boolean && text == "1":
			text = "Yes"
		case boolean && text == "0":
			text = "No"
		case text == "" || digest: // the default
			continue
		}
		_ = cfg.Set(a.node, text) // a value that only another initiator could have: the default
	}
	if up, _ := s.Up(); !up {
		cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = s.Config.Offer.HeaderDigest, s.Config.Offer.DataDigest
	}
	s.Config, s.Portal = cfg, cfg.Portal
	return nil
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
	Gone bool     // the session is no more
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
			return News{Gone: true}, nil
		case ev.Kind == kernel.ReceivedPDU:
			if p, err := splitPDU(ev.PDU); err == nil {
				return News{PDU: &p}, nil
			}
		}
	}
}

// Send has the kernel send a PDU; it numbers it.
func (s *Session) Send(ctx context.Context, p pdu.PDU) error {
	return pduConn{s.watch}.Send(ctx, p)
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

// NeedsSomebody says that an attempt failed in a way in which the next one will
// too, until somebody does something on the target, or here.
func NeedsSomebody(err error) bool {
	var refused *login.StatusError
	var auth *login.AuthError
	var protocol *login.ProtocolError
	if errors.As(err, &refused) {
		return !refused.Temporary() && !errors.Is(err, login.ErrTargetNotFound) // it may still be starting
	}
	return errors.As(err, &auth) || errors.As(err, &protocol) || errors.Is(err, ErrNoLUN)
}

// Cause is why an attempt failed, without the times, which differ at each.
func Cause(err error) string {
	if op := (*OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}
