package handoff

import (
	"fmt"
	"net"
	"strings"
)

// network is the systemd.network(5) file of the interface. Its name sorts
// before those of the distribution, so that networkd takes it and not another
// that would ask for a new address and drop the old one.
func (n *Interface) network(all []Interface) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	b.WriteString(n.match())
	if n.MTU != 0 || !n.leads() {
		line("\n[Link]")
	}
	if n.MTU != 0 {
		line("MTUBytes=%d", n.MTU)
	}
	if !n.leads() { // it never has an address, which network-online.target would wait for
		line("RequiredForOnline=no")
	}
	line("\n[Network]")
	line("Description=leads to the root file system (rootlun)")
	line("KeepConfiguration=yes")
	line("IgnoreCarrierLoss=yes")
	for _, name := range n.above(all, "vlan") {
		line("VLAN=%s", name)
	}
	for _, name := range n.above(all, "bond") {
		// From version 250 on KeepMaster leaves the port where it is and Bond is
		// passed over; with Bond alone networkd 252 takes all ports down and up.
		line("KeepMaster=yes\nBond=%s", name)
	}
	if !n.leads() {
		line("LinkLocalAddressing=no")
		line("IPv6AcceptRA=no")
		return b.String()
	}
	switch {
	case n.DHCP && n.DHCP6:
		line("DHCP=yes")
	case n.DHCP:
		line("DHCP=ipv4")
	case n.DHCP6:
		line("DHCP=ipv6")
	}
	for _, a := range n.DNS {
		line("DNS=%s", a)
	}
	if d := n.domains(" "); d != "" {
		line("Domains=%s", d)
	}
	if n.NoPeerDNS {
		line("\n[DHCPv4]\nUseDNS=no\n\n[DHCPv6]\nUseDNS=no\n\n[IPv6AcceptRA]\nUseDNS=no")
	}
	if n.DHCP { // the identifier that the boot asked with, so that the address stays
		line("\n[DHCPv4]\nClientIdentifier=mac\nSendRelease=no")
	}
	if len(n.DUID) > 2 && n.DUID[0] == 0 && int(n.DUID[1]) < len(duidTypes) { // the same
		line("\n[DHCPv6]\nDUIDType=%s\nDUIDRawData=%s\nIAID=%d\nWithoutRA=solicit", duidTypes[n.DUID[1]], net.HardwareAddr(n.DUID[2:]), n.IAID)
	}
	for _, p := range n.static() {
		line("\n[Address]\nAddress=%s", p)
	}
	for _, gw := range n.Gateway {
		if gw.Is4() && n.DHCP || gw.Is6() && n.RA {
			continue
		}
		line("\n[Route]\nGateway=%s\nGatewayOnLink=yes", gw)
	}
	for _, r := range n.Routes {
		line("\n[Route]\nDestination=%s", r.Destination)
		if r.Gateway.IsValid() {
			line("Gateway=%s\nGatewayOnLink=yes", r.Gateway)
		} else {
			line("Scope=link")
		}
	}
	return b.String()
}

// duidTypes are networkd's names of the DUIDs' types (RFC 8415, 11; RFC 6355).
var duidTypes = [...]string{1: "link-layer-time", 2: "vendor", 3: "link-layer", 4: "uuid"}

// match is the section that finds the interface.
func (n *Interface) match() string {
	switch {
	case n.Kind != "":
		return "[Match]\nName=" + n.Name + "\n"
	case n.Master != "" && n.Permanent != "": // the bond's NICs share the other
		return "[Match]\nPermanentMACAddress=" + n.Permanent + "\nType=ether\n"
	}
	return "[Match]\nMACAddress=" + n.MAC + "\nType=ether\n" // not a VLAN on it, which has its MAC
}

// linkFile is a systemd.link(5) file that has udev leave the NIC's name alone: a
// link that is up cannot be renamed by kernels before 6.2, and networkd 252 then waits for the
// new name for ever. The usual names become alternative ones. A file of the
// administrator's sorts before it.
func (n *Interface) linkFile() string {
	return n.match() + "\n[Link]\nNamePolicy=keep\nAlternativeNamesPolicy=database onboard slot path mac\nMACAddressPolicy=none\n"
}

// netdev is the systemd.netdev(5) file of a VLAN or a bond. networkd leaves one
// that is there as it is.
func (n *Interface) netdev() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[NetDev]\nName=%s\nKind=%s\n", n.Name, n.Kind)
	if n.Kind == "vlan" {
		fmt.Fprintf(&b, "\n[VLAN]\nId=%d\n", n.VLAN)
		return b.String()
	}
	fmt.Fprintf(&b, "MACAddress=%s\n\n[Bond]\n", n.MAC)
	for _, o := range n.Options {
		if format, ok := bondOptions[o.Name]; ok {
			fmt.Fprintf(&b, format+"\n", word(o.Value))
		}
	}
	return b.String()
}

// bondOptions are networkd's spellings of the bonding driver's options.
var bondOptions = map[string]string{
	"mode": "Mode=%s", "miimon": "MIIMonitorSec=%sms", "updelay": "UpDelaySec=%sms", "downdelay": "DownDelaySec=%sms",
	"lacp_rate": "LACPTransmitRate=%s", "xmit_hash_policy": "TransmitHashPolicy=%s", "fail_over_mac": "FailOverMACPolicy=%s",
	"min_links": "MinLinks=%s", "ad_select": "AdSelect=%s",
}

// word returns text from outside with nothing in it that could start another
// line or setting.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '%' || r == '\\' || r == '"' || r == '\'' {
			return -1
		}
		return r
	}, s)
}
