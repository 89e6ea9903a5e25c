package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

// discover asks a scripted target, and sees to it that no secret is in the error.
func discover(t *testing.T, tc targettest.Config, edit ...func(*Config)) ([]TargetRecord, *targettest.Target, error) {
	t.Helper()
	target := targettest.New(t, tc)
	cfg := config(t, target)
	for _, f := range edit {
		f(&cfg)
	}
	list, err := Discover(t.Context(), cfg)
	if err != nil {
		var op *OpError
		if !errors.As(err, &op) {
			t.Errorf("%T is no *OpError: %v", err, err)
		}
		if strings.Contains(err.Error(), "hunter-two") {
			t.Errorf("a secret: %v", err)
		}
	}
	return list, target, err
}

// answers scripts what follows the n-th Text Request, from 1.
func answers(script func(n int, a *targettest.Answer)) targettest.Script {
	n := 0
	return func(a *targettest.Answer) {
		if a.PDU != nil && a.Request.Opcode() == pdu.OpTextRequest {
			n++
			script(n, a)
		}
	}
}

func TestDiscover(t *testing.T) {
	list, target, err := discover(t, targettest.Config{StatSN: 77})
	if err != nil {
		t.Fatal(err)
	}
	at := portal(t, target)
	want := []TargetRecord{{targettest.TargetName, []Portal{{at.Addr().String(), at.Port(), 1}}}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	requests := target.Requests()
	if n := len(requests); n != 3 {
		t.Fatalf("%d requests, want login, text, logout", n)
	}
	text, err := pdu.ParseTextRequest(requests[1])
	if err != nil || string(text.Data) != "SendTargets=All\x00" || text.ExpStatSN != 78 || !text.Final || text.TTT != pdu.NoTag {
		t.Errorf("%+v, %v", text, err)
	}
	if out, err := pdu.ParseLogoutRequest(requests[2]); err != nil || out.Reason != pdu.LogoutSession || out.ExpStatSN != 79 {
		t.Errorf("%+v, %v", out, err)
	}
	if isid := target.Logins()[0].ISID; isid[0] != 0x80 || isid == [6]byte{0x80} {
		t.Errorf("ISID % x", isid)
	}
}

func TestDiscoverList(t *testing.T) {
	const name = "TargetName=iqn.2026-01.net.example:"
	home := netip.MustParseAddrPort("192.0.2.1:3260")
	for _, tt := range []struct {
		name, text, want string // targets and portals, as %v prints them
	}{
		{"nothing", "", "[]"},
		{"several portals", name + "a\x00TargetAddress=192.0.2.1:3260,1\x00TargetAddress=192.0.2.2,2\x00TargetAddress=[2001:db8::1]:860,65535\x00",
			"[{iqn.2026-01.net.example:a [{192.0.2.1 3260 1} {192.0.2.2 3260 2} {2001:db8::1 860 65535}]}]"},
		{"no address", name + "a\x00" + name + "b\x00", "[{iqn.2026-01.net.example:a [{192.0.2.1 3260 -1}]} {iqn.2026-01.net.example:b [{192.0.2.1 3260 -1}]}]"},
		{"the wildcard", name + "a\x00TargetAddress=0.0.0.0:3261,1\x00TargetAddress=[::]:3262,1\x00",
			"[{iqn.2026-01.net.example:a [{192.0.2.1 3261 1} {192.0.2.1 3262 1}]}]"},
		{"zone, name, no tag", name + "a\x00TargetAddress=[fe80::1%eth0]:3260,1\x00TargetAddress=storage.example\x00",
			"[{iqn.2026-01.net.example:a [{fe80::1%eth0 3260 1} {storage.example 3260 -1}]}]"},
		{"twice", name + "a\x00TargetAddress=192.0.2.1,1\x00TargetAddress=192.0.2.1:3260,1\x00", "[{iqn.2026-01.net.example:a [{192.0.2.1 3260 1}]}]"},
		{"a bad address is left out", name + "a\x00TargetAddress=[::1\x00TargetAddress=192.0.2.9:0,1\x00TargetAddress=192.0.2.1,1\x00", "[{iqn.2026-01.net.example:a [{192.0.2.1 3260 1}]}]"},
		{"a bad name is left out", "TargetName=a\x1b[2J\x00TargetAddress=192.0.2.7,1\x00TargetName=" + strings.Repeat("x", 224) + "\x00TargetAddress=192.0.2.8,1\x00" + name + "b\x00TargetAddress=192.0.2.1,1\x00",
			"[{iqn.2026-01.net.example:b [{192.0.2.1 3260 1}]}]"},
		{"the last NUL is missing", name + "a\x00TargetAddress=192.0.2.1,1", "[{iqn.2026-01.net.example:a [{192.0.2.1 3260 1}]}]"},
		{"other keys", "X-com.example=1\x00" + name + "a\x00TargetAlias=disk\x00", "[{iqn.2026-01.net.example:a [{192.0.2.1 3260 -1}]}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{len(tt.text) + 1, 7, 1} {
				l := targetList{portal: home}
				for text := []byte(tt.text); len(text) > 0; {
					n := min(piece, len(text))
					if err := l.add(text[:n]); err != nil {
						t.Fatal(err)
					}
					text = text[n:]
				}
				list, err := l.finish()
				if got := fmt.Sprint(list); err != nil || got != tt.want {
					t.Errorf("in pieces of %d:\n got %s, %v\nwant %s", piece, got, err, tt.want)
				}
			}
		})
	}
	for name, text := range map[string]string{
		"starts with TargetAddress": "TargetAddress=192.0.2.1,1\x00",
		"has no '='":                "iqn.2026-01.net.example:a\x00",
		"more than 8192 bytes":      strings.Repeat("a", 8193),
		"more than 1048576 bytes":   strings.Repeat("\x00", 1<<20+1),
		"more than 4096 targets":    strings.Repeat("TargetName=a\x00", 4097),
	} {
		l, err := targetList{portal: home}, error(nil)
		for text := []byte(text); len(text) > 0 && err == nil; {
			n := min(listSegment, len(text))
			err = l.add(text[:n])
			text = text[n:]
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

// TestDiscoverPieces gets a long list, a response a piece, with what else a
// target may send in between.
func TestDiscoverPieces(t *testing.T) {
	var all []string
	for i := range 50 {
		all = append(all, fmt.Sprintf("TargetName=iqn.2026-01.net.example:disk%d\x00TargetAddress=192.0.2.1:3260,1\x00", i))
	}
	const tag = 0xabcd
	list, target, err := discover(t, targettest.Config{Script: answers(func(n int, a *targettest.Answer) {
		resp, err := pdu.ParseTextResponse(*a.PDU)
		if err != nil {
			t.Error(err)
		}
		text := []byte(strings.Join(all, ""))
		size := len(text)/3 + 1 // lines are cut
		from := (n - 1) * size
		resp.Data = text[from:min(from+size, len(text))]
		if n < 3 {
			resp.Final, resp.Continue, resp.TTT, resp.LUN = false, n == 1, tag, [8]byte{0, 9}
		}
		p := resp.Marshal()
		a.PDU, a.Text = &p, resp.Data
		a.Before = []pdu.PDU{
			pdu.NOPIn{ITT: pdu.NoTag, TTT: pdu.NoTag}.Marshal(),
			pdu.NOPIn{ITT: pdu.NoTag, TTT: 5, LUN: [8]byte{0, 3}}.Marshal(), // wants an answer
			pdu.Async{Event: pdu.AsyncSCSI, StatSN: resp.StatSN}.Marshal(),
		}
		a.Chunk = 5
	})})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 50 || list[49].Name != "iqn.2026-01.net.example:disk49" || list[20].Portals[0].Host != "192.0.2.1" {
		t.Errorf("%d targets: %v", len(list), list)
	}
	var texts, pongs int
	for _, p := range target.Requests() {
		if m, err := pdu.ParseTextRequest(p); err == nil {
			if texts++; texts > 1 && (m.TTT != tag || m.LUN != [8]byte{0, 9} || len(m.Data) > 0) {
				t.Errorf("request %d: %+v", texts, m)
			}
		}
		if m, err := pdu.ParseNOPOut(p); err == nil && m.TTT == 5 && m.ITT == pdu.NoTag && m.LUN == [8]byte{0, 3} {
			pongs++
		}
	}
	if texts != 3 || pongs != 3 {
		t.Errorf("%d Text Requests and %d NOP-Outs, want 3 and 3", texts, pongs)
	}
}

func TestDiscoverRefused(t *testing.T) {
	text := func(edit func(m *pdu.TextResponse)) targettest.Script {
		return answers(func(_ int, a *targettest.Answer) {
			m, _ := pdu.ParseTextResponse(*a.PDU)
			edit(&m)
			p := m.Marshal()
			a.PDU = &p
		})
	}
	instead := func(p pdu.PDU) targettest.Script {
		return answers(func(_ int, a *targettest.Answer) { a.PDU = &p })
	}
	for name, tt := range map[string]struct {
		tc    targettest.Config
		edit  func(*Config)
		words string
		is    error
	}{
		"no credentials": {tc: targettest.Config{Username: "me", Secret: "secret"}, words: "credentials are configured", is: login.ErrNoCredentials},
		"wrong secret": {tc: targettest.Config{Username: "me", Secret: "secret"}, words: "authentication failed", is: login.ErrAuthFailed,
			edit: func(c *Config) { c.CHAP = &login.CHAP{Username: "me", Secret: "hunter-two"} }},
		"not authorized": {tc: targettest.Config{Script: targettest.Refuse(0x0202)}, is: login.ErrNotAuthorized},
		"another tag in the login": {tc: targettest.Config{Script: func(a *targettest.Answer) {
			if a.Login != nil {
				a.Login.ITT = 9
			}
		}}, words: "answers request 0x9"},
		"redirect loop":      {tc: targettest.Config{Script: func(a *targettest.Answer) { a.Status(0x0101); a.Set("TargetAddress", "127.0.0.1:1") }}, words: "connection refused"},
		"redirect to a name": {tc: targettest.Config{Script: targettest.Redirect(0x0102, "storage.example")}, words: "not an address"},
		"reject":             {tc: targettest.Config{Script: instead(pdu.Reject{Reason: 5}.Marshal())}, words: "rejects the request, reason 5"},
		"async logout":       {tc: targettest.Config{Script: instead(pdu.Async{Event: pdu.AsyncLogout}.Marshal())}, words: "ends the session"},
		"another PDU":        {tc: targettest.Config{Script: instead(pdu.LogoutResponse{}.Marshal())}, words: "Logout Response in place of its list"},
		"another tag":        {tc: targettest.Config{Script: text(func(m *pdu.TextResponse) { m.ITT++ })}, words: "answered request 0x2"},
		"no tag to go on":    {tc: targettest.Config{Script: text(func(m *pdu.TextResponse) { m.Final = false })}, words: "no tag"},
		"final that goes on": {tc: targettest.Config{Script: text(func(m *pdu.TextResponse) { m.Continue = true })}, words: "it goes on"},
		"without end":        {tc: targettest.Config{Script: text(func(m *pdu.TextResponse) { m.Final, m.TTT = false, 7 })}, words: "not at its end"},
		"cut":                {tc: targettest.Config{Script: answers(func(_ int, a *targettest.Answer) { a.Cut = 20 })}, words: "closed the connection"},
		"too long": {tc: targettest.Config{Script: answers(func(_ int, a *targettest.Answer) {
			a.Raw = []byte{0x24, 0x80, 0, 0, 0, 1, 0, 0}
			a.Raw = append(a.Raw, make([]byte, 40)...)
		})}, words: "at most 32768 were agreed"},
		"no portal": {edit: func(c *Config) { c.Portal = netip.AddrPort{} }, words: "no portal"},
	} {
		t.Run(name, func(t *testing.T) {
			edit := tt.edit
			if edit == nil {
				edit = func(*Config) {}
			}
			list, _, err := discover(t, tt.tc, edit)
			if err == nil || !strings.Contains(err.Error(), tt.words) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, %v; want %q", list, err, tt.words)
			}
		})
	}
}

func TestDiscoverRedirect(t *testing.T) {
	real := targettest.New(t, targettest.Config{Username: "me", Secret: "secret", UsernameIn: "you", SecretIn: "secret too"})
	list, _, err := discover(t, targettest.Config{Script: targettest.Redirect(0x0101, real.Addr())}, func(c *Config) {
		c.CHAP = &login.CHAP{Username: "me", Secret: "secret", UsernameIn: "you", SecretIn: "secret too"}
	})
	if err != nil || len(list) != 1 || list[0].Portals[0].Port != portal(t, real).Port() {
		t.Errorf("%v, %v", list, err)
	}
	// One that sends us to itself is left after a few times.
	var self *targettest.Target
	self = targettest.New(t, targettest.Config{Script: func(a *targettest.Answer) { a.Status(0x0101); a.Set("TargetAddress", self.Addr()) }})
	cfg := config(t, self)
	if _, err := Discover(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "gave up after 8 redirects") {
		t.Errorf("a loop: %v", err)
	}
	if n := self.Connections(); n != 9 {
		t.Errorf("%d connections", n)
	}
}

func TestDiscoverEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := targettest.New(t, targettest.Config{Script: answers(func(_ int, a *targettest.Answer) { a.Stall = true; cancel() })})
	_, err := Discover(ctx, config(t, target))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("got %v", err)
	}
	cfg := config(t, targettest.New(t, targettest.Config{Script: targettest.Stall()}))
	cfg.Timers.Login = time.Millisecond
	if _, err := Discover(t.Context(), cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if err := Connect(t.Context(), at); err != nil {
		t.Error(err)
	}
	l.Close()
	if err := Connect(t.Context(), at); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a closed port: %v", err)
	}
}

// FuzzTargetList reads lists in pieces of every size.
func FuzzTargetList(f *testing.F) {
	f.Add([]byte("TargetName=iqn.2026-01.net.example:a\x00TargetAddress=[fe80::1%eth0]:3260,1\x00TargetAddress=0.0.0.0,2\x00"), uint8(7))
	f.Add([]byte("TargetName=\x00TargetAddress=\x00="), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, piece uint8) {
		l := targetList{portal: netip.MustParseAddrPort("192.0.2.1:3260")}
		for len(text) > 0 {
			n := min(int(piece)+1, len(text))
			if l.add(text[:n]) != nil {
				return
			}
			text = text[n:]
		}
		list, err := l.finish()
		if err != nil {
			return
		}
		for _, r := range list {
			if len(r.Portals) == 0 || !isListName(r.Name) {
				t.Errorf("%+v", r)
			}
			for _, p := range r.Portals {
				if p.Host == "" || p.Port == 0 || p.Tag < -1 || p.Tag > 65535 {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}
