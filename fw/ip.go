package fw

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// setIP reads ip= (dracut.cmdline(7); nm-initrd-generator(8); the kernel's
// nfsroot.rst), in three forms:
//
//	ip=AUTOCONF
//	ip=INTERFACE:AUTOCONF[:[MTU][:MAC]]
//	ip=ADDRESS:[PEER]:GATEWAY:NETMASK:HOSTNAME:INTERFACE:AUTOCONF[:[MTU][:MAC]] or [:[DNS1][:[DNS2][:NTP]]]
//
// The third may be cut short at the right. INTERFACE may be a MAC: the NIC is
// found by it and not renamed; or BOOTIF, the NIC of that word. The MAC at the
// end is the one to give to the NIC.
func setIP(c *command, w word) error {
	f, err := ipFields(w.value)
	if err != nil {
		return err
	}
	nic := &NIC{Index: -1, From: "ip="}
	var rest []string
	positional := len(f) > 4 || len(f) > 2 && f[0] == "" || isAddress(f[0])
	switch {
	case f[0] == bootIF && len(f) == 1:
		nic.Name = bootIF
		err = c.autoconf(nic, "dhcp")
	case len(f) == 1 && !positional:
		err = c.autoconf(nic, f[0])
	case !positional:
		if err = nic.setDevice(f[0]); err == nil {
			err = c.autoconf(nic, f[1])
		}
		rest = f[2:]
	default:
		f = append(f, make([]string, max(0, 7-len(f)))...)
		err = c.explicit(nic, f)
		rest = f[7:]
	}
	if err != nil {
		return err
	}
	if err := nic.setRest(rest); err != nil {
		return err
	}
	c.ipGiven = true
	if nic.Origin == "" { // none, off or ibft, without an address
		return nil
	}
	c.addNIC(nic)
	return nil
}

// bootIF stands for the NIC that BOOTIF= names.
const bootIF = "BOOTIF"

// explicit reads the seven fields that start with an address.
func (c *command) explicit(nic *NIC, f []string) error {
	if f[0] != "" {
		address, length, _ := strings.Cut(f[0], "/") // nm-initrd-generator's
		if length != "" && f[3] != "" && length != f[3] {
			return errors.New("there are two netmasks")
		}
		mask := first(f[3], length, classLength(address))
		p, err := parsePrefix(address, mask)
		if err != nil {
			return err
		}
		if f[3] == "" && length == "" {
			c.warn(c.place, ": ip=: no netmask is given, and ", p.String(), " is taken")
		}
		nic.Address = []netip.Prefix{p}
	}
	if f[1] != "" {
		if peer, _, _ := strings.Cut(f[1], "/"); !isAddress(peer) {
			return errors.New("the peer or server in the second field is no address")
		}
		c.warn(c.place, ": ip=: the peer or server ", quote(f[1]), " is passed over")
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

// autoconf reads the word that says how addresses are come by, or several
// with commas between, as dracut takes them.
func (c *command) autoconf(nic *NIC, how string) error {
	if id, ok := strings.CutPrefix(how, "dhcp,"); ok && id != "" && isDigit(rune(id[0])) {
		var err error
		if nic.ClientID, err = kernelClientID(id); err != nil {
			return err
		}
		c.warn(c.place, ": ip=: the DHCP client identifier is passed over: the usual one, of the MAC, is sent")
		how = "dhcp"
	}
	for _, word := range strings.Split(how, ",") {
		switch word {
		case "dhcp", "on", "any", "single-dhcp":
			nic.DHCP = true
		case "auto": // nm-initrd-generator's
			nic.DHCP, nic.RA = true, true
		case "dhcp6":
			nic.DHCP6 = true
		case "auto6":
			nic.RA = true
		case "either6":
			nic.RA, nic.DHCP6 = true, true
		case "link6":
			nic.LinkLocal = true
		case "", "static":
			if nic.Address == nil {
				return errors.New("an address is missing, or the word dhcp")
			}
		case "none", "off":
		case "ibft", "fw":
			c.fromFW = true
		case "bootp", "rarp", "both", "all":
			return fmt.Errorf("%s is not supported; dhcp is", word)
		default:
			return errors.New("neither an address nor one of dhcp, dhcp6, auto6, either6, link6, on, any, none, off, static, ibft stands where it should")
		}
	}
	nic.Origin = nic.origin()
	return nil
}

// origin names the way by which a NIC gets its addresses, in the iBFT's terms;
// empty: none.
func (nic *NIC) origin() string {
	switch {
	case nic.DHCP:
		return "dhcp"
	case nic.RA:
		return "ra"
	case nic.DHCP6:
		return "dhcp"
	case nic.Address != nil:
		return "static"
	case nic.LinkLocal:
		return "other"
	}
	return ""
}

// kernelClientID reads the kernel's TYPE,VALUE (net/ipv4/ipconfig.c).
func kernelClientID(s string) (string, error) {
	kind, value, _ := strings.Cut(s, ",")
	n, err := strconv.ParseUint(kind, 0, 8)
	if err != nil || value == "" || len(value) > 253 {
		return "", errors.New("behind dhcp, stands no client identifier: its type from 0 to 255, a comma, and up to 253 bytes")
	}
	return string([]byte{byte(n)}) + value, nil
}

// setRest reads what may follow AUTOCONF: name servers, or an MTU and a MAC.
func (nic *NIC) setRest(f []string) error {
	if len(f) == 0 {
		return nil
	}
	if _, err := netip.ParseAddr(f[0]); err == nil || f[0] == "" && len(f) > 1 && !isMAC(f[1]) {
		for i, s := range f {
			if s == "" {
				continue
			}
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return errors.New("the name server is no address")
			}
			// The kernel's form has an NTP server behind the name servers.
			if addr = present(addr); addr.IsValid() && i < 2 {
				nic.DNS = append(nic.DNS, addr)
			}
		}
		if len(f) > 3 {
			return errors.New("there are more fields behind the NTP server")
		}
		return nil
	}
	if f[0] != "" {
		var err error
		if nic.MTU, err = parseMTU(f[0]); err != nil {
			return errors.New("that is neither a name server nor an MTU from 68 to 65535")
		}
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
func (c *command) addNIC(nic *NIC) {
	i := slices.IndexFunc(c.nics, func(n *NIC) bool { return n.Name == nic.Name && n.MAC == nic.MAC })
	if i < 0 {
		c.nics = append(c.nics, nic)
		return
	}
	n := c.nics[i]
	n.DHCP, n.DHCP6 = n.DHCP || nic.DHCP, n.DHCP6 || nic.DHCP6
	n.RA, n.LinkLocal = n.RA || nic.RA, n.LinkLocal || nic.LinkLocal
	n.Address = append(n.Address, nic.Address...)
	n.Origin = n.origin()
	n.ClientID = first(nic.ClientID, n.ClientID)
	n.DNS = append(n.DNS, nic.DNS...)
	if nic.Gateway.IsValid() {
		if n.Gateway.IsValid() && n.Gateway != nic.Gateway {
			c.warn(c.place, ": ip=: of two gateways for one NIC the first is taken, ", n.Gateway.String())
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
	bits, err := parseMask(mask)
	if err != nil || bits < 1 || bits > addr.BitLen() || addr.Is6() && strings.Contains(mask, ".") {
		return none, errors.New("the netmask is neither a dotted mask nor the length of a prefix")
	}
	return netip.PrefixFrom(addr.WithZone(""), bits), nil
}

// classLength is the length of the network part of an address without a
// netmask: that of its class, as the kernel has it (nfsroot.rst), or IPv6's 64,
// as NetworkManager has; empty: it has none.
func classLength(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if addr.Is6() {
		return "64"
	}
	switch b := addr.As4()[0]; {
	case b < 128:
		return "8"
	case b < 192:
		return "16"
	case b < 224:
		return "24"
	}
	return ""
}

// parseMask reads a netmask, dotted or as the length of a prefix.
func parseMask(s string) (int, error) {
	if strings.Contains(s, ".") {
		return maskLength(s)
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err
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
