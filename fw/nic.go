package fw

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
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
	if len(mac) == 20 && strings.ContainsAny(mac[2:3], "-:") {
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

func setBootdev(c *command, w word) error {
	c.bootdev = w.value
	return new(NIC).setDevice(w.value)
}

// leader is the NIC that leads to the target when nothing says so: bootdev=,
// else what is built upon the others.
func (c *command) leader() string {
	switch {
	case c.bootdev != "":
		return c.bootdev
	case len(c.vlans) == 1:
		return c.vlans[0].Name
	case len(c.vlans) == 0 && len(c.bonds) == 1:
		return c.bonds[0].Name
	}
	return ""
}

// defaultNIC is the NIC without any ip=: it asks DHCP. from says who wants it.
func (c *command) defaultNIC(from string) *NIC {
	n := &NIC{Index: -1, DHCP: true, Origin: "dhcp", From: from}
	if strings.HasSuffix(c.dhcpRoot, "dhcp6") {
		n.DHCP, n.DHCP6 = false, true
	}
	if c.leader() != "" {
		_ = n.setDevice(c.leader()) // that it is one has been checked
	}
	return n
}

// unalias puts the MAC in the place of a name that ifname= gave it.
func (c *command) unalias(name *string) {
	if mac := c.aliases[*name]; mac != "" {
		*name = mac
	}
}

// finishNICs finds the NICs that other words name, and puts the one of bootdev=
// in front.
func (c *command) finishNICs() {
	for i := range c.vlans {
		c.unalias(&c.vlans[i].Link)
	}
	for i := range c.bonds {
		for j := range c.bonds[i].Links {
			c.unalias(&c.bonds[i].Links[j])
		}
	}
	for i := range c.routes {
		c.unalias(&c.routes[i].Interface)
	}
	for _, n := range c.nics {
		if n.Name == "" && n.MAC == "" && c.leader() != "" {
			_ = n.setDevice(c.leader()) // that it is one has been checked
		}
		if n.Name == bootIF {
			n.Name, n.MAC = "", c.bootif
			if c.bootif == "" {
				c.fail(mistake(c.place, "ip=", "BOOTIF=01-aa-bb-cc-dd-ee-ff", errors.New("the NIC is that of BOOTIF=, which is missing")))
			}
		}
	}
	mac := canonicalMAC(c.bootdev)
	for i, n := range c.nics {
		if c.bootdev != "" && (n.Name == c.bootdev || n.MAC == mac) {
			copy(c.nics[1:i+1], c.nics)
			c.nics[0] = n
			break
		}
	}
}

// setIBFT reads rd.iscsi.ibft, which asks for the firmware's addresses as
// ip=ibft does.
func setIBFT(c *command, w word) error {
	v, err := boolean(w)
	c.fromFW = c.fromFW || v == on
	return err
}
