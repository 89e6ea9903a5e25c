package ibft

import (
	"errors"
	"fmt"
	"net/netip"
)

// defaultPort is iSCSI's (RFC 7143, 14).
const defaultPort = 3260

// VLANID returns the VLAN to tag with, 0 for none. Firmware leaves the priority
// in bits 13 to 15, and writes 0xffff for none; 4095 is no VLAN (IEEE 802.1Q).
// 1 is one.
func (n *NIC) VLANID() uint16 {
	id := n.VLAN & 0x0fff
	if id == 0x0fff {
		return 0
	}
	return id
}

// PCIAddress returns the NIC's PCI address as sysfs spells it, "0000:bb:dd.f",
// or "" when the table leaves it out: at 0 sits no NIC. The table does not
// name the domain; this takes it to be 0.
func (n *NIC) PCIAddress() string {
	if n.PCI == 0 {
		return ""
	}
	return fmt.Sprintf("0000:%02x:%02x.%x", n.PCI>>8, n.PCI>>3&0x1f, n.PCI&7)
}

// UseDHCP reports whether to ask DHCP for the address: the table says it came
// from there, or has none that can be used. An IP beside it is the lease that
// firmware had.
func (n *NIC) UseDHCP() bool {
	return n.Origin == OriginDHCP || n.DHCP.IsValid() || !n.IP.IsValid() || n.PrefixLen == 0
}

// Portal returns where to connect; the port is 3260 when the table leaves it
// out. It is not valid when the table has no address.
func (g *Target) Portal() netip.AddrPort {
	if g.Port == 0 {
		return netip.AddrPortFrom(g.IP, defaultPort)
	}
	return netip.AddrPortFrom(g.IP, g.Port)
}

// Auth returns the authentication that the login must use. The type decides,
// not the strings: with CHAPNone they are not used. It fails when the type is
// unknown or asks for a string that the table does not give, so that a login
// is never weaker than firmware says. A mutual login needs no reverse name; the
// target then proves itself by the secret alone.
func (g *Target) Auth() (CHAPType, error) {
	switch {
	case g.CHAPType > CHAPMutual:
		return 0, fmt.Errorf("CHAP type: expected 0 to 2, found %d", g.CHAPType)
	case g.CHAPType == CHAPNone:
		return CHAPNone, nil
	case g.CHAPName == "":
		return 0, errors.New("the CHAP type asks for a CHAP name; the table has none")
	case g.CHAPSecret == "":
		return 0, errors.New("the CHAP type asks for a CHAP secret; the table has none")
	case g.CHAPType == CHAPMutual && g.ReverseCHAPSecret == "":
		return 0, errors.New("the CHAP type asks for a reverse CHAP secret; the table has none")
	}
	return g.CHAPType, nil
}

// NICOf returns the position in t.NICs of the NIC that leads to g, or -1: the
// one whose index g names, else the one whose subnet holds g, else the only
// one. Where several have that index, the subnet decides among them.
func (t *Table) NICOf(g *Target) int {
	var named, all []int
	for i, n := range t.NICs {
		all = append(all, i)
		if n.Index == g.NIC {
			named = append(named, i)
		}
	}
	among := named
	if len(named) == 0 {
		among = all
	}
	for _, i := range among {
		n := &t.NICs[i]
		if n.PrefixLen > 0 && netip.PrefixFrom(n.IP, n.PrefixLen).Contains(g.IP) {
			return i
		}
	}
	if len(named) > 0 || len(all) == 1 {
		return among[0]
	}
	return -1
}
