package fw

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The words of dracut.cmdline(7) for what is built upon NICs, and for routes
// and name servers.

// setVLAN reads vlan=NAME:LINK. The name ends in the VLAN's number, in decimal:
// vlan5, vlan0005, eth0.5, eth0.0005.
func setVLAN(c *command, w word) error {
	name, link, _ := strings.Cut(w.value, ":")
	if checkInterface(name) != nil || checkInterface(link) != nil {
		return errors.New("that is not NAME:INTERFACE")
	}
	digits := name[len(strings.TrimRight(name, "0123456789")):]
	if digits == "" {
		return errors.New("the VLAN's number is missing: the name ends in it")
	}
	id, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || id < 1 || id > 4094 { // IEEE 802.1Q, 9.6
		return errors.New("the VLAN's number at the end of the name is not from 1 to 4094")
	}
	for i := range c.vlans {
		if c.vlans[i].Name == name {
			return errors.New("there are two VLANs of this name")
		}
	}
	c.vlans = append(c.vlans, VLAN{name, uint16(id), link, "vlan="})
	return nil
}

// setBond reads bond=[NAME[:LINKS[:OPTIONS[:MTU]]]]. The manual has one ':' more
// in front of OPTIONS; dracut's parser and everybody's machines do without.
// Between the values of one option, as of arp_ip_target, stands a ';'.
func setBond(c *command, w word) (err error) {
	b := Bond{From: "bond="}
	value := w.value
	if value == "" {
		value = "::mode=balance-rr"
	}
	f := append(strings.Split(value, ":"), "", "", "")
	if n := len(f) - 3; n > 3 && f[2] == "" && (f[3] == "" || strings.Contains(f[3], "=")) {
		f = append(f[:2], f[3:]...)
	}
	if strings.Join(f[4:], "") != "" {
		return errors.New("there are more than four fields")
	}
	b.Name = first(f[0], "bond0")
	b.Links = strings.Split(first(f[1], "eth0,eth1"), ",")
	err = checkInterface(b.Name)
	for _, name := range b.Links {
		if err == nil {
			err = checkInterface(name)
		}
	}
	if err != nil {
		return err
	}
	if f[2] != "" {
		for _, option := range strings.Split(f[2], ",") {
			name, value, _ := strings.Cut(option, "=")
			if name == "" || value == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				return errors.New("an option of the bond is not NAME=VALUE")
			}
			b.Options = append(b.Options, Param{name, strings.ReplaceAll(value, ";", ",")})
		}
	}
	if f[3] != "" {
		if b.MTU, err = parseMTU(f[3]); err != nil {
			return err
		}
	}
	for i := range c.bonds {
		if c.bonds[i].Name == b.Name {
			return errors.New("there are two bonds of this name")
		}
	}
	c.bonds = append(c.bonds, b)
	return nil
}

// parseMTU reads an MTU. Every IPv4 link carries 68 bytes (RFC 791).
func parseMTU(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 68 {
		return 0, errors.New("that is no MTU from 68 to 65535")
	}
	return int(n), nil
}

func setTeam(*command, word) error {
	return errors.New("a team is not supported; a bond is")
}

func setBridge(*command, word) error {
	return errors.New("a bridge is not supported: the root's NIC can't be put under one while the root is in use")
}

// setRoute reads rd.route=NET/NETMASK:[GATEWAY][:INTERFACE], IPv6 in brackets.
func setRoute(c *command, w word) error {
	f, err := ipFields(w.value)
	if err != nil {
		return err
	}
	if len(f) < 2 || len(f) > 3 {
		return errors.New("that is not NET/NETMASK:GATEWAY[:INTERFACE]")
	}
	r := Route{From: "rd.route="}
	net, mask, slash := strings.Cut(f[0], "/")
	addr, err := netip.ParseAddr(net)
	if err != nil || addr.Zone() != "" {
		return errors.New("the net is no address; an IPv6 address stands in [brackets]")
	}
	bits := addr.BitLen()
	if slash {
		if bits, err = parseMask(mask); err != nil || bits > addr.BitLen() || addr.Is6() && strings.Contains(mask, ".") {
			return errors.New("the netmask is neither a dotted mask nor the length of a prefix")
		}
	}
	r.Destination = netip.PrefixFrom(addr, bits).Masked()
	if f[1] != "" {
		gw, err := netip.ParseAddr(f[1])
		if err != nil || !present(gw).IsValid() {
			return errors.New("the gateway is no address")
		}
		if gw.Is4() != addr.Is4() {
			return errors.New("the gateway is of the other IP version than the net")
		}
		r.Gateway = gw
	}
	if len(f) == 3 && f[2] != "" {
		if err := checkInterface(f[2]); err != nil {
			return err
		}
		r.Interface = f[2]
	}
	if !r.Gateway.IsValid() && r.Interface == "" {
		return errors.New("the gateway and the interface are missing; one of them says where to")
	}
	c.routes = append(c.routes, r)
	return nil
}

// setNameserver reads nameserver=ADDRESS, IPv6 with or without brackets, and
// nm-initrd-generator's rd.net.dns=, which may also name another protocol.
func setNameserver(c *command, w word) error {
	if strings.Contains(w.value, "://") && w.name != "nameserver" {
		c.warn(c.place, ": ", quote(w.name+"="+w.value), ": passed over: name servers are asked by plain DNS alone")
		return nil
	}
	s := w.value
	if v6, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(v6, "]")
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !present(addr).IsValid() {
		return errors.New("that is no address")
	}
	c.dns = append(c.dns, present(addr))
	return nil
}

func setPeerDNS(c *command, w word) error {
	v, err := boolean(w)
	c.noPeerDNS = v == off
	return err
}

// setVendorClass reads DHCP's option 60, which holds up to 255 bytes.
func setVendorClass(c *command, w word) error {
	if w.value == "" || len(w.value) > 255 {
		return errors.New("that is not 1 to 255 bytes")
	}
	c.vendorClass = w.value
	return nil
}

// setTries reads rd.net.dhcp.retry.
func setTries(c *command, w word) error {
	n, err := strconv.ParseUint(w.value, 10, 16)
	if err != nil || n == 0 {
		return errors.New("that is not a number from 1 to 65535")
	}
	c.timeouts.Tries = int(n)
	return nil
}
