package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kerneltest"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/targettest"
)

// S1: the session keeps its number, and with it its ISID; the portal to come back
// to stays as configured, also of a target that has moved for good.
func TestRedirect(t *testing.T) {
	for _, code := range []uint16{0x0101, 0x0102} {
		t.Run(fmt.Sprintf("%04x", code), func(t *testing.T) {
			second := targettest.New(t, targettest.Config{})
			first := targettest.New(t, targettest.Config{Script: func(a *targettest.Answer) {
				if a.Connection < 3 {
					targettest.Redirect(code, second.Addr())(a)
				}
			}})
			k, in := newFakeKernel(t)
			var notes []string
			in.note = func(s string) { notes = append(notes, s) }
			cfg := config(t, first)
			s, err := in.Login(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if s.Portal != portal(t, second) {
				t.Errorf("logged in at %v, want %v", s.Portal, second.Addr())
			}
			how := map[uint16]string{0x0101: "temporarily", 0x0102: "permanently"}[code]
			if len(notes) != 1 || !strings.Contains(notes[0], first.Addr()+" sends us on to "+second.Addr()) || !strings.Contains(notes[0], how) {
				t.Errorf("notes %q", notes)
			}
			const want = "CREATE_SESSION, CREATE_CONN, BIND_CONN, STOP_CONN 3, BIND_CONN, START_CONN"
			log := k.TakeLog()
			if got := kerneltest.Commands(log); got != want {
				t.Errorf("commands %s, want %s", got, want)
			}
			configured := fmt.Sprintf("18=%d", cfg.Portal.Port())
			ports := slices.DeleteFunc(log, func(s string) bool { return !strings.HasPrefix(s, "18=") })
			if diff := cmp.Diff([]string{configured, configured}, ports); diff != "" {
				t.Errorf("persistent ports (-want +got):\n%s", diff)
			}

			if err := s.Reconnect(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			const again = "STOP_CONN 3, BIND_CONN, STOP_CONN 3, BIND_CONN, START_CONN"
			if got := kerneltest.Commands(k.TakeLog()); got != again {
				t.Errorf("reconnect: %s, want %s", got, again)
			}
			if first.Connections() != 2 || second.Connections() != 2 {
				t.Errorf("%d and %d connections, want 2 and 2", first.Connections(), second.Connections())
			}
			if err := s.Reconnect(t.Context(), nil); err != nil || s.Portal != cfg.Portal {
				t.Errorf("when nobody sends us on any more: %v, logged in at %v", err, s.Portal)
			}
			// F1, F2: the login after a loss is of the same session to the target.
			for _, m := range append(first.Logins(), second.Logins()...) {
				if m.ISID != isid(s.SID) || m.TSIH != 0 {
					t.Errorf("ISID % x, TSIH %d", m.ISID, m.TSIH)
				}
			}
		})
	}
}

// S1: a hop changes neither who we are nor whom we want.
func TestRedirectKeepsAuthentication(t *testing.T) {
	open := targettest.New(t, targettest.Config{})
	chap := &login.CHAP{Username: "me", Secret: "secret-of-mine"}
	for _, code := range []uint16{0x0101, 0x0102} {
		first := targettest.New(t, targettest.Config{Script: targettest.Redirect(code, open.Addr())})
		_, in := newFakeKernel(t)
		cfg := config(t, first)
		cfg.CHAP = chap
		_, err := in.Login(t.Context(), cfg)
		if !errors.Is(err, login.ErrAuthFailed) {
			t.Errorf("a target that wants no authentication, after a redirect: %v", err)
		}
	}
	other := targettest.New(t, targettest.Config{TargetName: "iqn.2026-01.org.example:other"})
	first := targettest.New(t, targettest.Config{Script: targettest.Redirect(0x0101, other.Addr())})
	_, in := newFakeKernel(t)
	if _, err := in.Login(t.Context(), config(t, first)); !errors.Is(err, login.ErrTargetNotFound) {
		t.Errorf("a portal of another target: %v", err)
	}
}

// S1: to names, with some of their addresses dead.
func TestRedirectToName(t *testing.T) {
	second := targettest.New(t, targettest.Config{})
	port := portal(t, second).Port()
	dead := netip.MustParseAddr("127.9.9.9")
	home := netip.MustParseAddr("127.0.0.1")
	silly := errors.New("no such name")
	for _, tt := range []struct {
		name  string
		addrs []netip.Addr
		err   error
		want  error
	}{
		{"one address", []netip.Addr{home}, nil, nil},
		{"the first is dead", []netip.Addr{dead, netip.MustParseAddr("::1"), home}, nil, nil},
		{"all are dead", []netip.Addr{dead, dead}, nil, unix.ECONNREFUSED},
		{"no such name", nil, silly, silly},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := targettest.New(t, targettest.Config{Script: targettest.Redirect(0x0101, fmt.Sprintf("disk-2.example:%d,1", port))})
			k, in := newFakeKernel(t)
			cfg := config(t, first)
			cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
				if _, ok := ctx.Deadline(); !ok || host != "disk-2.example" {
					t.Errorf("asked for %q; with a deadline: %v", host, ok)
				}
				return tt.addrs, tt.err
			}
			s, err := in.Login(t.Context(), cfg)
			switch {
			case tt.want == nil && (err != nil || s.Portal != portal(t, second)):
				t.Errorf("session %+v, error %v", s, err)
			case tt.want != nil && (!errors.Is(err, tt.want) || !strings.Contains(err.Error(), "disk-2.example")):
				t.Errorf("error %v", err)
			case tt.want != nil && k.Left() != "":
				t.Errorf("left in the kernel: %s", k.Left())
			}
			list, err := Discover(t.Context(), cfg)
			if (err != nil) != (tt.want != nil) || tt.want == nil && len(list) != 1 {
				t.Errorf("discovery: %v, %v", list, err)
			}
		})
	}
}

// S1: IPv6, in brackets and without, with a port and without. Nobody is there, or
// somebody who knows no such target.
func TestRedirectToIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	for _, tt := range []struct{ address, to string }{
		{fmt.Sprintf("[::1]:%d", port), fmt.Sprintf("[::1]:%d", port)},
		{fmt.Sprintf("[::1]:%d,1", port), fmt.Sprintf("[::1]:%d", port)},
		{"::1:65535", "[::1]:65535"}, // tgt's
		{"[::1]", "[::1]:3260"},
		{"::1,1", "[::1]:3260"},
		{"127.0.0.1", "127.0.0.1:3260"},
	} {
		first := targettest.New(t, targettest.Config{Script: targettest.Redirect(0x0101, tt.address)})
		k, in := newFakeKernel(t)
		_, err := in.Login(t.Context(), config(t, first))
		if err == nil || !strings.Contains(err.Error(), tt.to) || k.Left() != "" {
			t.Errorf("%s: %v, left %q", tt.address, err, k.Left())
		}
	}
}

// S1: hops are bounded, and each is told.
func TestRedirectHops(t *testing.T) {
	last := targettest.New(t, targettest.Config{})
	chain := []*targettest.Target{last}
	for range maxRedirects + 1 {
		chain = append(chain, targettest.New(t, targettest.Config{Script: targettest.Redirect(0x0101, chain[len(chain)-1].Addr())}))
	}
	for hops := maxRedirects - 1; hops <= maxRedirects+1; hops++ {
		k, in := newFakeKernel(t)
		var notes []string
		in.note = func(s string) { notes = append(notes, s) }
		cfg := config(t, chain[hops])
		cfg.Note = in.note
		s, err := in.Login(t.Context(), cfg)
		if good := hops <= maxRedirects; good && (err != nil || s.Portal != portal(t, last)) || !good && (err == nil || k.Left() != "") {
			t.Errorf("%d hops: %v, %v, left %q", hops, s, err, k.Left())
		}
		if want := min(hops, maxRedirects); len(notes) != want {
			t.Errorf("%d hops are told as %q", hops, notes)
		}
		notes = nil
		if _, err := Discover(t.Context(), cfg); (err == nil) != (hops <= maxRedirects) || len(notes) != min(hops, maxRedirects) {
			t.Errorf("discovery over %d hops: %v, told as %q", hops, err, notes)
		}
	}
}
