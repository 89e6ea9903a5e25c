package session

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/session/login"
)

// record is one setting of open-iscsi's node record (usr/idbm_fields.h).
type record struct {
	name string
	// to is what is set: a *bool, *uint16, *uint32 or *int, a *time.Duration of
	// whole seconds, a *[]login.Digest, or a function that does it. A string is the
	// only value that has an effect, nil a setting that means nothing while a
	// machine boots.
	to        any
	low, high uint64 // of a number
}

// warning is the error of a set that is no reason not to boot.
type warning string

func (w warning) Error() string { return string(w) }

// minSecret is how many bytes a CHAP secret should have: 96 bits (RFC 7143, 9.2.1).
const minSecret = 12

// Ranges of RFC 7143, section 13, and of libiscsi's iscsi_session_setup.
const (
	minSegment, maxSegment = 512, 1<<24 - 1
	minCmds, maxCmds       = 16, 4096
	maxQueueDepth          = 1024
	maxTime                = 3600
	maxSeconds             = 1<<31 - 1
)

// records returns all settings, as they set c.
func (c *Config) records() []record {
	o, t := &c.Offer, &c.Timers
	return []record{
		{"node.session.timeo.replacement_timeout", c.setReplacement, 0, 0},
		{"node.conn[0].timeo.noop_out_interval", &t.NoopInterval, 0, maxSeconds},
		{"node.conn[0].timeo.noop_out_timeout", &t.NoopTimeout, 0, maxSeconds},
		{"node.conn[0].timeo.login_timeout", &t.Login, 1, maxSeconds},
		{"node.session.err_timeo.abort_timeout", &t.Abort, 0, maxSeconds},
		{"node.session.err_timeo.lu_reset_timeout", &t.LUReset, 0, maxSeconds},
		{"node.session.err_timeo.tgt_reset_timeout", &t.TargetReset, 0, maxSeconds},
		{"node.session.initial_login_retry_max", new(uint32), 0, maxSeconds}, // who calls Login again counts

		{"node.session.cmds_max", c.setCmdsMax, 0, 0},
		{"node.session.queue_depth", &c.QueueDepth, 1, maxQueueDepth},
		{"node.conn[0].tcp.window_size", &c.TCPWindow, 0, 1 << 30},

		{"node.session.iscsi.InitialR2T", &o.InitialR2T, 0, 0},
		{"node.session.iscsi.ImmediateData", &o.ImmediateData, 0, 0},
		{"node.session.iscsi.FirstBurstLength", &o.FirstBurstLength, minSegment, maxSegment},
		{"node.session.iscsi.MaxBurstLength", &o.MaxBurstLength, minSegment, maxSegment},
		{"node.session.iscsi.MaxOutstandingR2T", &o.MaxOutstandingR2T, 1, 65535},
		{"node.session.iscsi.DefaultTime2Wait", &o.DefaultTime2Wait, 0, maxTime},
		{"node.session.iscsi.DefaultTime2Retain", &o.DefaultTime2Retain, 0, maxTime},
		{"node.session.iscsi.FastAbort", &t.FastAbort, 0, 0},
		{"node.session.iscsi.ERL", "0", 0, 0},
		{"node.session.iscsi.MaxConnections", "1", 0, 0},
		{"node.conn[0].iscsi.MaxRecvDataSegmentLength", &o.MaxRecvDataSegmentLength, minSegment, maxSegment},
		{"node.conn[0].iscsi.MaxXmitDataSegmentLength", c.setMaxXmit, 0, 0},
		{"node.conn[0].iscsi.HeaderDigest", &o.HeaderDigest, 0, 0},
		{"node.conn[0].iscsi.DataDigest", &o.DataDigest, 0, 0},
		{"node.conn[0].iscsi.IFMarker", "No", 0, 0}, // obsolete: RFC 7143, 13.25
		{"node.conn[0].iscsi.OFMarker", "No", 0, 0},

		{"node.session.auth.username", func(v string) error { c.chap().Username = v; return nil }, 0, 0},
		{"node.session.auth.password", func(v string) error { return setSecret(&c.chap().Secret, v) }, 0, 0},
		{"node.session.auth.username_in", func(v string) error { c.chap().UsernameIn = v; return nil }, 0, 0},
		{"node.session.auth.password_in", func(v string) error { return setSecret(&c.chap().SecretIn, v) }, 0, 0},
		{"node.session.auth.chap_algs", c.setAlgorithms, 0, 0},
		{"node.session.auth.authmethod", c.setAuthMethod, 0, 0},

		{"node.startup", nil, 0, 0},
		{"node.leading_login", nil, 0, 0},
		{"node.session.scan", nil, 0, 0}, // exactly one LUN is scanned
		{"node.session.reopen_max", nil, 0, 0},
		{"node.session.initial_cmdsn", nil, 0, 0}, // the kernel counts
		{"node.session.xmit_thread_priority", nil, 0, 0},
		{"node.session.err_timeo.host_reset_timeout", nil, 0, 0},
		{"node.conn[0].timeo.logout_timeout", nil, 0, 0},
		{"node.conn[0].timeo.auth_timeout", nil, 0, 0},
		{"node.conn[0].timeo.active_timeout", nil, 0, 0},
		{"node.conn[0].startup", nil, 0, 0},
		{"node.session.nr_sessions", "1", 0, 0},
		{"node.conn[0].tcp.type_of_service", "0", 0, 0},
		{"iface.transport_name", "tcp", 0, 0},
		{"iface.iscsi_ifacename", "default", 0, 0},
	}
}

// Set applies one open-iscsi record setting by its name, as rd.iscsi.param has
// it: Set("node.session.timeo.replacement_timeout", "120"). A setting that
// means nothing at boot is accepted. Of what is not supported, and can do
// without, a line is added to Warnings; of authentication nothing can. Neither
// these lines nor the error show a secret.
func (c *Config) Set(name, value string) error {
	for _, r := range c.records() {
		if r.name != name {
			continue
		}
		switch err := r.set(value).(type) {
		case nil:
		case warning:
			c.warn(name, err)
		default:
			return fmt.Errorf("%s = %q: %w", name, value, err)
		}
		return nil
	}
	const text = "this setting is not supported"
	namespace, _, _ := strings.Cut(name, ".")
	switch namespace {
	case "node", "iface", "discovery", "host", "iscsid": // open-iscsi's
		if !strings.Contains(name, ".auth.") {
			c.warn(name, text+", and has no effect")
			return nil
		}
	}
	return fmt.Errorf("%s: %s", name, text)
}

// warn adds to a list that copies of c may share as it is.
func (c *Config) warn(name string, w warning) {
	c.Warnings = append(c.Warnings[:len(c.Warnings):len(c.Warnings)], name+": "+string(w))
}

func number(v string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a number from %d to %d", low, high)
	}
	return n, nil
}

func (r *record) set(v string) error {
	switch to := r.to.(type) {
	case nil:
		return nil
	case func(string) error:
		return to(v)
	case string:
		if !strings.EqualFold(v, to) {
			return warning("only " + to + " is supported, and " + strconv.Quote(v) + " has no effect")
		}
		return nil
	case *bool:
		yes := strings.EqualFold(v, "Yes")
		if !yes && !strings.EqualFold(v, "No") {
			return fmt.Errorf("want Yes or No")
		}
		*to = yes
		return nil
	case *[]login.Digest:
		return setDigests(to, v)
	}
	n, err := number(v, r.low, r.high)
	if err != nil {
		return err
	}
	switch to := r.to.(type) {
	case *uint16:
		*to = uint16(n)
	case *uint32:
		*to = uint32(n)
	case *int:
		*to = int(n)
	case *time.Duration:
		*to = time.Duration(n) * time.Second
	}
	return nil
}

func (c *Config) setReplacement(v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return fmt.Errorf("want a number of seconds, or -1 for ever")
	}
	c.Timers.Replacement = time.Duration(max(n, -1)) * time.Second
	if n == 0 {
		return warning("the root's I/O fails as soon as its connection is lost")
	}
	return nil
}

func (c *Config) setCmdsMax(v string) error {
	n, err := number(v, minCmds, maxCmds)
	if err != nil {
		return err
	}
	if n&(n-1) != 0 {
		return fmt.Errorf("want a power of two")
	}
	c.CmdsMax = uint16(n)
	return nil
}

func (c *Config) setMaxXmit(v string) error {
	n, err := number(v, 0, maxSegment)
	if err == nil && 0 < n && n < minSegment {
		err = fmt.Errorf("want 0, which is what the target takes, or a number from %d to %d", minSegment, maxSegment)
	}
	if err == nil {
		c.MaxXmitDataSegmentLength = uint32(n)
	}
	return err
}

func setDigests(to *[]login.Digest, v string) error {
	var list []login.Digest
	for _, word := range strings.Split(v, ",") {
		switch word = strings.TrimSpace(word); {
		case strings.EqualFold(word, string(login.DigestCRC32C)):
			list = append(list, login.DigestCRC32C)
		case strings.EqualFold(word, string(login.DigestNone)):
			list = append(list, login.DigestNone)
		default:
			return fmt.Errorf("want CRC32C, None, or both in order of preference")
		}
	}
	*to = list
	return nil
}

// chap returns the credentials to be changed: a copy, as Configs that were copied
// share theirs.
func (c *Config) chap() *login.CHAP {
	var chap login.CHAP
	if c.CHAP != nil {
		chap = *c.CHAP
	}
	c.CHAP = &chap
	return c.CHAP
}

func setSecret(to *login.Secret, v string) error {
	*to = login.Secret(v)
	if len(v) < minSecret {
		return warning("the secret is shorter than the 12 bytes that RFC 7143 (9.2.1) asks for")
	}
	return nil
}

func (c *Config) setAlgorithms(v string) error {
	var list []login.Algorithm
	for _, word := range strings.Split(v, ",") {
		switch strings.ToUpper(strings.TrimSpace(word)) {
		case "MD5":
			list = append(list, login.MD5)
		case "SHA1":
			list = append(list, login.SHA1)
		case "SHA256":
			list = append(list, login.SHA256)
		case "SHA3-256":
			list = append(list, login.SHA3256)
		default:
			return fmt.Errorf("want a list of SHA3-256, SHA256, SHA1, MD5")
		}
	}
	c.chap().Algorithms = list
	return nil
}

func (c *Config) setAuthMethod(v string) error {
	c.NeedCHAP = strings.EqualFold(v, "CHAP")
	if !c.NeedCHAP && !strings.EqualFold(v, "None") { // with which credentials decide, as in open-iscsi
		return fmt.Errorf("only CHAP and None are supported")
	}
	return nil
}
