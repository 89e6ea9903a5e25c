package handoff

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// someConfig has a value of its own in every field that a record holds.
func someConfig() session.Config {
	c := session.Default()
	c.InitiatorName, c.TargetName = "iqn.2026-01.net.example:node", "iqn.2026-01.net.example:disk"
	c.Portal = netip.MustParseAddrPort("[2001:db8::1]:3261")
	c.CHAP = &login.CHAP{Username: "us", Secret: "correct horse = #1", UsernameIn: "them", SecretIn: "battery-staple", Algorithms: []login.Algorithm{login.SHA256, login.MD5}}
	c.Offer.InitialR2T, c.Offer.ImmediateData = true, false
	c.Offer.FirstBurstLength, c.Offer.MaxBurstLength, c.Offer.MaxRecvDataSegmentLength = 1024, 2048, 4096
	c.Offer.MaxOutstandingR2T, c.Offer.DefaultTime2Wait, c.Offer.DefaultTime2Retain = 3, 4, 5
	c.Offer.HeaderDigest = []login.Digest{login.DigestCRC32C}
	c.Timers = session.Timers{
		Replacement: -time.Second, NoopInterval: 6 * time.Second, NoopTimeout: 7 * time.Second, Abort: 8 * time.Second,
		LUReset: 9 * time.Second, TargetReset: 10 * time.Second, Login: 11 * time.Second,
	}
	c.CmdsMax, c.QueueDepth, c.TCPWindow = 64, 16, 1<<20
	c.NeedCHAP = true // which node.session.auth.authmethod says
	return c
}

// A record read back through Set is the configuration that it was made of.
func TestRecord(t *testing.T) {
	for name, want := range map[string]session.Config{"some": someConfig(), "default": session.Default()} {
		got, said := session.Default(), map[string]string{}
		got.InitiatorName, got.TargetName, got.Portal = want.InitiatorName, want.TargetName, want.Portal
		for line := range strings.Lines(string(Record(&want, 7))) {
			setting, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
			switch {
			case strings.HasPrefix(line, "#"):
			case !ok:
				t.Fatalf("%s: line %q", name, line)
			case got.Set(setting, value) != nil || got.Warnings != nil:
				said[setting], got.Warnings = value, nil
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if name == "default" {
			continue
		}
		if diff := cmp.Diff(map[string]string{
			"node.name": want.TargetName, "node.tpgt": "7", "node.conn[0].address": "2001:db8::1", "node.conn[0].port": "3261", "node.discovery_type": "fw",
			"iface.initiatorname": want.InitiatorName,
		}, said); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(string(Record(&want, 7)), "\nnode.startup = onboot\n") {
			t.Error("somebody may log it in or out")
		}
	}
}

// No value ends its line and starts a setting of its own.
func TestRecordLines(t *testing.T) {
	for _, change := range []func(*session.Config, string){
		func(c *session.Config, s string) { c.TargetName += s },
		func(c *session.Config, s string) { c.InitiatorName += s },
		func(c *session.Config, s string) { c.CHAP.Username += s },
		func(c *session.Config, s string) { c.CHAP.Secret += login.Secret(s) },
		func(c *session.Config, s string) { c.CHAP.UsernameIn += s },
		func(c *session.Config, s string) { c.CHAP.SecretIn += login.Secret(s) },
	} {
		for _, s := range []string{"\nnode.startup = automatic", "\r", "\x00"} {
			c := someConfig()
			change(&c, s)
			if got := Record(&c, 1); got != nil {
				t.Errorf("%q", got)
			}
			if err := WriteRecord(t.TempDir(), &c, 1); err == nil || strings.Contains(err.Error(), "horse") {
				t.Errorf("error %v", err)
			}
		}
	}
}

func TestWriteRecord(t *testing.T) {
	run, c := t.TempDir(), someConfig()
	if err := WriteRecord(run, &c, 2); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(run, "rootlun/nodes/iqn.2026-01.net.example:disk/2001:db8::1,3261,2/default")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(Record(&c, 2)), string(got)); diff != "" {
		t.Error(diff)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	for _, name := range []string{"../../etc/shadow", "..", ".", "a/b"} {
		c.TargetName = name
		if err := WriteRecord(run, &c, 2); err == nil {
			t.Errorf("%q names a folder", name)
		}
	}
}
