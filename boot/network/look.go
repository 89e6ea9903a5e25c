package network

import (
	"context"
	"net/netip"

	"golang.org/x/sys/unix"
)

// State is a NIC as it stands.
type State struct {
	Name    string
	MAC     string
	Driver  string // empty for a NIC that is no hardware
	MTU     int
	Up      bool
	Carrier bool // means nothing of a NIC that is not up
}

// Look returns the NIC that cfg means: of a bond that is still to be made, its
// first port. It changes nothing and waits for nothing.
func Look(cfg Config) (*State, error) {
	h := host{sysfs: "/sys"}
	links, err := listLinks()
	if err != nil {
		return nil, &Error{cfg.who(), "cannot be looked for", err}
	}
	l, err := h.choose(&cfg, links)
	for i := range cfg.Bonds {
		if b := &cfg.Bonds[i]; b.Name == cfg.Name && l == nil && len(b.Ports) > 0 {
			l, err = h.choose(b.port(b.Ports[0]), links)
		}
	}
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, failed(cfg.who(), nil, "is not there; present: %s", h.describe(links))
	}
	return &State{
		Name: l.name, MAC: l.mac.String(), Driver: h.driver(l.name), MTU: l.mtu, Up: l.up(), Carrier: l.flags&unix.IFF_LOWER_UP != 0,
	}, nil
}

// RouteTo returns how the kernel would reach an address: by which interface, and
// through which gateway, which is not valid for what is on the link. A zone is
// the interface.
func RouteTo(a netip.Addr) (nic string, via netip.Addr, err error) {
	a = a.Unmap()
	if a.Zone() != "" {
		return a.Zone(), via, nil
	}
	via, index, err := routeTo(a)
	if err != nil {
		return "", via, err
	}
	l, err := getLink(index)
	if err != nil {
		return "", via, err
	}
	return l.name, via, nil
}

// Wired returns the names of all wired NICs that are part of nothing else. Where
// udev runs it waits until they have the names that it gives them.
func Wired(ctx context.Context, p Progress) (names []string, err error) {
	h := host{sysfs: "/sys", run: "/run"}
	links, err := listLinks()
	for _, l := range links {
		if !h.physical(l) || l.master != 0 {
			continue
		}
		if err := h.awaitUdev(ctx, l, p); err != nil {
			return names, err
		}
		if l, err := getLink(l.index); err == nil {
			names = append(names, l.name)
		}
	}
	return names, err
}

// Address is one of a NIC's.
type Address struct {
	netip.Prefix
	Dynamic bool // it ends, unless somebody renews it
}

// Addresses returns those of a NIC that are valid beyond its link.
func Addresses(nic string) (list []Address, err error) {
	links, err := listLinks()
	if err != nil {
		return nil, err
	}
	l := linkNamed(links, nic)
	if l == nil {
		return nil, failed(nic, nil, "is not there")
	}
	all, err := allAddresses(unix.AF_UNSPEC, l.index)
	for _, a := range all {
		if a.scope < unix.RT_SCOPE_LINK {
			list = append(list, Address{a.Prefix, a.flags&unix.IFA_F_PERMANENT == 0})
		}
	}
	return list, err
}
