package network

import (
	"context"
	"errors"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Bond says which NICs are one.
type Bond struct {
	Name    string
	Ports   []string // interface names or MACs
	Options []Option // of the bonding driver: mode, miimon, … (kernel, networking/bonding.rst)
	MTU     int      // 0: as it is
}

// Option is one of the bonding driver's. The addresses of arp_ip_target are
// divided by semicolons.
type Option struct{ Name, Value string }

// portGrace is how long the boot waits for the other ports of a bond when one
// is there.
const portGrace = 5 * time.Second

// port is what looks for a port of a bond.
func (b *Bond) port(selector string) *Config {
	mac, err := net.ParseMAC(selector)
	if err == nil {
		selector = ""
	}
	return &Config{Name: selector, MAC: mac, Bonds: []Bond{*b}}
}

// has says whether a NIC is to be a port of the bond.
func (b *Bond) has(h host, l *link) bool {
	alone := *l
	alone.master = 0
	for _, selector := range b.Ports {
		if found, err := h.choose(b.port(selector), []*link{&alone}); err == nil && found != nil {
			return true
		}
	}
	return false
}

// bond makes n a bond of those of its ports that are there, before it is set up.
// The port that n was before, if any, is the one whose MAC the bond gets. A bond
// that has ports already keeps its options.
func (h host) bond(ctx context.Context, cfg *Config, b *Bond, n *nic) error {
	first := n.link
	n.link, n.options = &link{name: b.Name}, watched(b.Options)
	ports, err := h.ports(ctx, cfg, b, n.p)
	if err != nil {
		return err
	}
	if err := n.findBond(cfg, b); err != nil {
		return err
	}
	fresh := true
	for i, l := range ports {
		fresh = fresh && l.master != n.index
		if first != nil && l.index == first.index { // the kernel gives a bond the MAC of its first port
			ports[0], ports[i] = ports[i], ports[0]
		}
	}
	if fresh {
		if err := h.setOptions(n, n.options); err != nil {
			return err
		}
	}
	if err := n.setMTU(b.MTU); err != nil {
		return n.fail(err, "cannot have MTU %d; check the MTU in bond=", b.MTU)
	}
	var failed error
	for _, l := range ports {
		if err := n.enslave(l); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		n.ports, n.parts = append(n.ports, l.name), append(n.parts, l.part())
	}
	if n.ports == nil {
		return n.fail(failed, "no NIC could become its port")
	}
	if failed != nil {
		n.p.Printf("warning: %v", failed)
	}
	return n.look()
}

// ports waits until one of the bond's ports is there, and a little longer for
// the others: one that is missing must not cost the boot.
func (h host) ports(ctx context.Context, cfg *Config, b *Bond, p Progress) (ports []*link, err error) {
	var missing string
	enough := 1
	look := func() (bool, error) {
		links, err := listLinks()
		ports, missing = nil, ""
		for _, selector := range b.Ports {
			var l *link
			if err == nil {
				l, err = h.choose(b.port(selector), links)
			}
			if l == nil {
				missing += " " + selector
			} else if !slices.Contains(ports, l) {
				ports = append(ports, l)
			}
		}
		return missing == "" || len(ports) >= enough, err
	}
	if err = await(ctx, p, "a port of "+b.Name, cfg.FindTimeout, look); err == nil && missing != "" {
		enough = len(b.Ports)
		err = await(ctx, p, "the other ports of "+b.Name, min(portGrace, cfg.FindTimeout), look)
	}
	switch {
	case err == nil:
		return ports, nil
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && ports != nil:
		p.Printf("warning: %s goes without%s: not there", b.Name, missing)
		return ports, nil
	case errors.Is(err, context.DeadlineExceeded):
		links, _ := listLinks()
		return nil, failed(b.Name, err, "none of its ports%s appeared within %s; present: %s", missing, seconds(cfg.FindTimeout), h.describe(links))
	}
	return nil, &Error{b.Name, "its ports cannot be looked for", err}
}

// findBond takes the bond that is there, or makes it.
func (n *nic) findBond(cfg *Config, b *Bond) error {
	links, err := listLinks()
	if err != nil {
		return n.fail(err, "cannot be looked for")
	}
	l := linkNamed(links, b.Name)
	switch {
	case l == nil:
		return n.create(b.Name, "bonding", cfg, newLinkRequest(b.Name, "bond"))
	case l.kind != "bond":
		return n.fail(nil, "it is no bond, and bond= wants one of that name")
	}
	n.link = l
	return nil
}

// enslave makes a NIC a port of the bond, unless it is.
func (n *nic) enslave(l *link) error {
	port := &nic{link: l}
	switch {
	case l.master == n.index:
		return nil
	case l.master != 0:
		return port.fail(nil, "it is part of another bond or bridge, and not of %s", n.name)
	}
	if l.up() { // the driver takes a NIC that is down only
		have, err := listAddresses(l.index)
		if err != nil {
			return port.fail(err, "its addresses cannot be read")
		}
		if len(have) > 0 {
			return port.fail(nil, "it has the address %s already, and does not go into %s", have[0], n.name)
		}
		if err := setUp(l.index, false); err != nil {
			return port.fail(err, "cannot be taken down to go into %s", n.name)
		}
		n.onLinkFailure(func() error { return setUp(l.index, true) })
	}
	if err := setMaster(l.index, n.index); err != nil {
		return port.fail(err, "cannot go into %s; check the kernel log", n.name)
	}
	n.onLinkFailure(func() error { return setMaster(l.index, 0) })
	return nil
}

// rank orders options: the mode comes first, and what watches the links second,
// as others hang on them. Negative: it is no bond's.
func (o Option) rank() int {
	switch o.Name {
	case "mode":
		return 0
	case "miimon", "arp_interval":
		return 1
	case "max_bonds": // the module's
		return -1
	}
	return 2
}

// watched returns options by which the links are watched: without that a dead
// one would never be left.
func watched(options []Option) []Option {
	for _, o := range options {
		if o.rank() == 1 {
			return options
		}
	}
	return append([]Option{{"miimon", "100"}}, options...) // ms
}

// setOptions writes the options of a bond without ports.
func (h host) setOptions(n *nic, options []Option) error {
	for now := range 3 {
		for _, o := range options {
			if o.rank() != now {
				continue
			}
			if err := h.setOption(n.name, o); err != nil {
				return n.fail(err, "cannot have %s=%s; check bond= and the kernel log", o.Name, o.Value)
			}
		}
	}
	return nil
}

// setOption writes one option; of a list of addresses each is added.
func (h host) setOption(bond string, o Option) error {
	if strings.ContainsAny(o.Name, "/.") {
		return os.ErrInvalid
	}
	values := []string{o.Value}
	if o.Name == "arp_ip_target" || o.Name == "ns_ip6_target" {
		values = strings.Split("+"+strings.ReplaceAll(o.Value, ";", ";+"), ";")
	}
	for _, v := range values {
		if err := os.WriteFile(path.Join(h.sysfs, "class/net", bond, "bonding", o.Name), []byte(v), 0); err != nil {
			return err
		}
	}
	return nil
}
