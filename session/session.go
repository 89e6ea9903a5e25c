// Package session opens, keeps and ends iSCSI sessions of the kernel's
// iscsi_tcp: it connects the socket, creates the kernel's session, logs in over
// it, sets the parameters, starts it, scans the LUN and finds its disk.
//
// What it leaves in the kernel is what open-iscsi's iscsid reads when it takes
// sessions over: names, addresses, credentials and negotiated values, and an
// ISID made as iscsid makes it.
package session

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/login"
)

// Config describes one session. Start from Default.
type Config struct {
	InitiatorName string
	TargetName    string
	Portal        netip.AddrPort // may carry a zone
	Interface     string         // the NIC to leave by (SO_BINDTODEVICE); empty: the kernel's choice
	CHAP          *login.CHAP    // nil: none
	NeedCHAP      bool           // node.session.auth.authmethod=CHAP: no login without credentials
	Offer         login.Params
	// MaxXmitDataSegmentLength is node.conn[0].iscsi.MaxXmitDataSegmentLength, in
	// bytes; 0: what the target declares, which is the most in any case.
	MaxXmitDataSegmentLength uint32

	Timers     Timers
	CmdsMax    uint16 // node.session.cmds_max
	QueueDepth uint16 // node.session.queue_depth
	TCPWindow  int    // node.conn[0].tcp.window_size, bytes: SO_RCVBUF and SO_SNDBUF; 0: the kernel's tuning

	// Resolve returns the addresses of a host, at least one, those to try first in
	// front. It is for a target that sends us to a name; nil: that is an error.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Note hears what Discover does beyond the plain way; nil: nobody. Of a login
	// the Initiator's hears.
	Note func(string)

	Warnings []string // what Set took, and could not do
}

// Timers holds the node.*.timeo settings. They reach the kernel in whole seconds.
type Timers struct {
	Replacement  time.Duration // node.session.timeo.replacement_timeout; negative: wait for ever
	NoopInterval time.Duration // node.conn[0].timeo.noop_out_interval; 0: off
	NoopTimeout  time.Duration // node.conn[0].timeo.noop_out_timeout; 0: off
	Abort        time.Duration // node.session.err_timeo.abort_timeout
	LUReset      time.Duration // node.session.err_timeo.lu_reset_timeout
	TargetReset  time.Duration // node.session.err_timeo.tgt_reset_timeout
	Login        time.Duration // node.conn[0].timeo.login_timeout: one attempt, from connect to start
	FastAbort    bool          // node.session.iscsi.FastAbort
}

// Default returns the settings of a root: NOPs off and a replacement timeout of
// 86400 s (open-iscsi's README, 8.2), the rest but TCPWindow as open-iscsi has
// it, but for the digests that a target may insist on.
func Default() Config {
	offer := login.DefaultParams()
	// The first is what we would rather have; a target may insist on the other.
	offer.HeaderDigest = []login.Digest{login.DigestNone, login.DigestCRC32C}
	offer.DataDigest = []login.Digest{login.DigestNone, login.DigestCRC32C}
	return Config{
		Offer: offer,
		Timers: Timers{
			Replacement: 86400 * time.Second,
			Abort:       15 * time.Second,
			LUReset:     30 * time.Second,
			TargetReset: 30 * time.Second,
			Login:       15 * time.Second,
			FastAbort:   true,
		},
		CmdsMax:    128,
		QueueDepth: 32,
		// open-iscsi asks for 512 KiB, which net.core.rmem_max usually cuts. Such
		// a buffer fills up and reads stall on a closed TCP window, which the
		// kernel's own tuning avoids.
		TCPWindow: 0,
	}
}

// check finds what would only fail later, and worse.
func (c Config) check() error {
	bad := ""
	switch {
	case c.InitiatorName == "":
		bad = "no initiator name is given"
	case c.TargetName == "":
		bad = "no target name is given"
	case !c.Portal.IsValid() || c.Portal.Port() == 0:
		bad = "no portal is given"
	case c.Timers.Login <= 0:
		bad = "the login timeout is not positive"
	default:
		return nil
	}
	return &login.ConfigError{Reason: bad}
}

// Initiator is the way to the kernel's iscsi_tcp. Several goroutines may open,
// use and end sessions through it at once.
type Initiator struct {
	sys     kernel.Sysfs
	netlink *kernel.Netlink
	note    func(string)
}

// New returns an Initiator on what is open already. Open does more.
func New(sys kernel.Sysfs, netlink *kernel.Netlink, note func(string)) *Initiator {
	if note == nil {
		note = func(string) {}
	}
	return &Initiator{sys: sys, netlink: netlink, note: note}
}

// Open opens the way to the kernel; the module iscsi_tcp must be loaded. note,
// when not nil, hears in one line what a login does beyond the plain way:
// redirects, a second attempt. Close the Initiator when no login is under way;
// its sessions live on.
func Open(note func(string)) (*Initiator, error) {
	const sys = kernel.Sysfs("/sys")
	netlink, err := kernel.Open(sys)
	if err != nil {
		return nil, fmt.Errorf("iSCSI: %w", err)
	}
	return New(sys, netlink, note), nil
}

// Port is the number that /proc/net/netlink knows its socket by.
func (in *Initiator) Port() (uint32, error) { return in.netlink.Port() }

// Close ends the use of the kernel's interface.
func (in *Initiator) Close() error { return in.netlink.Close() }

// Session is a session that is logged in.
type Session struct {
	SID    uint32
	HostNo uint32
	Portal netip.AddrPort // where it is logged in: Config.Portal, or where that one sent us
	Config Config
	login.Result

	in     *Initiator
	scans  sync.WaitGroup // that are under way
	mute   atomic.Bool    // the target was found to answer no more
	target uint32         // its number on the host: an adapter's host has several
	watch  *kernel.Conn   // see Watch; nil: nobody watches

	adopted bool // its parameters are in the kernel, and only what a login agrees on is new
}

// cid is the number of a session's only connection.
const cid = 0

// Attach returns a session that exists in the kernel, as whoever made it left
// it. cfg is what Reconnect would log in with. The login.Result is empty.
func (in *Initiator) Attach(sid uint32, cfg Config) (*Session, error) {
	host, err := in.sys.HostNo(sid)
	if err != nil {
		return nil, fmt.Errorf("session %d: %w", sid, err)
	}
	return &Session{SID: sid, HostNo: host, Portal: cfg.Portal, Config: cfg, in: in, target: in.sys.TargetID(sid)}, nil
}
