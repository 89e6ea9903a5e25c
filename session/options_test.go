package session

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/session/login"
)

// addresses lets cmp compare what has fields of its own.
var addresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func TestSet(t *testing.T) {
	tests := []struct {
		name, value string
		want        func(*Config) // nil: refused
	}{
		{"node.session.timeo.replacement_timeout", "120", func(c *Config) { c.Timers.Replacement = 2 * time.Minute }},
		{"node.session.timeo.replacement_timeout", "-1", func(c *Config) { c.Timers.Replacement = -time.Second }},
		{"node.session.timeo.replacement_timeout", "-2", nil},
		{"node.session.timeo.replacement_timeout", "4294967296", nil},
		{"node.conn[0].timeo.noop_out_interval", "5", func(c *Config) { c.Timers.NoopInterval = 5 * time.Second }},
		{"node.conn[0].timeo.noop_out_timeout", "7", func(c *Config) { c.Timers.NoopTimeout = 7 * time.Second }},
		{"node.conn[0].timeo.noop_out_timeout", "-1", nil},
		{"node.conn[0].timeo.login_timeout", "30", func(c *Config) { c.Timers.Login = 30 * time.Second }},
		{"node.conn[0].timeo.login_timeout", "0", nil},
		{"node.session.err_timeo.abort_timeout", "1", func(c *Config) { c.Timers.Abort = time.Second }},
		{"node.session.err_timeo.lu_reset_timeout", "2", func(c *Config) { c.Timers.LUReset = 2 * time.Second }},
		{"node.session.err_timeo.tgt_reset_timeout", "3", func(c *Config) { c.Timers.TargetReset = 3 * time.Second }},
		{"node.session.cmds_max", "1024", func(c *Config) { c.CmdsMax = 1024 }},
		{"node.session.cmds_max", "100", nil},
		{"node.session.cmds_max", "8", nil},
		{"node.session.queue_depth", "64", func(c *Config) { c.QueueDepth = 64 }},
		{"node.session.queue_depth", "0", nil},
		{"node.session.queue_depth", "65568", nil},
		{"node.conn[0].tcp.window_size", "524288", func(c *Config) { c.TCPWindow = 524288 }},
		{"node.session.iscsi.InitialR2T", "Yes", func(c *Config) { c.Offer.InitialR2T = true }},
		{"node.session.iscsi.InitialR2T", "maybe", nil},
		{"node.session.iscsi.ImmediateData", "no", func(c *Config) { c.Offer.ImmediateData = false }},
		{"node.session.iscsi.FirstBurstLength", "512", func(c *Config) { c.Offer.FirstBurstLength = 512 }},
		{"node.session.iscsi.FirstBurstLength", "511", nil},
		{"node.session.iscsi.MaxBurstLength", "16777215", func(c *Config) { c.Offer.MaxBurstLength = 16777215 }},
		{"node.session.iscsi.MaxBurstLength", "16777216", nil},
		{"node.session.iscsi.MaxOutstandingR2T", "65535", func(c *Config) { c.Offer.MaxOutstandingR2T = 65535 }},
		{"node.session.iscsi.MaxOutstandingR2T", "0", nil},
		{"node.session.iscsi.DefaultTime2Wait", "0", func(c *Config) { c.Offer.DefaultTime2Wait = 0 }},
		{"node.session.iscsi.DefaultTime2Retain", "3600", func(c *Config) { c.Offer.DefaultTime2Retain = 3600 }},
		{"node.session.iscsi.DefaultTime2Retain", "3601", nil},
		{"node.session.iscsi.FastAbort", "No", func(c *Config) { c.Timers.FastAbort = false }},
		{"node.session.iscsi.ERL", "0", func(*Config) {}},
		{"node.session.iscsi.ERL", "2", nil},
		{"node.conn[0].iscsi.MaxRecvDataSegmentLength", "8192", func(c *Config) { c.Offer.MaxRecvDataSegmentLength = 8192 }},
		{"node.conn[0].iscsi.MaxRecvDataSegmentLength", "many", nil},
		{"node.conn[0].iscsi.MaxXmitDataSegmentLength", "65536", nil},
		{"node.conn[0].iscsi.HeaderDigest", "CRC32C,None", func(c *Config) {
			c.Offer.HeaderDigest = []login.Digest{login.DigestCRC32C, login.DigestNone}
		}},
		{"node.conn[0].iscsi.DataDigest", "CRC32C", func(c *Config) { c.Offer.DataDigest = []login.Digest{login.DigestCRC32C} }},
		{"node.conn[0].iscsi.DataDigest", "", nil},
		{"node.conn[0].iscsi.DataDigest", "SHA1", nil},
		{"node.session.auth.username", "me", func(c *Config) { c.CHAP = &login.CHAP{Username: "me"} }},
		{"node.session.auth.password", " with spaces ", func(c *Config) { c.CHAP = &login.CHAP{Secret: " with spaces "} }},
		{"node.session.auth.username_in", "you", func(c *Config) { c.CHAP = &login.CHAP{UsernameIn: "you"} }},
		{"node.session.auth.password_in", "other", func(c *Config) { c.CHAP = &login.CHAP{SecretIn: "other"} }},
		{"node.session.auth.chap_algs", "SHA3-256,SHA256,SHA1,MD5", func(c *Config) {
			c.CHAP = &login.CHAP{Algorithms: []login.Algorithm{login.SHA3256, login.SHA256, login.SHA1, login.MD5}}
		}},
		{"node.session.auth.chap_algs", "MD4", nil},
		{"node.session.auth.authmethod", "CHAP", func(*Config) {}},
		{"node.session.auth.authmethod", "KRB5", nil},
		{"node.startup", "automatic", func(*Config) {}},
		{"node.session.nr_sessions", "2", nil},
		{"node.session.no_such_setting", "1", nil},
		{"replacement_timeout", "120", nil},
	}
	for _, test := range tests {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			got, want := Default(), Default()
			err := got.Set(test.name, test.value)
			switch {
			case test.want == nil && err == nil:
				t.Error("no error")
			case test.want == nil && !strings.Contains(err.Error(), test.name):
				t.Errorf("error %q does not name the setting", err)
			case test.want != nil && err != nil:
				t.Error(err)
			case test.want != nil:
				test.want(&want)
			}
			if diff := cmp.Diff(want, got, addresses); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Two sessions that began as one configuration do not change each other.
func TestSetLeavesCopiesAlone(t *testing.T) {
	one := Default()
	if err := one.Set("node.session.auth.username", "one"); err != nil {
		t.Fatal(err)
	}
	two := one
	if err := two.Set("node.session.auth.username", "two"); err != nil {
		t.Fatal(err)
	}
	if one.CHAP.Username != "one" || two.CHAP.Username != "two" {
		t.Errorf("user names %q and %q", one.CHAP.Username, two.CHAP.Username)
	}
}

func TestDefaultIsSafeForARoot(t *testing.T) {
	d := Default().Timers
	if d.NoopInterval != 0 || d.NoopTimeout != 0 || d.Replacement != 86400*time.Second {
		t.Errorf("timers %+v", d)
	}
}
