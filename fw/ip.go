package fw

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// setIP reads ip= (dracut.cmdline(7); the kernel's nfsroot.rst), in three forms:
//
//	ip=AUTOCONF
//	ip=INTERFACE:AUTOCONF[:[MTU][:MAC]]
//	ip=ADDRESS:[PEER]:GATEWAY:NETMASK:HOSTNAME:INTERFACE:AUTOCONF[:[MTU][:MAC]] or [:[DNS1][:DNS2]]
//
// INTERFACE may be a MAC: the NIC is found by it and not renamed. The MAC at
// the end is the one to give to the NIC.
func setIP(c *command, w word) error {
	f, err := ipFields(w.value)
	if err != nil {
		return err
	}
	nic := NIC{Index: -1, From: "ip="}
	var rest []string
	_, err = netip.ParseAddr(f[0])
	positional := err == nil || len(f) > 4
	switch {
	case len(f) == 1 && !positional:
		err = c.autoconf(&nic, f[0])
	case !positional:
		if err = nic.setDevice(f[0]); err == nil {
			err = c.autoconf(&nic, f[1])
		}
		rest = f[2:]
	default:
		f = append(f, make([]string, max(0, 7-len(f)))...)
		err = c.explicit(&nic, f)
		rest = f[7:]
	}
	if err != nil {
		return err
	}
	if err := nic.setRest(rest); err != nil {
		return err
	}
	c.ipGiven = true
	if nic.SetMAC != "" {
		c.warn(cmdlinePlace, ": ip=: to change a NIC's MAC to ", nic.SetMAC, " is not supported yet; it keeps its own")
	}
	if nic.Origin == "" { // none, off or ibft, without an address
		return nil
	}
	c.addNIC(nic)
	return nil
}

// explicit reads the seven fields that start with an address.
func (c *command) explicit(nic *NIC, f []string) error {
	if f[0] != "" {
		p, err := parsePrefix(f[0], f[3])
		if err != nil {
			return err
		}
		nic.Address = []netip.Prefix{p}
		nic.Origin = "static"
	}
	if f[1] != "" {
		c.warn(cmdlinePlace, ": ip=: the peer or server ", quote(f[1]), " is passed over")
	}
	if f[2] != "" {
		gw, err := netip.ParseAddr(f[2])
		if err != nil {
			return errors.New("the gateway is no address")
		}
		if f[0] != "" && gw.Is4() != nic.Address[0].Addr().Is4() {
			return errors.New("the gateway is of the other IP version than the address")
		}
		nic.Gateway = present(gw)
	}
	if f[4] != "" {
		if err := checkHostname(f[4]); err != nil {
			return err
		}
		nic.Hostname = f[4]
	}
	if f[5] != "" {
		if err := nic.setDevice(f[5]); err != nil {
			return err
		}
	}
	if f[6] == "" && slices.Contains([]string{"none", "off", "static", "dhcp", "on", "any"}, f[5]) {
		return errors.New("the word " + f[5] + " stands where the interface should: one colon is missing")
	}
	if f[6] == "" && f[0] == "" {
		f[6] = "dhcp" // as the kernel has it
	}
	return c.autoconf(nic, f[6])
}

// autoconf reads the word that says how addresses are come by.
func (c *command) autoconf(nic *NIC, how string) error {
	switch how {
	case "dhcp", "on", "any", "single-dhcp":
		nic.DHCP = true
		nic.Origin = "dhcp"
	case "", "none", "off", "static":
		if how != "none" && how != "off" && nic.Address == nil {
			return errors.New("an address is missing, or the word dhcp")
		}
	case "ibft":
		c.fromFW = true
	case "dhcp6", "auto6", "either6", "link6":
		return fmt.Errorf("%s is not supported yet; a fixed address is: ip=[2001:db8::2]::[2001:db8::1]:64::eth0:none", how)
	case "bootp", "rarp", "both", "all":
		return fmt.Errorf("%s is not supported; dhcp is", how)
	default:
		return errors.New("neither an address nor one of dhcp, on, any, none, off, static, ibft stands where it should")
	}
	return nil
}

// setRest reads what may follow AUTOCONF: name servers, or an MTU and a MAC.
func (nic *NIC) setRest(f []string) error {
	if len(f) == 0 {
		return nil
	}
	if _, err := netip.ParseAddr(f[0]); err == nil || f[0] == "" && len(f) > 1 && !isMAC(f[1]) {
		// The kernel's form has an NTP server behind the name servers.
		for _, s := range f[:min(len(f), 2)] {
			if s == "" {
				continue
			}
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return errors.New("the name server is no address")
			}
			if addr = present(addr); addr.IsValid() {
				nic.DNS = append(nic.DNS, addr)
			}
		}
		return nil
	}
	if f[0] != "" {
		mtu, err := strconv.ParseUint(f[0], 10, 16)
		if err != nil || mtu < 68 { // RFC 791: every link carries 68 bytes
			return errors.New("that is neither a name server nor an MTU from 68 to 65535")
		}
		nic.MTU = int(mtu)
	}
	if len(f) > 2 || len(f) == 2 && f[1] != "" && !isMAC(f[1]) {
		return errors.New("that is no MAC behind the MTU")
	}
	if len(f) == 2 && f[1] != "" {
		nic.SetMAC = canonicalMAC(f[1])
	}
	return nil
}

// addNIC adds what an ip= says to what an earlier one says of the same NIC, so
// that one NIC can have an IPv4 and an IPv6 address.
func (c *command) addNIC(nic NIC) {
	i := slices.IndexFunc(c.nics, func(n NIC) bool { return n.Name == nic.Name && n.MAC == nic.MAC })
	if i < 0 {
		c.nics = append(c.nics, nic)
		return
	}
	n := &c.nics[i]
	n.DHCP = n.DHCP || nic.DHCP
	if n.DHCP {
		n.Origin = "dhcp"
	}
	n.Address = append(n.Address, nic.Address...)
	n.DNS = append(n.DNS, nic.DNS...)
	if nic.Gateway.IsValid() {
		if n.Gateway.IsValid() && n.Gateway != nic.Gateway {
			c.warn(cmdlinePlace, ": ip=: of two gateways for one NIC the first is taken, ", n.Gateway.String())
		} else {
			n.Gateway = nic.Gateway
		}
	}
	n.Hostname = first(nic.Hostname, n.Hostname)
	n.MTU = max(n.MTU, nic.MTU)
	n.SetMAC = first(nic.SetMAC, n.SetMAC)
}

// setDevice takes an interface's name or its MAC.
func (nic *NIC) setDevice(s string) error {
	if isMAC(s) {
		nic.MAC = canonicalMAC(s)
		return nil
	}
	nic.Name = s
	return checkInterface(s)
}

// ipFields takes ip= apart at its colons, but not within [brackets] and not
// within a MAC.
func ipFields(s string) ([]string, error) {
	var f []string
	for {
		var field string
		switch {
		case strings.HasPrefix(s, "["):
			var ok bool
			if field, s, ok = strings.Cut(s[1:], "]"); !ok || s != "" && s[0] != ':' {
				return nil, errors.New("the ']' and a ':' after it are missing")
			}
		case len(s) >= 17 && isMAC(s[:17]) && (len(s) == 17 || s[17] == ':'):
			field, s = s[:17], s[17:]
		default:
			end := strings.IndexByte(s+":", ':')
			field, s = s[:end], s[end:]
		}
		f = append(f, field)
		if s == "" {
			return f, nil
		}
		s = s[1:]
	}
}

// parsePrefix joins an address and a netmask, dotted or as a length.
func parsePrefix(address, mask string) (netip.Prefix, error) {
	var none netip.Prefix
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return none, errors.New("the client's address is no address; an IPv6 address stands in [brackets]")
	}
	if !present(addr).IsValid() || addr.IsMulticast() {
		return none, errors.New("the client's address is no address of one machine")
	}
	if mask == "" {
		return none, errors.New("the netmask is missing")
	}
	length, err := strconv.Atoi(mask)
	if err != nil {
		length, err = maskLength(mask)
	}
	if err != nil || length < 1 || length > addr.BitLen() {
		return none, errors.New("the netmask is neither a dotted mask nor the length of a prefix")
	}
	return netip.PrefixFrom(addr.WithZone(""), length), nil
}

// maskLength counts the bits of a dotted IPv4 netmask.
func maskLength(s string) (int, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is4() {
		return 0, errors.New("no IPv4 netmask")
	}
	var m uint32
	for _, b := range addr.As4() {
		m = m<<8 | uint32(b)
	}
	n := bits.LeadingZeros32(^m)
	if n+bits.TrailingZeros32(m) < 32 {
		return 0, errors.New("a netmask with a gap")
	}
	return n, nil
}

// present returns the address, or the zero Addr for one that stands for none:
// all zeros or all ones.
func present(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}
	}
	return a
}

// isMAC reports whether s is an Ethernet address, its bytes joined by ':' or
// all by '-'.
func isMAC(s string) bool {
	_, err := net.ParseMAC(s)
	return err == nil && len(s) == 17
}

func canonicalMAC(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "-", ":"))
}

// checkInterface checks the name of a network interface (the kernel's
// net/core/dev.c, dev_valid_name).
func checkInterface(s string) error {
	if s == "" || len(s) > 15 || s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool {
		return r == '/' || r == ':' || r <= ' ' || r == 0x7f
	}) {
		return errors.New("that is no name of an interface")
	}
	return nil
}

// setIfname reads ifname=INTERFACE:MAC. The NIC is not renamed: the name
// stands for the MAC in the other parameters.
func setIfname(c *command, w word) error {
	name, mac, _ := strings.Cut(w.value, ":")
	if !isMAC(mac) {
		return errors.New("that is no MAC")
	}
	if err := checkInterface(name); err != nil {
		return err
	}
	if c.aliases == nil {
		c.aliases = make(map[string]string)
	}
	c.aliases[name] = canonicalMAC(mac)
	return nil
}

// setBootIf reads BOOTIF=, the MAC of the NIC that a boot loader came by; in
// front of it may stand its hardware type, 01 for Ethernet.
func setBootIf(c *command, w word) error {
	mac := w.value
	if len(mac) == 20 {
		mac = mac[3:]
	}
	if !isMAC(mac) {
		return errors.New("that is no MAC")
	}
	c.bootif = canonicalMAC(mac)
	return nil
}

func setNoBootIf(c *command, w word) error {
	v, err := boolean(w)
	c.noBoot = v == off
	return err
}

// first returns the first of its arguments that is not empty.
func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// setIBFT reads rd.iscsi.ibft, which asks for the firmware's addresses as
// ip=ibft does.
func setIBFT(c *command, w word) error {
	v, err := boolean(w)
	c.fromFW = c.fromFW || v == on
	return err
}
