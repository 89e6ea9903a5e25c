package handoff

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// profile is the keyfile of a connection (nm-settings-keyfile(5)) that
// describes the interface as it stands. With the state in device
// NetworkManager takes the interface over without a change.
func (n *Interface) profile(all []Interface) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	kind := n.Kind
	if kind == "" {
		kind = "ethernet"
	}
	line("[connection]\nid=rootlun-%s\nuuid=%s\ntype=%s", n.Name, n.uuid(), kind)
	line("autoconnect-priority=999\nautoconnect-retries=0") // before all others; for ever
	if n.Kind != "" {
		line("interface-name=%s", n.Name)
	}
	for _, o := range all {
		if n.Master != "" && n.Master == o.Name {
			line("master=%s\nslave-type=bond", o.uuid())
		}
	}
	mac := n.MAC
	if n.Permanent != "" {
		mac = n.Permanent
	}
	if n.Kind == "" {
		line("\n[ethernet]\nmac-address=%s\ncloned-mac-address=preserve", strings.ToUpper(mac))
		if n.MTU != 0 {
			line("mtu=%d", n.MTU)
		}
	}
	if n.Kind == "vlan" {
		line("\n[vlan]\nflags=1\nid=%d", n.VLAN)
		for _, o := range all {
			if o.Name == n.Link {
				line("parent=%s", o.uuid())
			}
		}
	}
	if n.Kind == "bond" {
		line("\n[bond]")
		for _, o := range n.Options {
			if o.Name != "max_bonds" { // the module's, not the bond's
				line("%s=%s", word(o.Name), strings.ReplaceAll(word(o.Value), ";", ","))
			}
		}
	}
	if n.Master != "" {
		return b.String()
	}
	n.ip(line, "ipv4", n.DHCP, netip.Addr.Is4)
	n.ip(line, "ipv6", n.DHCP6 || n.RA, netip.Addr.Is6)
	return b.String()
}

// ip writes the section of one IP version.
func (n *Interface) ip(line func(string, ...any), section string, auto bool, is func(netip.Addr) bool) {
	line("\n[%s]", section)
	number := 0
	for _, p := range n.static() {
		if is(p.Addr()) {
			number++
			line("address%d=%s", number, p)
		}
	}
	switch {
	case auto:
		line("method=auto\nmay-fail=false")
		if n.NoPeerDNS {
			line("ignore-auto-dns=true")
		}
		if section == "ipv4" { // the identifier that the boot asked with, so that the address stays
			line("dhcp-client-id=01:%s", n.MAC)
			break
		}
		line("addr-gen-mode=eui64") // as the kernel does
		if len(n.DUID) > 0 {
			line("dhcp-duid=%s\ndhcp-iaid=%d", net.HardwareAddr(n.DUID), n.IAID)
		}
	case number > 0:
		line("method=manual")
		for _, gw := range n.Gateway {
			if is(gw) {
				line("gateway=%s", gw)
			}
		}
	case section == "ipv4":
		line("method=disabled")
	case !n.leads():
		line("method=disabled")
	default: // what the link has of IPv6 may be had, and is not waited for
		line("method=auto\nmay-fail=true")
	}
	number = 0
	for _, r := range n.Routes {
		if is(r.Destination.Addr()) {
			number++
			if r.Gateway.IsValid() {
				line("route%d=%s,%s", number, r.Destination, r.Gateway)
			} else {
				line("route%d=%s", number, r.Destination)
			}
		}
	}
	var dns []string
	for _, a := range n.DNS {
		if is(a) {
			dns = append(dns, a.String()+";")
		}
	}
	if dns != nil {
		line("dns=%s", strings.Join(dns, ""))
	}
	if d := n.domains(";"); d != "" && dns != nil {
		line("dns-search=%s;", d)
	}
}

// device is NetworkManager's own note of an interface that it managed before a
// restart.
func (n *Interface) device() string {
	return fmt.Sprintf("[device]\nmanaged=true\nconnection-uuid=%s\n", n.uuid())
}

// uuid names the connection; it is the same at each boot.
func (n *Interface) uuid() string {
	variant := 0x8000 | int(n.VLAN)
	if n.Kind == "bond" {
		variant = 0x9000
	}
	mac := n.MAC
	if n.Master != "" && n.Permanent != "" {
		mac = n.Permanent
	}
	return fmt.Sprintf("726f6f74-6c75-4e00-%04x-%s", variant, strings.ReplaceAll(mac, ":", ""))
}
