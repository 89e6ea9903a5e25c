package boot

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/targettest"
)

// A target without a name is the only one that its portal lists, with the
// credentials that are its own.
func TestNameTarget(t *testing.T) {
	const secret = "hunter-two-two"
	list := func(names ...string) AskFunc {
		return func(context.Context, session.Config) (records []session.TargetRecord, err error) {
			for _, n := range names {
				records = append(records, session.TargetRecord{Name: n})
			}
			return records, nil
		}
	}
	for name, tt := range map[string]struct {
		target targettest.Config
		ask    AskFunc
		known  fw.Credentials
		want   string // the error; empty: the target has its name
		pass   bool   // the error may pass
		user   string // whom the session is to log in as
	}{
		"one": {},
		"its own secret": {known: fw.Credentials{CHAP: fw.CHAP{Username: "all", Password: "x"}, Targets: map[string]fw.CHAP{targettest.TargetName: {Password: secret}}},
			user: "all"},
		"a secret for discovery": {target: targettest.Config{Username: "me", Secret: secret}, known: fw.Credentials{Discovery: fw.CHAP{Username: "me", Password: secret}}},
		"no secret":              {target: targettest.Config{Username: "me", Secret: secret}, want: "authentication"},
		"none":                   {ask: list(), want: "lists no target to " + targettest.InitiatorName, pass: true},
		"two":                    {ask: list("iqn.x:a", "iqn.x:b"), want: "lists iqn.x:a, iqn.x:b to"},
		"many":                   {ask: list("a", "b", "c", "d", "e", "f"), want: "lists a, b, c, d, and 2 more to"},
		"busy":                   {target: targettest.Config{Script: targettest.Refuse(0x0301)}, want: "status 0301", pass: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := session.Default()
			cfg.InitiatorName, cfg.Portal = targettest.InitiatorName, netip.MustParseAddrPort(targettest.New(t, tt.target).Addr())
			n := newNICSet(NewConsole(io.Discard, time.Now()), &fw.Plan{Credentials: tt.known}, nil, nil)
			target := fw.Target{Host: "127.0.0.1"}
			if tt.ask == nil {
				tt.ask = session.Discover
			}
			err := n.name(t.Context(), tt.ask, &target, &cfg)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || pace(err) == session.Normally != tt.pass || strings.Contains(err.Error(), "hunter") {
					t.Errorf("%v (may pass: %v), want %q (%v)", err, err != nil && pace(err) == session.Normally, tt.want, tt.pass)
				}
				return
			}
			if err != nil || target.Name != targettest.TargetName || cfg.TargetName != targettest.TargetName {
				t.Errorf("%v, %+v", err, target)
			}
			if tt.user != "" && (cfg.CHAP == nil || cfg.CHAP.Username != tt.user || string(cfg.CHAP.Secret) != secret || target.CHAP == nil) {
				t.Errorf("it logs in as %v", cfg.CHAP)
			}
		})
	}
}

// Credentials are not shown to a portal that asks for none.
func TestDiscoverShowsNothing(t *testing.T) {
	cfg := session.Default()
	cfg.CHAP = loginCHAP(&fw.CHAP{Username: "me", Password: "hunter"})
	asked := 0
	_, err := Discover(t.Context(), func(_ context.Context, cfg session.Config) ([]session.TargetRecord, error) {
		asked++
		if cfg.CHAP != nil {
			t.Error("credentials are given")
		}
		return nil, errors.New("refused otherwise")
	}, &cfg, &fw.CHAP{Username: "me", Password: "hunter"})
	if err == nil || asked != 1 || cfg.CHAP == nil {
		t.Errorf("%v, asked %d times", err, asked)
	}
}
