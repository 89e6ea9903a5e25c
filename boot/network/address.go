package network

import (
	"errors"
	"net/netip"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// addAddress gives the NIC an address. One that it has already stays as it is.
// An IPv6 address is not checked for duplicates: somebody gave it to this
// machine, and firmware has used it; the check would cost every boot a second.
func (n *nic) addAddress(p netip.Prefix) error {
	a := p.Addr()
	if !p.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
		return n.fail(nil, "%s is no address for a NIC; check the address and its prefix length", p)
	}
	switch err := newAddress(n.index, p, unix.IFA_F_NODAD); {
	case err == nil:
		n.onFailure(func() error { return delAddress(n.index, p) })
	case !errors.Is(err, unix.EEXIST):
		return n.fail(err, "cannot have the address %s", p)
	}
	if !slices.Contains(n.addresses, p) {
		n.addresses = append(n.addresses, p)
	}
	return nil
}

// wanted returns the routes that DHCP gave and those that cfg adds to them, and
// cfg's gateway of the default route, as addRoutes takes them.
func (n *nic) wanted(routes []route, cfg *Config) ([]route, netip.Addr) {
	gateway := cfg.Gateway
	if cfg.Narrow {
		for _, r := range routes {
			if r.to.Bits() == 0 && !gateway.IsValid() {
				gateway = r.via
			}
		}
		routes = notDefault(routes)
	}
	for _, peer := range cfg.Peers {
		near := n.onLink(peer)
		switch {
		case peer.IsLinkLocalUnicast():
		case near && cfg.Loose:
			routes = append(routes, route{to: host32(peer)})
		case !near && cfg.Narrow && gateway.BitLen() == peer.BitLen():
			routes = append(routes, route{host32(peer), gateway})
		}
	}
	for _, r := range cfg.Routes {
		if r := (route{r.Destination, r.Gateway}); !r.via.IsValid() || n.onLink(r.via) {
			routes = append(routes, r)
		} else {
			n.p.Printf("%s: the route %s is left out: its gateway is not on this link", n.name, r)
		}
	}
	if cfg.Narrow {
		return routes, netip.Addr{}
	}
	return routes, gateway
}

// onLink says whether an address is in one of the NIC's subnets.
func (n *nic) onLink(a netip.Addr) bool {
	holds := func(p netip.Prefix) bool { return p.Contains(a) }
	return a.Is6() && a.IsLinkLocalUnicast() || slices.ContainsFunc(n.addresses, holds) || slices.ContainsFunc(n.near, holds)
}

// loosen lets the NIC share its subnet with another: packets that come by the
// other's way are taken (RFC 3704, 2.4), and only its own addresses are
// answered for and named in ARP (kernel, networking/ip-sysctl.rst).
func (n *nic) loosen(procfs string) {
	for _, set := range [][2]string{{"rp_filter", "2"}, {"arp_ignore", "1"}, {"arp_announce", "2"}} {
		file := path.Join(procfs, "sys/net/ipv4/conf", n.name, set[0])
		before := readFile(file)
		if err := os.WriteFile(file, []byte(set[1]), 0); err != nil {
			n.p.Printf("warning: %v", err)
			continue
		}
		n.onFailure(func() error { return os.WriteFile(file, []byte(before), 0) })
	}
}

// addRoutes adds the routes that DHCP gave, with gateway, when valid, in place
// of its default route. It returns the gateway of the default route.
func (n *nic) addRoutes(routes []route, gateway netip.Addr) (netip.Addr, error) {
	if gateway.IsValid() {
		routes = append(notDefault(routes), route{netip.PrefixFrom(zero(gateway), 0), gateway})
	}
	var onLink []netip.Prefix
	for _, p := range n.addresses {
		onLink = append(onLink, p.Masked())
	}
	// Those on the link come first: the others' gateways may lie there (RFC 3442).
	var ordered []route
	for _, bits := range [...]int{0, 32, 128} {
		for _, r := range routes {
			if r.via.BitLen() == bits {
				ordered = append(ordered, r)
			}
		}
	}
	for _, r := range ordered {
		isDefault := r.to.Bits() == 0
		direct := !r.via.IsValid() || r.via.Is6() && r.via.IsLinkLocalUnicast() ||
			slices.ContainsFunc(onLink, func(p netip.Prefix) bool { return p.Contains(r.via) })
		var err error
		if !direct {
			// A gateway outside of the NIC's subnets is taken to be on its link.
			onLink = append(onLink, host32(r.via))
			err = n.addRoute(route{to: host32(r.via)})
		}
		if err == nil {
			err = n.addRoute(r)
		}
		switch {
		case err != nil && isDefault && gateway.IsValid():
			return netip.Addr{}, err
		case err != nil: // the server's whim; the root may be reached without
			n.p.Printf("%v", err)
		case isDefault && !gateway.IsValid():
			gateway = r.via
		}
		if !r.via.IsValid() {
			onLink = append(onLink, r.to)
		}
	}
	return gateway, nil
}

// notDefault returns the routes that lead to some addresses only.
func notDefault(routes []route) (list []route) {
	for _, r := range routes {
		if r.to.Bits() > 0 {
			list = append(list, r)
		}
	}
	return list
}

// reaches says whether there is a route to every peer.
func (n *nic) reaches(peers []netip.Addr) bool {
	return !slices.ContainsFunc(peers, func(peer netip.Addr) bool {
		_, _, err := routeTo(peer)
		return err != nil
	})
}

// leadTo sees to it that the NIC leads to a peer when nothing else does: no
// gateway is known, or the peer is an IPv4 link-local address, which no gateway
// forwards (RFC 3927, 2.6.2). The peer is then taken to be on the link.
func (n *nic) leadTo(peer netip.Addr) error {
	peer = peer.Unmap()
	if !peer.IsValid() || peer.Is6() && peer.IsLinkLocalUnicast() {
		return nil // link-local IPv6 leads by its zone
	}
	if !slices.ContainsFunc(n.addresses, func(p netip.Prefix) bool { return p.Addr().Is4() == peer.Is4() }) {
		return nil // no address to reach it from
	}
	via, _, err := routeTo(peer)
	switch {
	case err == nil && !(via.IsValid() && peer.Is4() && peer.IsLinkLocalUnicast()):
		return nil
	case err != nil && !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH):
		return n.fail(err, "the route to %s cannot be looked up", peer)
	}
	n.p.Printf("%s: no route leads to %s, so it is taken to be on this link", n.name, peer)
	return n.addRoute(route{to: host32(peer)})
}

// addRoute adds a route through the NIC unless it is there already.
func (n *nic) addRoute(r route) error {
	switch err := newRoute(n.index, r); {
	case err == nil:
		n.onFailure(func() error { return delRoute(n.index, r) })
	case !errors.Is(err, unix.EEXIST):
		return n.fail(err, "cannot have the route to %s", r)
	}
	n.routes = append(n.routes, Route{r.to, r.via})
	return nil
}

// host32 returns the prefix that holds one address.
func host32(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a.WithZone(""), a.BitLen()) }

// zero returns 0.0.0.0 or ::, as a is IPv4 or IPv6.
func zero(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
