package login_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/targettest"
)

func TestChecklistStatus(t *testing.T) {
	t.Run("S1 redirect", func(t *testing.T) {
		for address, want := range map[string]login.RedirectError{
			"10.0.0.9":                    {Host: "10.0.0.9", Port: 3260},
			"10.0.0.9:3261":               {Host: "10.0.0.9", Port: 3261},
			"10.0.0.9:3261,1":             {Host: "10.0.0.9", Port: 3261},
			"disk-2.example.org,65535":    {Host: "disk-2.example.org", Port: 3260},
			"disk:1":                      {Host: "disk", Port: 1},
			"[2001:db8::1]":               {Host: "2001:db8::1", Port: 3260},
			"[2001:db8::1]:65535":         {Host: "2001:db8::1", Port: 65535},
			"[2001:db8::1],2":             {Host: "2001:db8::1", Port: 3260},
			"[fe80::1%eth0]:3260":         {Host: "fe80::1%eth0", Port: 3260},
			"fec0::99:3360":               {Host: "fec0::99", Port: 3360}, // tgt
			"2001:db8::1":                 {Host: "2001:db8::1", Port: 3260},
			"2001:db8::abcd":              {Host: "2001:db8::abcd", Port: 3260},
			"2001:db8:0:0:0:0:0:1":        {Host: "2001:db8:0:0:0:0:0:1", Port: 3260},
			"2001:db8:0:0:0:0:0:1:3260,1": {Host: "2001:db8:0:0:0:0:0:1", Port: 3260},
		} {
			for code, permanent := range map[uint16]bool{0x0101: false, 0x0102: true} {
				got := bad[*login.RedirectError](t, address, with(noAuth(), targettest.Redirect(code, address)))
				want.Target, want.Address, want.Permanent = targettest.TargetName, address, permanent
				if d := cmp.Diff(&want, got); d != "" {
					t.Errorf("%s: %s", address, d)
				}
			}
		}
	})
	t.Run("S1 redirect nowhere", func(t *testing.T) {
		for _, address := range []string{
			"", ",1", ":3260", "host:", "host:0", "host:65536", "host:x", "host,x", "host,65536", "[2001:db8::1", "[host]:1", "[]",
			"[2001:db8::1]3260", "[10.0.0.1]:1", "a b", "host\x1b[2J", "a:b:c", "2001:db8::::1", "host/..", "[fe80::1%\x1b[2J]:3260", "fe80::1%[fe80::1%eth0]:32", "[fe80::1%a b]", strings.Repeat("a", 256), "-1:+1",
		} {
			bad[*login.ProtocolError](t, "TargetAddress", with(noAuth(), targettest.Redirect(0x0101, address)))
		}
		bad[*login.ProtocolError](t, "without a TargetAddress", with(noAuth(), targettest.Refuse(0x0102)))
		bad[*login.ProtocolError](t, "no '='", with(noAuth(), at(1, func(a *answer) { a.Status(0x0101); a.Text = []byte("host") })))
	})
	t.Run("S1 redirect in the midst of CHAP", func(t *testing.T) {
		bad[*login.RedirectError](t, "moved permanently", with(oneWay(), at(3, targettest.Script(func(a *answer) {
			a.Status(0x0102)
			a.Set("TargetAddress", "10.0.0.1")
		}))))
	})

	t.Run("S2 wrong secret", func(t *testing.T) {
		e := bad[*login.StatusError](t, "CHAP with SHA3-256", oneWay(), func(c *login.Config) { c.CHAP.Secret = "not it" })
		if !errors.Is(e, login.ErrAuthFailed) || errors.Is(e, login.ErrNoCredentials) || e.Temporary() || e.Algorithm != login.SHA3256 || !e.CHAP {
			t.Errorf("%+v", e)
		}
		bad[*login.StatusError](t, "0201", oneWay(), func(c *login.Config) { c.CHAP.Username = "nobody" })
	})
	t.Run("S2 no credentials", func(t *testing.T) {
		e := bad[*login.StatusError](t, "no credentials are configured", oneWay(), func(c *login.Config) { c.CHAP = nil })
		if login.RetryMD5(e) {
			t.Error("RetryMD5 without CHAP")
		}
		if !errors.Is(e, login.ErrNoCredentials) {
			t.Error("not ErrNoCredentials")
		}
	})
	t.Run("S2 retry with MD5", func(t *testing.T) {
		offer := func(a ...login.Algorithm) func(*login.Config) {
			return func(c *login.Config) { c.CHAP.Algorithms = a }
		}
		refuse := func(exchange int, code uint16) targettest.Config {
			return with(oneWay(), at(exchange, func(a *answer) { a.Status(code) }))
		}
		md5 := oneWay()
		md5.Algorithms = []int{5}
		for _, c := range []struct {
			name string
			tc   targettest.Config
			edit func(*login.Config)
			want bool
		}{
			{"response of SHA3-256 refused", refuse(3, 0x0201), offer(), true},
			{"the same as an unnamed fault", refuse(3, 0x0200), offer(), true},
			{"list refused", refuse(2, 0x0201), offer(), true},
			{"list answered Reject", with(oneWay(), at(2, func(a *answer) { a.Keys = nil; a.Set("CHAP_A", "Reject") })), offer(), true},
			{"AuthMethod refused", refuse(1, 0x0201), offer(), false},
			{"not authorized", refuse(3, 0x0202), offer(), false},
			{"target down", refuse(3, 0x0301), offer(), false},
			{"refused after the authentication", refuse(4, 0x0201), offer(), false},
			{"response of MD5 refused", with(md5, at(3, func(a *answer) { a.Status(0x0201) })), offer(), false},
			{"MD5 not configured", refuse(3, 0x0201), offer(login.SHA256, login.SHA1), false},
			{"MD5 alone, list refused", refuse(2, 0x0201), offer(login.MD5), false},
		} {
			_, _, err := try(t, c.tc, c.edit)
			if got := login.RetryMD5(err); err == nil || got != c.want {
				t.Errorf("%s: RetryMD5 is %v after %v", c.name, got, err)
			}
			if got := login.RetryMD5(fmt.Errorf("session: %w", err)); got != c.want {
				t.Errorf("%s: RetryMD5 of the wrapped error is %v", c.name, got)
			}
		}
	})

	words := map[uint16]string{
		0x0200: "check its log", 0x0201: "wants authentication", 0x0202: "initiator name", 0x0203: "no such target", 0x0204: "removed",
		0x0205: "version", 0x0206: "too many connections", 0x0207: "missing", 0x0208: "cannot include", 0x0209: "type of session",
		0x020a: "does not exist", 0x020b: "kind of request", 0x0300: "fault of its own", 0x0301: "not in service", 0x0302: "no resources",
		0x02ff: "fault of the initiator's", 0x03ff: "fault of the target's", 0x0400: "RFC 7143 does not know", 0xff00: "RFC 7143 does not know",
	}
	sentinels := map[uint16]error{
		0x0201: login.ErrAuthFailed, 0x0202: login.ErrNotAuthorized, 0x0203: login.ErrTargetNotFound, 0x0204: login.ErrTargetRemoved,
		0x0300: login.ErrTargetUnavailable, 0x0301: login.ErrTargetUnavailable, 0x0302: login.ErrTargetUnavailable, 0x03ff: login.ErrTargetUnavailable,
	}
	all := []error{login.ErrAuthFailed, login.ErrNotAuthorized, login.ErrTargetNotFound, login.ErrTargetRemoved, login.ErrTargetUnavailable}
	for code, words := range words {
		row := map[uint16]string{2: "S3", 3: "S4"}[code>>8]
		if row == "" || code&0xff == 0xff {
			row = "S5"
		}
		t.Run(fmt.Sprintf("%s status %04x", row, code), func(t *testing.T) {
			e := bad[*login.StatusError](t, words, with(noAuth(), targettest.Refuse(code)))
			if !strings.Contains(e.Error(), fmt.Sprintf("%04x", code)) || !strings.Contains(e.Error(), targettest.TargetName) {
				t.Errorf("%q has no code or no target", e)
			}
			if e.Temporary() != (code>>8 == 3) {
				t.Errorf("Temporary is %v", e.Temporary())
			}
			for _, s := range all {
				if errors.Is(e, s) != (sentinels[code] == s) {
					t.Errorf("errors.Is(%04x, %v) is %v", code, s, errors.Is(e, s))
				}
			}
		})
	}
	t.Run("S3 not found by itself", func(t *testing.T) {
		e := bad[*login.StatusError](t, "iqn.2026-01.org.example:other", noAuth(), func(c *login.Config) { c.TargetName = "iqn.2026-01.org.example:other" })
		if !errors.Is(e, login.ErrTargetNotFound) {
			t.Error("not ErrTargetNotFound")
		}
	})
}
