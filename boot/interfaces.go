package boot

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

// interfaces describes for the next system what the boot set up, each after
// what it stands on.
func interfaces(plan *fw.Plan, nics []*network.Result) (list []handoff.Interface) {
	add := func(n handoff.Interface) {
		for i := range list {
			if list[i].Name == n.Name {
				if len(n.Address) > 0 { // so far it was there for another's sake
					list[i] = n
				}
				return
			}
		}
		list = append(list, n)
	}
	for _, r := range nics {
		for _, part := range r.Below {
			below := handoff.Interface{Name: part.Name, Index: part.Index, MAC: part.MAC.String(), Permanent: part.Made.String(), MTU: unusual(part.MTU)}
			switch {
			case part.Name != r.Link:
				below.Master = cmp.Or(r.Link, r.Name)
			case r.Ports != nil:
				below.Kind, below.Options = "bond", options(r)
			}
			add(below)
		}
		add(oneInterface(plan, r))
	}
	return list
}

// oneInterface describes a NIC without what it stands on.
func oneInterface(plan *fw.Plan, r *network.Result) handoff.Interface {
	n := handoff.Interface{
		Name: r.Name, Index: r.Index, MAC: r.MAC.String(), Permanent: r.Made.String(), MTU: unusual(r.MTU),
		DHCP: r.DHCP, RA: r.RA, Address: r.Address, Hostname: r.Hostname, NoPeerDNS: plan.NoPeerDNS,
	}
	switch {
	case r.Link != "":
		n.Kind, n.VLAN, n.Link = "vlan", r.VLAN, r.Link
	case r.Ports != nil:
		n.Kind, n.Options = "bond", options(r)
	}
	for _, gw := range [...]netip.Addr{r.Gateway, r.Gateway6} {
		if gw.IsValid() && !(len(n.Gateway) > 0 && n.Gateway[0].Is6()) {
			n.Gateway = append(n.Gateway, gw)
		}
	}
	for _, route := range r.Routes {
		if to := handoff.Route(route); to.Destination.Bits() > 0 && !slices.Contains(n.Routes, to) {
			n.Routes = append(n.Routes, to)
		}
	}
	for _, a := range append(plan.DNS[:len(plan.DNS):len(plan.DNS)], r.DNS...) {
		if !slices.Contains(n.DNS, a) {
			n.DNS = append(n.DNS, a)
		}
	}
	if l := r.Lease; l != nil {
		n.Domain, n.Server, n.Lease = l.Domain, l.Server, int(l.Duration/time.Second)
	}
	if l := r.Lease6; l != nil {
		n.Domain = cmp.Or(n.Domain, l.Domain)
		if l.Address.IsValid() {
			n.DHCP6, n.DUID, n.IAID = true, l.Client, l.IAID
		}
	}
	if plan.NoPeerDNS {
		n.Domain = ""
	}
	return n
}

// unusual is an MTU that an Ethernet does not have by itself; else 0.
func unusual(mtu int) int {
	if mtu == 1500 {
		return 0
	}
	return mtu
}

func options(r *network.Result) (list []handoff.Option) {
	for _, o := range r.Options {
		list = append(list, handoff.Option(o))
	}
	return list
}
