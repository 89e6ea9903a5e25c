package session

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/session/login"
)

// record is one setting of open-iscsi's node record (usr/idbm_fields.h).
type record struct {
	name string
	set  func(c *Config, value string) error
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

// records is never written to.
var records = []record{
	{"node.session.timeo.replacement_timeout", func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return fmt.Errorf("want a number of seconds, or -1 for ever")
		}
		c.Timers.Replacement = time.Duration(max(n, -1)) * time.Second
		if n == 0 {
			return warning("the root's I/O fails as soon as its connection is lost")
		}
		return nil
	}},
	{"node.conn[0].timeo.noop_out_interval", seconds(0, func(c *Config) *time.Duration { return &c.Timers.NoopInterval })},
	{"node.conn[0].timeo.noop_out_timeout", seconds(0, func(c *Config) *time.Duration { return &c.Timers.NoopTimeout })},
	{"node.conn[0].timeo.login_timeout", seconds(1, func(c *Config) *time.Duration { return &c.Timers.Login })},
	{"node.session.err_timeo.abort_timeout", seconds(0, func(c *Config) *time.Duration { return &c.Timers.Abort })},
	{"node.session.err_timeo.lu_reset_timeout", seconds(0, func(c *Config) *time.Duration { return &c.Timers.LUReset })},
	{"node.session.err_timeo.tgt_reset_timeout", seconds(0, func(c *Config) *time.Duration { return &c.Timers.TargetReset })},

	{"node.session.initial_login_retry_max", func(_ *Config, v string) error {
		_, err := number(v, 0, maxSeconds) // who calls Login again counts
		return err
	}},

	{"node.session.cmds_max", func(c *Config, v string) error {
		n, err := number(v, minCmds, maxCmds)
		if err != nil {
			return err
		}
		if n&(n-1) != 0 {
			return fmt.Errorf("want a power of two")
		}
		c.CmdsMax = uint16(n)
		return nil
	}},
	{"node.session.queue_depth", integer(1, maxQueueDepth, func(c *Config) *uint16 { return &c.QueueDepth })},
	{"node.conn[0].tcp.window_size", func(c *Config, v string) error {
		n, err := number(v, 0, 1<<30)
		if err == nil {
			c.TCPWindow = int(n)
		}
		return err
	}},

	{"node.session.iscsi.InitialR2T", boolean(func(c *Config) *bool { return &c.Offer.InitialR2T })},
	{"node.session.iscsi.ImmediateData", boolean(func(c *Config) *bool { return &c.Offer.ImmediateData })},
	{"node.session.iscsi.FirstBurstLength", integer(minSegment, maxSegment, func(c *Config) *uint32 { return &c.Offer.FirstBurstLength })},
	{"node.session.iscsi.MaxBurstLength", integer(minSegment, maxSegment, func(c *Config) *uint32 { return &c.Offer.MaxBurstLength })},
	{"node.session.iscsi.MaxOutstandingR2T", integer(1, 65535, func(c *Config) *uint16 { return &c.Offer.MaxOutstandingR2T })},
	{"node.session.iscsi.DefaultTime2Wait", integer(0, maxTime, func(c *Config) *uint16 { return &c.Offer.DefaultTime2Wait })},
	{"node.session.iscsi.DefaultTime2Retain", integer(0, maxTime, func(c *Config) *uint16 { return &c.Offer.DefaultTime2Retain })},
	{"node.session.iscsi.FastAbort", boolean(func(c *Config) *bool { return &c.Timers.FastAbort })},
	{"node.session.iscsi.ERL", fixed("0")},
	{"node.session.iscsi.MaxConnections", fixed("1")},
	{"node.conn[0].iscsi.MaxRecvDataSegmentLength", integer(minSegment, maxSegment, func(c *Config) *uint32 { return &c.Offer.MaxRecvDataSegmentLength })},
	{"node.conn[0].iscsi.MaxXmitDataSegmentLength", func(c *Config, v string) error {
		n, err := number(v, 0, maxSegment)
		if err == nil && 0 < n && n < minSegment {
			err = fmt.Errorf("want 0, which is what the target takes, or a number from %d to %d", minSegment, maxSegment)
		}
		if err == nil {
			c.MaxXmitDataSegmentLength = uint32(n)
		}
		return err
	}},
	{"node.conn[0].iscsi.HeaderDigest", digests(func(c *Config) *[]login.Digest { return &c.Offer.HeaderDigest })},
	{"node.conn[0].iscsi.DataDigest", digests(func(c *Config) *[]login.Digest { return &c.Offer.DataDigest })},
	{"node.conn[0].iscsi.IFMarker", fixed("No")}, // obsolete: RFC 7143, 13.25
	{"node.conn[0].iscsi.OFMarker", fixed("No")},

	{"node.session.auth.username", chap(func(c *login.CHAP, v string) { c.Username = v })},
	{"node.session.auth.password", secret(func(c *login.CHAP, v string) { c.Secret = login.Secret(v) })},
	{"node.session.auth.username_in", chap(func(c *login.CHAP, v string) { c.UsernameIn = v })},
	{"node.session.auth.password_in", secret(func(c *login.CHAP, v string) { c.SecretIn = login.Secret(v) })},
	{"node.session.auth.chap_algs", algorithms},
	{"node.session.auth.authmethod", func(c *Config, v string) error {
		c.NeedCHAP = strings.EqualFold(v, "CHAP")
		if !c.NeedCHAP && !strings.EqualFold(v, "None") { // with which credentials decide, as in open-iscsi
			return fmt.Errorf("only CHAP and None are supported")
		}
		return nil
	}},

	// What means nothing while a machine boots.
	{"node.startup", ignored},
	{"node.leading_login", ignored},
	{"node.session.scan", ignored}, // exactly one LUN is scanned
	{"node.session.reopen_max", ignored},
	{"node.session.initial_cmdsn", ignored}, // the kernel counts
	{"node.session.xmit_thread_priority", ignored},
	{"node.session.err_timeo.host_reset_timeout", ignored},
	{"node.conn[0].timeo.logout_timeout", ignored},
	{"node.conn[0].timeo.auth_timeout", ignored},
	{"node.conn[0].timeo.active_timeout", ignored},
	{"node.conn[0].startup", ignored},
	{"node.session.nr_sessions", fixed("1")},
	{"node.conn[0].tcp.type_of_service", fixed("0")},
	{"iface.transport_name", fixed("tcp")},
	{"iface.iscsi_ifacename", fixed("default")},
}

// Set applies one open-iscsi record setting by its name, as rd.iscsi.param has
// it: Set("node.session.timeo.replacement_timeout", "120"). A setting that
// means nothing at boot is accepted. Of what is not supported, and can do
// without, a line is added to Warnings; of authentication nothing can. Neither
// these lines nor the error show a secret.
func (c *Config) Set(name, value string) error {
	i := slices.IndexFunc(records, func(r record) bool { return r.name == name })
	if i >= 0 {
		switch err := records[i].set(c, value).(type) {
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

func integer[T uint16 | uint32](low, high uint64, field func(*Config) *T) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := number(v, low, high)
		if err == nil {
			*field(c) = T(n)
		}
		return err
	}
}

func seconds(low uint64, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := number(v, low, maxSeconds)
		if err == nil {
			*field(c) = time.Duration(n) * time.Second
		}
		return err
	}
}

func boolean(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		yes := strings.EqualFold(v, "Yes")
		if !yes && !strings.EqualFold(v, "No") {
			return fmt.Errorf("want Yes or No")
		}
		*field(c) = yes
		return nil
	}
}

func digests(field func(*Config) *[]login.Digest) func(*Config, string) error {
	return func(c *Config, v string) error {
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
		*field(c) = list
		return nil
	}
}

// chap changes a copy, as Configs that were copied share their CHAP.
func chap(set func(*login.CHAP, string)) func(*Config, string) error {
	return func(c *Config, v string) error {
		var chap login.CHAP
		if c.CHAP != nil {
			chap = *c.CHAP
		}
		set(&chap, v)
		c.CHAP = &chap
		return nil
	}
}

func algorithms(c *Config, v string) error {
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
	return chap(func(c *login.CHAP, _ string) { c.Algorithms = list })(c, v)
}

// secret is chap for what should not be short.
func secret(set func(*login.CHAP, string)) func(*Config, string) error {
	return func(c *Config, v string) error {
		if err := chap(set)(c, v); err != nil || len(v) >= minSecret {
			return err
		}
		return warning("the secret is shorter than the 12 bytes that RFC 7143 (9.2.1) asks for")
	}
}

// fixed accepts a setting that is what it is.
func fixed(want string) func(*Config, string) error {
	return func(_ *Config, v string) error {
		if !strings.EqualFold(v, want) {
			return warning("only " + want + " is supported, and " + strconv.Quote(v) + " has no effect")
		}
		return nil
	}
}

func ignored(*Config, string) error { return nil }
