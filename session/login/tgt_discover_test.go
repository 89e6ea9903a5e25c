package login_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/targettest"
)

// TestTGTDiscovery asks tgt for a list that takes more than one PDU.
func TestTGTDiscovery(t *testing.T) {
	g := startTGT(t)
	const targets = 300
	for i := range targets {
		g.Target(fmt.Sprint(i + 1))
	}
	cfg := session.Default()
	cfg.InitiatorName = targettest.InitiatorName
	cfg.Portal = netip.MustParseAddrPort(g.Portal)
	list, err := session.Discover(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range list {
		names[r.Name] = true
		if p := r.Portals; len(p) != 1 || p[0].Host != cfg.Portal.Addr().String() || p[0].Port != cfg.Portal.Port() || p[0].Tag != 1 {
			t.Errorf("%s: portals %v", r.Name, p)
		}
	}
	for i := range targets {
		if name := targettest.TGTName(fmt.Sprint(i + 1)); !names[name] {
			t.Errorf("%s is not in the list", name)
		}
	}
}
