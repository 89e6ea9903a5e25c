// Package session opens, keeps and ends iSCSI sessions of the kernel's
// iscsi_tcp: it connects the socket, creates the kernel's session, logs in over
// it, sets the parameters, starts it, scans the LUN and finds its disk.
package session

import (
	"context"
	"net/netip"
	"time"

	"github.com/rootlun/rootlun/session/login"
)

// Config describes one session. Start from Default.
type Config struct {
	InitiatorName string
	TargetName    string
	Portal        netip.AddrPort // may carry a zone
	Source        netip.Addr     // local address; the zero Addr: the kernel's choice
	CHAP          *login.CHAP    // nil: none
	Offer         login.Params
	Timers        Timers
	CmdsMax       uint16 // node.session.cmds_max
	QueueDepth    uint16 // node.session.queue_depth
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

// Default returns the settings of a root: NOPs off, replacement timeout 86400 s.
func Default() Config { panic("not written yet") }

// Set applies one open-iscsi record setting by its name, as rd.iscsi.param has
// it: Set("node.session.timeo.replacement_timeout", "120").
func (c *Config) Set(name, value string) error { panic("not written yet") }

// Session is a session that is logged in.
type Session struct {
	SID    uint32
	HostNo uint32
	Config Config
	login.Result
}

// Login makes one attempt. When it fails nothing of it is left in the kernel.
func Login(ctx context.Context, cfg Config) (*Session, error) { panic("not written yet") }

// Disk is the block device of a logical unit.
type Disk struct {
	Name   string // "sda": the kernel's name
	LUN    uint64
	Size   uint64 // bytes
	Vendor string
	Model  string
}

// Disk scans exactly one LUN, as the kernel counts it, and waits until its
// block device is there or ctx ends. ErrNoLUN says that the target has no such
// unit.
func (s *Session) Disk(ctx context.Context, lun uint64) (Disk, error) { panic("not written yet") }

// Logout removes the session's disks, logs out and destroys the session.
func (s *Session) Logout(ctx context.Context) error { panic("not written yet") }
