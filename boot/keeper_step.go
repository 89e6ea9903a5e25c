package boot

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/keep"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/session"
)

// startKeeper starts what repairs the sessions from here on; see package keep.
func startKeeper(ctx context.Context, c *Console, all []*Path, ways *paths, nics []*network.Result) {
	list := keepList(ctx, all, ways, nics)
	if !strings.Contains(list, "session ") { // the root's is an adapter's own
		return
	}
	if err := keep.Start(list); err != nil {
		c.Printf("warning: no keeper repairs the root's session: %v", err)
	}
}

// keepList is what there is to keep of this boot: its own sessions, the paths that
// are not there yet, as far as that takes no name server, and the leases.
func keepList(ctx context.Context, all []*Path, ways *paths, nics []*network.Result) string {
	var list strings.Builder
	over, cancel := context.WithCancel(ctx) // nothing is waited for any more
	cancel()
	for _, p := range all {
		if p.Target.Session != "" { // another program's
			continue
		}
		if s := p.Session; s != nil {
			fmt.Fprintf(&list, "session %d %d\n\n", s.SID, leavesBy(p.NIC, &s.Config))
			continue
		}
		cfg, _, err := ways.nics.sessionConfig(&p.Target)
		if err != nil {
			continue
		}
		portal := cfg.Portal.Addr()
		nic, err := ways.nics.leading(over, p.Target, portal)
		if err != nil {
			continue
		}
		cfg.Interface = ways.nics.bound(p.Target, nic)
		if portal.Is6() && portal.IsLinkLocalUnicast() && portal.Zone() == "" {
			cfg.Portal = netip.AddrPortFrom(portal.WithZone(nic.Name), cfg.Portal.Port())
		}
		anyLUN := 0
		if p.Target.AnyLUN {
			anyLUN = 1
		}
		fmt.Fprintf(&list, "path %d %d %d\n", p.Target.LUN.Uint64(), leavesBy(nic, cfg), anyLUN)
		list.Write(append(handoff.Record(cfg, 1), '\n'))
	}
	for _, nic := range nics {
		for _, a := range nic.Address {
			if l := nic.Lease; l != nil && l.Duration < network.Forever && a.Addr().Is4() {
				fmt.Fprintf(&list, "lease %d %v %v %d %d %d %d\n\n", nic.Index, a.Addr(), l.Server, l.Duration, l.Renew, l.Rebind, time.Since(l.Acquired))
			}
		}
	}
	return list.String()
}

// leavesBy is the index of the interface that a session has to leave by, 0: any.
func leavesBy(nic *network.Result, cfg *session.Config) int {
	if nic != nil && (cfg.Interface != "" || cfg.Portal.Addr().Zone() != "") {
		return nic.Index
	}
	return 0
}
