package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// find waits until the NIC that cfg means is there.
func (h host) find(ctx context.Context, cfg Config, p Progress) (link, error) {
	who := cfg.who()
	var found *link
	var present []link
	start := time.Now()
	err := await(ctx, p, who, cfg.LinkTimeout, func() (bool, error) {
		var err error
		if present, err = listLinks(); err != nil {
			return false, err
		}
		found, err = h.choose(cfg, present)
		return found != nil, err
	})
	var refused *Error
	switch {
	case err == nil:
		return *found, nil
	case errors.As(err, &refused):
		return link{}, err
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return link{}, &Error{who, fmt.Sprintf("did not appear within %s; present: %s", seconds(cfg.LinkTimeout), h.describe(present)), err}
	case ctx.Err() != nil:
		return link{}, &Error{who, fmt.Sprintf("not there after %s; present: %s", seconds(time.Since(start)), h.describe(present)), err}
	default:
		return link{}, &Error{who, "cannot be looked for", err}
	}
}

// who names the NIC that cfg means.
func (cfg Config) who() string {
	switch {
	case cfg.Name != "":
		return "NIC " + cfg.Name
	case cfg.MAC != nil:
		return "NIC with MAC " + cfg.MAC.String()
	}
	return "the only NIC"
}

// choose picks the NIC that cfg means, or returns nil when it is not there. A
// name may be that of any interface; a MAC only finds hardware, as a VLAN, a
// bond and a bridge share theirs with a NIC.
func (h host) choose(cfg Config, links []link) (*link, error) {
	var fit []link
	for _, l := range links {
		switch {
		case cfg.Name != "":
			if l.name == cfg.Name {
				return &l, nil
			}
		case !h.physical(l) || l.master != 0:
			// A slave's addresses are its master's. This also picks the one
			// of two that Hyper-V's netvsc or virtio's net_failover pair up.
		case cfg.MAC == nil || bytes.Equal(l.mac, cfg.MAC) || bytes.Equal(l.permanent, cfg.MAC):
			fit = append(fit, l)
		}
	}
	switch {
	case len(fit) == 0:
		return nil, nil
	case len(fit) == 1:
		return &fit[0], nil
	case cfg.MAC != nil:
		return nil, &Error{"NIC with MAC " + cfg.MAC.String(),
			"there is more than one: " + h.describe(fit) + "; name the one to use with ip=<interface>:…", nil}
	default:
		return nil, &Error{"the only NIC",
			"there is more than one: " + h.describe(fit) + "; name the one to use with ip=<interface>:… or in the iBFT", nil}
	}
}

// physical says whether the interface is a wired Ethernet NIC: hardware, and
// not Wi-Fi.
func (h host) physical(l link) bool {
	if !l.ethernet {
		return false
	}
	class := filepath.Join(h.sysfs, "class/net", l.name)
	if _, err := os.Stat(filepath.Join(class, "device")); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(class, "phy80211"))
	return err != nil
}

// driver returns the name of the driver of an interface, or "".
func (h host) driver(name string) string {
	to, err := os.Readlink(filepath.Join(h.sysfs, "class/net", name, "device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// describe lists NICs for a person.
func (h host) describe(links []link) string {
	var list []string
	for _, l := range links {
		if !l.ethernet {
			continue
		}
		s := l.name + " " + l.mac.String()
		if d := h.driver(l.name); d != "" {
			s += " (" + d + ")"
		}
		for _, m := range links {
			if l.master != 0 && m.index == l.master {
				s += ", part of " + m.name
			}
		}
		list = append(list, s)
	}
	if list == nil {
		return "none; check that the initramfs has the driver of the NIC"
	}
	return strings.Join(list, "; ")
}

// configured says whether the NIC is up and has what cfg asks for already.
func (n *nic) configured(cfg Config) (bool, error) {
	if !n.up() {
		return false, nil
	}
	have, err := listAddresses(n.index)
	if err != nil {
		return false, n.fail(err, "its addresses cannot be read")
	}
	if cfg.DHCP {
		for _, p := range have {
			if p.Addr().Is4() {
				n.addresses = append(n.addresses, p)
			}
		}
		return n.addresses != nil, nil
	}
	for _, p := range cfg.Address {
		if !slices.Contains(have, p) {
			return false, nil
		}
	}
	return len(cfg.Address) > 0, nil
}

// raise sets the MTU unless it is 0, and then the link up: some drivers take
// the link down to change the MTU.
func (n *nic) raise(mtu int) error {
	if err := n.setMTU(mtu); err != nil {
		return n.fail(err, "cannot have MTU %d; check the MTU in ip= and what the NIC can do", mtu)
	}
	if n.up() {
		return nil
	}
	n.onFailure(func() error { return setUp(n.index, false) })
	var err error
	if n.link, err = getLink(n.index); err != nil {
		return n.fail(err, "cannot be looked at")
	}
	if err := setUp(n.index, true); err != nil {
		return n.fail(err, "cannot be brought up; check the kernel log, and that the initramfs has the firmware of the NIC")
	}
	return nil
}

// leasedMTU sets the MTU that DHCP gave; 0 is none. A NIC that cannot have it
// keeps its own, and so it does for 576 and less, which servers give that mean
// the least datagram that every host must take (RFC 2132, 5.1 and RFC 791, 3.1).
func (n *nic) leasedMTU(ctx context.Context, mtu int, limit time.Duration) error {
	if mtu == 0 || mtu == n.mtu {
		return nil
	}
	if mtu <= 576 {
		n.p.Printf("%s keeps MTU %d: the %d that DHCP says is too small to be meant", n.name, n.mtu, mtu)
		return nil
	}
	if err := n.setMTU(mtu); err != nil {
		n.p.Printf("%s keeps MTU %d: it cannot have the %d that DHCP says: %v", n.name, n.mtu, mtu, err)
		return nil
	}
	return n.awaitCarrier(ctx, limit)
}

func (n *nic) setMTU(mtu int) error {
	if mtu == 0 || mtu == n.mtu {
		return nil
	}
	before := n.mtu
	if err := setMTU(n.index, mtu); err != nil {
		return err
	}
	n.onFailure(func() error { return setMTU(n.index, before) })
	n.mtu = mtu
	return nil
}

// awaitCarrier waits until the link can carry packets.
func (n *nic) awaitCarrier(ctx context.Context, limit time.Duration) error {
	start := time.Now()
	err := await(ctx, n.p, "link on "+n.name, limit, func() (bool, error) {
		l, err := getLink(n.index)
		if err != nil {
			return false, err
		}
		return l.running() || n.ready(l), nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return n.fail(err, "no link within %s; check the cable and the switch port", seconds(limit))
	case ctx.Err() != nil:
		return n.fail(err, "no link after %s; check the cable and the switch port", seconds(time.Since(start)))
	case errors.Is(err, unix.ENODEV):
		return n.fail(err, "the NIC went away while its link was awaited")
	default:
		return n.fail(err, "its link cannot be awaited")
	}
}

// ready says whether now, a link that is up, can be used though it does not
// count as running yet: it had its carrier before it was set up, as virtio's
// may, so the kernel started the queue as it set it up. It takes notice of such
// a carrier as much as a second later (linkwatch_urgent_event).
func (l link) ready(now link) bool {
	return l.carrier && now.carrier && l.changes == now.changes
}

// seconds writes a duration as the console does.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
}
