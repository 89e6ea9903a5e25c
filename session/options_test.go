package session

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/qemu-tests/cache"
	"github.com/rootlun/rootlun/session/login"
)

// addresses lets cmp compare what has fields of its own.
var addresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func TestSet(t *testing.T) {
	warns := func(text string) func(*Config) {
		return func(c *Config) { c.Warnings = []string{text} }
	}
	unsupported := func(name string) func(*Config) {
		return warns(name + ": this setting is not supported, and has no effect")
	}
	only := func(name, want, value string) func(*Config) {
		return warns(fmt.Sprintf("%s: only %s is supported, and %q has no effect", name, want, value))
	}
	tests := []struct {
		name, value string
		want        func(*Config) // nil: refused
	}{
		{"node.session.timeo.replacement_timeout", "120", func(c *Config) { c.Timers.Replacement = 2 * time.Minute }},
		{"node.session.timeo.replacement_timeout", "-1", func(c *Config) { c.Timers.Replacement = -time.Second }},
		{"node.session.timeo.replacement_timeout", "-2", func(c *Config) { c.Timers.Replacement = -time.Second }},
		{"node.session.timeo.replacement_timeout", "0", func(c *Config) {
			c.Timers.Replacement = 0
			c.Warnings = []string{"node.session.timeo.replacement_timeout: the root's I/O fails as soon as its connection is lost"}
		}},
		{"node.session.initial_login_retry_max", "8", func(*Config) {}},
		{"node.session.initial_login_retry_max", "-1", nil},
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
		{"node.session.iscsi.ERL", "2", only("node.session.iscsi.ERL", "0", "2")},
		{"node.session.iscsi.MaxConnections", "4", only("node.session.iscsi.MaxConnections", "1", "4")},
		{"node.conn[0].iscsi.MaxRecvDataSegmentLength", "8192", func(c *Config) { c.Offer.MaxRecvDataSegmentLength = 8192 }},
		{"node.conn[0].iscsi.MaxRecvDataSegmentLength", "many", nil},
		{"node.conn[0].iscsi.MaxXmitDataSegmentLength", "65536", func(c *Config) { c.MaxXmitDataSegmentLength = 65536 }},
		{"node.conn[0].iscsi.MaxXmitDataSegmentLength", "0", func(*Config) {}},
		{"node.conn[0].iscsi.MaxXmitDataSegmentLength", "511", nil},
		{"node.conn[0].iscsi.MaxXmitDataSegmentLength", "16777216", nil},
		{"node.conn[0].iscsi.IFMarker", "No", func(*Config) {}},
		{"node.conn[0].iscsi.OFMarker", "Yes", only("node.conn[0].iscsi.OFMarker", "No", "Yes")},
		{"node.conn[0].iscsi.HeaderDigest", "CRC32C,None", func(c *Config) {
			c.Offer.HeaderDigest = []login.Digest{login.DigestCRC32C, login.DigestNone}
		}},
		{"node.conn[0].iscsi.DataDigest", "CRC32C", func(c *Config) { c.Offer.DataDigest = []login.Digest{login.DigestCRC32C} }},
		{"node.conn[0].iscsi.DataDigest", "", nil},
		{"node.conn[0].iscsi.DataDigest", "SHA1", nil},
		{"node.session.auth.username", "me", func(c *Config) { c.CHAP = &login.CHAP{Username: "me"} }},
		{"node.session.auth.password", " with spaces ", func(c *Config) { c.CHAP = &login.CHAP{Secret: " with spaces "} }},
		{"node.session.auth.username_in", "you", func(c *Config) { c.CHAP = &login.CHAP{UsernameIn: "you"} }},
		{"node.session.auth.password_in", "the other one", func(c *Config) { c.CHAP = &login.CHAP{SecretIn: "the other one"} }},
		{"node.session.auth.password_in", "eleven byte", func(c *Config) {
			c.CHAP = &login.CHAP{SecretIn: "eleven byte"}
			c.Warnings = []string{"node.session.auth.password_in: the secret is shorter than the 12 bytes that RFC 7143 (9.2.1) asks for"}
		}},
		{"node.session.auth.chap_algs", "SHA3-256,SHA256,SHA1,MD5", func(c *Config) {
			c.CHAP = &login.CHAP{Algorithms: []login.Algorithm{login.SHA3256, login.SHA256, login.SHA1, login.MD5}}
		}},
		{"node.session.auth.chap_algs", "MD4", nil},
		{"node.session.auth.authmethod", "CHAP", func(c *Config) { c.NeedCHAP = true }},
		{"node.session.auth.authmethod", "None", func(*Config) {}},
		{"node.session.auth.authmethod", "KRB5", nil},
		{"node.startup", "automatic", func(*Config) {}},
		{"node.session.nr_sessions", "2", only("node.session.nr_sessions", "1", "2")},
		{"node.session.scan", "manual", func(*Config) {}},
		{"iface.transport_name", "tcp", func(*Config) {}},
		{"iface.transport_name", "iser", only("iface.transport_name", "tcp", "iser")},
		{"iface.net_ifacename", "eth0", unsupported("iface.net_ifacename")},
		{"discovery.sendtargets.reopen_max", "5", unsupported("discovery.sendtargets.reopen_max")},
		{"node.session.no_such_setting", "1", unsupported("node.session.no_such_setting")},
		// Of authentication nothing is passed over.
		{"node.session.auth.passwort", "open-sesame", nil},
		{"discovery.sendtargets.auth.password", "open-sesame", nil},
		{"host.auth.password", "open-sesame", nil},
		{"replacement_timeout", "120", nil},
		{"", "open-sesame", nil},
	}
	for _, test := range tests {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			got, want := Default(), Default()
			err := got.Set(test.name, test.value)
			switch {
			case test.want == nil && err == nil:
				t.Error("no error")
			case test.want == nil && (!strings.Contains(err.Error(), test.name) || strings.Contains(err.Error(), "open-sesame")):
				t.Errorf("error %q does not name the setting, or shows a secret", err)
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
	if err := one.Set("node.a", "1"); err != nil {
		t.Fatal(err)
	}
	two := one
	for _, c := range []*Config{&one, &two} {
		if err := c.Set(fmt.Sprintf("node.%p", c), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if len(one.Warnings) != 2 || one.Warnings[1] == two.Warnings[1] {
		t.Errorf("warnings %q and %q", one.Warnings, two.Warnings)
	}
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

// Of all settings that open-iscsi's own file has, for a session, none is one of
// which nothing is known here, and those that it comes with are without a warning.
func TestSetKnowsISCSIDConf(t *testing.T) {
	f, err := os.Open(cache.Path(t, "open-iscsi/etc/iscsi/iscsid.conf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	setting := regexp.MustCompile(`^(# ?)?(node\.[^ =]+) = (.*)$`)
	seen := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m := setting.FindStringSubmatch(lines.Text())
		if m == nil || strings.Contains(m[3], " ") { // a sentence
			continue
		}
		seen++
		c := Default()
		if err := c.Set(m[2], m[3]); err != nil || len(c.Warnings) > 0 && m[2] != "node.session.auth.password" && m[2] != "node.session.auth.password_in" {
			t.Errorf("%s: %v, %q", lines.Text(), err, c.Warnings)
		}
	}
	if seen < 40 {
		t.Errorf("%d settings, has the file changed its form?", seen)
	}
}

// FuzzSet: whatever a command line says, the result is one that can be logged in
// with, or an error, and no secret shows.
func FuzzSet(f *testing.F) {
	for _, r := range new(Config).records() {
		f.Add(r.name, "0")
		f.Add(r.name, "CRC32C,None")
	}
	f.Add("node.session.auth.passwort", "hunter-two")
	f.Add("node.session.timeo.replacement_timeout", "-99999999999")
	f.Fuzz(func(t *testing.T, name, value string) {
		c := Default()
		err := c.Set(name, value)
		said := strings.Join(c.Warnings, "\n")
		if err != nil {
			said += err.Error()
		}
		if len(value) > 3 && strings.Contains(name, ".auth.pass") && strings.Contains(said, value) && !strings.Contains(name, value) {
			t.Errorf("%q shows %q", said, value)
		}
		if err == nil && (c.Timers.Login <= 0 || c.CmdsMax < minCmds || c.QueueDepth == 0 || c.Offer.MaxBurstLength < minSegment ||
			c.Offer.FirstBurstLength < minSegment || c.Offer.MaxRecvDataSegmentLength < minSegment || c.Offer.MaxOutstandingR2T == 0 ||
			len(c.Offer.HeaderDigest) == 0 || len(c.Offer.DataDigest) == 0 || c.Timers.Replacement < -time.Second) {
			t.Errorf("%s=%q: %+v", name, value, c)
		}
	})
}
