package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/targettest"
)

// How many requests a login takes on the wire: through the kernel's interface,
// and over the plain TCP of a discovery.
func TestExchanges(t *testing.T) {
	type test struct {
		name   string
		target targettest.Config
		chap   *login.CHAP
		want   int
	}
	tests := []test{
		{"no authentication", targettest.Config{}, nil, 1},
		{"optional and not asked for", targettest.Config{}, &login.CHAP{Username: "me", Secret: "secret-of-mine", Optional: true}, 3},
		{"tgt's SHA-256 that is SHA-1", targettest.Config{Username: "me", Secret: "secret-of-mine", Algorithms: []int{5, 6, 7}, Script: func(a *targettest.Answer) {
			if a.Connection%2 == 1 && a.Exchange == 3 {
				a.Status(0x0200)
			}
		}}, &login.CHAP{Username: "me", Secret: "secret-of-mine"}, 3 + 4},
	}
	for number := login.MD5; number <= login.SHA3256; number++ {
		one := targettest.Config{Username: "me", Secret: "secret-of-mine", Algorithms: []int{int(number)}}
		both := one
		both.UsernameIn, both.SecretIn = "you", "secret-of-yours"
		tests = append(tests, test{"CHAP " + number.String(), one, &login.CHAP{Username: "me", Secret: "secret-of-mine"}, 4},
			test{"mutual CHAP " + number.String(), both, &login.CHAP{Username: "me", Secret: "secret-of-mine", UsernameIn: "you", SecretIn: "secret-of-yours"}, 4})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := targettest.New(t, tt.target)
			_, in := newFakeKernel(t)
			var notes []string
			in.note = func(s string) { notes = append(notes, s) }
			cfg := config(t, target)
			cfg.CHAP = tt.chap
			s, err := in.Login(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(target.Requests()); n != tt.want || s.Exchanges > n {
				t.Errorf("%d requests, %d exchanges of the last login; want %d", n, s.Exchanges, tt.want)
			}
			if tt.chap != nil && (s.Algorithm == 0) != tt.chap.Optional {
				t.Errorf("logged in with %v", s.Algorithm)
			}
			said := tt.chap != nil && (tt.chap.Optional || tt.want > 4)
			if said != (len(notes) == 1) || tt.chap != nil && tt.chap.Optional && !strings.Contains(notes[0], "warning: authentication is optional") {
				t.Errorf("notes %q", notes)
			}
			before := len(target.Logins())
			notes, cfg.Note = nil, in.note
			if _, err := Discover(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if n := len(target.Logins()) - before; n != tt.want {
				t.Errorf("%d requests of a discovery, want %d", n, tt.want)
			}
			if optional := tt.chap != nil && tt.chap.Optional; optional != (len(notes) == 1) {
				t.Errorf("notes of a discovery %q", notes)
			}
		})
	}
}

// CHAP that is asked for does not go without credentials.
func TestNeedCHAP(t *testing.T) {
	target := targettest.New(t, targettest.Config{})
	k, in := newFakeKernel(t)
	cfg := config(t, target)
	if err := cfg.Set("node.session.auth.authmethod", "CHAP"); err != nil {
		t.Fatal(err)
	}
	_, err := in.Login(t.Context(), cfg)
	if e := (*login.ConfigError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "no credentials") || Retry(err) != Never {
		t.Errorf("got %v", err)
	}
	if target.Connections() != 0 || len(k.TakeLog()) != 0 {
		t.Error("the target or the kernel was asked")
	}
}

// node.conn[0].iscsi.MaxXmitDataSegmentLength bounds what the target declares.
func TestMaxXmit(t *testing.T) {
	for _, tt := range []struct{ configured, want uint32 }{{0, 262144}, {4096, 4096}, {1 << 20, 262144}} {
		target := targettest.New(t, targettest.Config{})
		k, in := newFakeKernel(t)
		cfg := config(t, target)
		cfg.MaxXmitDataSegmentLength = tt.configured
		if _, err := in.Login(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if log := strings.Join(k.TakeLog(), " "); !strings.Contains(log, fmt.Sprintf(" 1=%d ", tt.want)) {
			t.Errorf("configured %d, told the kernel %s", tt.configured, log)
		}
	}
}
