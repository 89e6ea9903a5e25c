package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

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

// raise sets the MAC and the MTU, unless they are nil and 0, and then the link
// up: some drivers take the link down to change the MTU.
func (n *nic) raise(mac net.HardwareAddr, mtu int) error {
	if err := n.setMAC(mac); err != nil {
		return n.fail(err, "cannot have MAC %s; check the MAC in ip=", mac)
	}
	if err := n.setMTU(mtu); err != nil {
		return n.fail(err, "cannot have MTU %d; check the MTU in ip= and what the NIC can do", mtu)
	}
	if n.up() {
		return nil
	}
	index := n.index
	n.onLinkFailure(func() error { return setUp(index, false) })
	if err := n.look(); err != nil {
		return err
	}
	if err := setUp(n.index, true); err != nil {
		return n.fail(err, "cannot be brought up; check the kernel log, and that the initramfs has the firmware of the NIC")
	}
	return nil
}

// look takes notice of what the link is now.
func (n *nic) look() error {
	l, err := getLink(n.index)
	if err != nil {
		return n.fail(err, "cannot be looked at")
	}
	n.link = l
	return nil
}

func (n *nic) setMAC(mac net.HardwareAddr) error {
	if mac == nil || bytes.Equal(mac, n.mac) {
		return nil
	}
	before := n.mac
	if err := setMAC(n.index, mac); err != nil {
		return err
	}
	n.onLinkFailure(func() error { return setMAC(n.index, before) })
	n.mac = mac
	return nil
}

// leasedMTU sets the MTU that DHCP gave; 0 is none. A NIC that cannot have it
// keeps its own, and so it does for 576 and less, which servers give that mean
// the least datagram that every host must take (RFC 2132, 5.1 and RFC 791, 3.1),
// and where it needs IPv6 for what the kernel does not do that with (RFC 8200, 5).
func (n *nic) leasedMTU(ctx context.Context, mtu int, cfg *Config) error {
	if mtu == 0 || mtu == n.mtu {
		return nil
	}
	if mtu <= 576 || mtu < 1280 && cfg.uses6(n) {
		n.p.Printf("%s keeps MTU %d: the %d that DHCP says is too small to be meant", n.name, n.mtu, mtu)
		return nil
	}
	if err := n.setMTU(mtu); err != nil {
		n.p.Printf("%s keeps MTU %d: it cannot have the %d that DHCP says: %v", n.name, n.mtu, mtu, err)
		return nil
	}
	return n.awaitCarrier(ctx, cfg)
}

func (n *nic) setMTU(mtu int) error {
	if mtu == 0 || mtu == n.mtu {
		return nil
	}
	if n.lower != nil && mtu > n.lower.mtu { // a VLAN's is at most that of its link
		if err := n.lower.setMTU(mtu); err != nil {
			return err
		}
	}
	before := n.mtu
	if err := setMTU(n.index, mtu); err != nil {
		return err
	}
	n.onLinkFailure(func() error { return setMTU(n.index, before) })
	n.mtu = mtu
	return nil
}

// awaitCarrier waits until the link can carry packets.
func (n *nic) awaitCarrier(ctx context.Context, cfg *Config) error {
	start, limit := time.Now(), orMinute(ctx, cfg.LinkTimeout)
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
func (l *link) ready(now *link) bool {
	return l.carrier && now.carrier && l.changes == now.changes
}

// seconds writes a duration as the console does.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
}
