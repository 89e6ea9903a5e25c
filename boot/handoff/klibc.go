package handoff

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// klibc is what klibc's ipconfig leaves of an interface, and what
// initramfs-tools, open-iscsi's scripts, resolvconf and cloud-init read. They
// source it as shell.
func (n *Interface) klibc() string {
	var b shellFile
	proto := "none" // as klibc's; cloud-init knows no static
	if n.DHCP {
		proto = "dhcp"
	}
	var address, gateway netip.Addr
	var mask, broadcast [4]byte
	for _, p := range n.Address {
		if p.Addr().Is4() {
			address = p.Addr()
			copy(mask[:], net.CIDRMask(p.Bits(), 32))
			for i, x := range address.As4() {
				broadcast[i] = x | ^mask[i]
			}
			break
		}
	}
	for _, gw := range n.Gateway {
		if gw.Is4() {
			gateway = gw
		}
	}
	b.set("DEVICE", n.Name)
	b.set("PROTO", proto)
	b.set("IPV4ADDR", dotted(address))
	b.set("IPV4BROADCAST", netip.AddrFrom4(broadcast).String())
	b.set("IPV4NETMASK", netip.AddrFrom4(mask).String())
	b.set("IPV4GATEWAY", dotted(gateway))
	servers := n.servers(netip.Addr.Is4)
	for i := range 2 {
		var server netip.Addr
		if i < len(servers) {
			server = servers[i]
		}
		b.set(fmt.Sprint("IPV4DNS", i), dotted(server))
	}
	b.set("HOSTNAME", n.Hostname)
	b.set("DNSDOMAIN", n.domains(" "))
	b.set("NISDOMAIN", "")
	b.set("ROOTSERVER", dotted(n.Server))
	b.set("ROOTPATH", "") // may hold a secret, and this file is for everybody
	b.set("filename", "")
	b.set("DHCPLEASETIME", fmt.Sprint(n.Lease))
	b.set("DOMAINSEARCH", n.domains(" "))
	return b.String()
}

// klibc6 is the same for IPv6, as initramfs-tools has it.
func (n *Interface) klibc6() string {
	var b shellFile
	proto := "none"
	if n.DHCP6 {
		proto = "dhcp6"
	}
	b.set("DEVICE6", n.Name)
	b.set("IPV6PROTO", proto)
	for _, p := range n.Address {
		if p.Addr().Is6() && !p.Addr().IsLinkLocalUnicast() {
			b.set("IPV6ADDR", p.Addr().String())
			b.set("IPV6NETMASK", fmt.Sprint(p.Bits()))
			break
		}
	}
	for _, gw := range n.Gateway {
		if gw.Is6() {
			b.set("IPV6GATEWAY", gw.WithZone("").String())
		}
	}
	for i, a := range n.servers(netip.Addr.Is6) {
		b.set(fmt.Sprint("IPV6DNS", i), a.String())
	}
	b.set("HOSTNAME", n.Hostname)
	b.set("IPV6DOMAINSEARCH", n.domains(" "))
	return b.String()
}

func (n *Interface) servers(is func(netip.Addr) bool) (list []netip.Addr) {
	for _, a := range n.DNS {
		if is(a) {
			list = append(list, a)
		}
	}
	return list
}

// dotted is how klibc writes an IPv4 address that may be missing.
func dotted(a netip.Addr) string {
	if !a.Is4() {
		return "0.0.0.0"
	}
	return a.String()
}

// shellFile is a file of shell assignments.
type shellFile struct{ strings.Builder }

// set assigns a value in single quotes, in which the shell expands nothing.
func (f *shellFile) set(name, value string) {
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, value)
	fmt.Fprintf(f, "%s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
}
