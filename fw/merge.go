package fw

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// merge holds the precedence of the sources:
//
//	targets    the command line's; the firmware's when it has none, or after
//	           them with rd.iscsi.firmware=1; never with rd.iscsi.firmware=0
//	CHAP       in netroot=, then rd.iscsi.username and its kin, then the firmware's
//	addresses  ip=, then the firmware's, then DHCP
//	initiator  rd.iscsi.initiator=, the firmware's, /etc/iscsi/initiatorname.iscsi,
//	           /etc/initiatorname.iscsi, one made from the machine's UUID
//	the rest   the command line's
//
// A target and its portal are always of one source.
func merge(c *command, f firmware, m machine) (*Plan, error) {
	p := &Plan{
		VLANs:       c.vlans,
		Bonds:       c.bonds,
		Routes:      c.routes,
		DNS:         c.dns,
		NoPeerDNS:   c.noPeerDNS,
		VendorClass: c.vendorClass,
		Params:      c.allParams(),
		Root:        c.root,
		Failure:     c.failure,
		Timeouts:    c.timeouts,
		Warnings:    slices.Concat(c.warnings, f.warnings),
	}
	if !c.asks && c.dhcpRoot == "" && len(f.targets) == 0 && len(f.errs) == 0 {
		for _, err := range c.errs {
			p.Warnings = append(p.Warnings, err.Error())
		}
		return p, ErrNothing
	}

	own := c.targets
	if c.rootTarget != nil {
		own = append([]portal{*c.rootTarget}, own...)
	}
	useFirmware := len(own) == 0 || c.firmware == on

	p.NICs = mergeNICs(c, f, m, useFirmware)
	for _, t := range own {
		t.NIC = nicOf(t, p.NICs, c.aliases)
		if t.CHAP == nil && c.chap.Password != "" {
			chap := c.chap
			t.CHAP = &chap
		}
		p.addTarget(t.Target)
	}
	if useFirmware {
		for _, t := range f.targets {
			if c.chap.Password != "" {
				chap := c.chap
				t.CHAP = &chap
			}
			p.addTarget(t)
		}
	}

	errs := c.errs
	if len(p.Targets) > 0 {
		for _, err := range f.errs {
			p.Warnings = append(p.Warnings, err.Error())
		}
		if c.firmware == on && len(f.targets) == 0 {
			p.Warnings = append(p.Warnings, "rd.iscsi.firmware asks for the firmware's target as well, and it has none")
		}
	} else {
		errs = append(errs, f.errs...)
		if len(errs) == 0 {
			errs = append(errs, noTarget(c, f))
		}
	}
	if c.fromFW && len(f.nics) == 0 {
		p.Warnings = append(p.Warnings, "the command line asks for the firmware's addresses, and it has none")
	}
	for _, t := range p.Targets {
		if t.CHAP != nil && t.CHAP.Password == t.CHAP.PasswordIn {
			errs = append(errs, &Error{Place: t.From, Word: t.Name,
				Err: errors.New("the same CHAP secret stands for both directions (RFC 7143, 9.2.1, forbids it)")})
		}
	}
	if err := p.setInitiator(c, f, m); err != nil {
		errs = append(errs, err)
	}
	return p, errors.Join(errs...)
}

// noTarget says why there is no target though something asks for one.
func noTarget(c *command, f firmware) error {
	const form = "netroot=iscsi:192.168.50.1::::iqn.2009-06.com.example:disk"
	switch {
	case c.firmware == off:
		return &Error{cmdlinePlace, "rd.iscsi.firmware=0", form, errors.New("the firmware is not asked, and nothing else names a target")}
	case c.dhcpRoot != "":
		return &Error{cmdlinePlace, c.dhcpRoot, form, errors.New("a target named by DHCP is not supported yet")}
	}
	firmware := "the firmware has no table in /" + acpiDir + "/iBFT or /" + ibftDir +
		" (is the module iscsi_ibft there, and what does the kernel say of an iBFT?)"
	if f.from != "" {
		firmware = "the firmware's table, " + f.from + ", has none that can be used"
	}
	return &Error{cmdlinePlace, "", form, errors.New(
		"iSCSI is asked for, and nothing names a target: " + firmware + ", the command line has no netroot=iscsi:…")}
}

// addTarget adds a target unless it is there already.
func (p *Plan) addTarget(t Target) {
	same := func(o Target) bool {
		return o.Name == t.Name && o.Host == t.Host && o.Port == t.Port && o.LUN == t.LUN &&
			(o.NIC == t.NIC || o.NIC < 0 || t.NIC < 0)
	}
	if !slices.ContainsFunc(p.Targets, same) {
		p.Targets = append(p.Targets, t)
	}
}

// mergeNICs lays the command line's NICs over the firmware's, which keep their
// places. Without any there is one that asks DHCP.
func mergeNICs(c *command, f firmware, m machine, useFirmware bool) []NIC {
	var nics []NIC
	if useFirmware || c.fromFW || !c.ipGiven {
		nics = slices.Clone(f.nics)
	}
	table := len(nics)
	bootif := c.bootif
	if c.noBoot {
		bootif = ""
	}
	for _, n := range c.nics {
		mac := n.MAC
		switch {
		case n.Name != "" && c.aliases[n.Name] != "":
			mac = c.aliases[n.Name]
			n.Name, n.MAC = "", mac
		case n.Name != "":
			mac = m.mac(n.Name)
		}
		over := covers(nics[:table], n, mac, f.targets)
		for _, i := range over {
			nics[i].override(n)
		}
		if len(over) == 0 {
			if n.Name == "" && n.MAC == "" {
				n.MAC = bootif
			}
			nics = append(nics, n)
		}
	}
	if len(nics) == 0 && !c.ipGiven {
		n := NIC{Index: -1, DHCP: true, Origin: "dhcp", From: "default"}
		if strings.HasSuffix(c.dhcpRoot, "dhcp6") {
			n.DHCP, n.DHCP6 = false, true
		}
		switch name := first(netdev(c), c.leader()); {
		case c.leader() == "" && bootif != "":
			n.MAC = bootif
		case c.aliases[name] != "" || isMAC(name):
			n.MAC = first(c.aliases[name], canonicalMAC(name))
		default:
			n.Name = name
		}
		nics = []NIC{n}
	}
	return nics
}

// netdev returns the interface that a target of the command line is bound to.
func netdev(c *command) string {
	if c.rootTarget != nil && c.rootTarget.netdev != "" {
		return c.rootTarget.netdev
	}
	for _, t := range c.targets {
		if t.netdev != "" {
			return t.netdev
		}
	}
	return ""
}

// covers returns which NICs of the firmware an ip= is about: the one with its
// MAC; the only one, when its interface is not known yet; and without a device
// all of them for DHCP, and the one that leads to the first target for an
// address.
func covers(table []NIC, n NIC, mac string, targets []Target) (over []int) {
	switch {
	case len(table) == 0:
	case mac != "":
		for i := range table {
			if table[i].MAC == mac {
				over = append(over, i)
			}
		}
	case n.Name != "":
		if len(table) == 1 {
			over = []int{0}
		}
	case n.DHCP || n.DHCP6 || n.RA || n.LinkLocal:
		for i := range table {
			over = append(over, i)
		}
	case len(targets) > 0 && targets[0].NIC >= 0:
		over = []int{targets[0].NIC}
	default:
		over = []int{0}
	}
	return over
}

// override gives a firmware's NIC the addressing of an ip=.
func (nic *NIC) override(n NIC) {
	nic.Name = n.Name
	nic.DHCP, nic.DHCP6, nic.RA, nic.LinkLocal = n.DHCP, n.DHCP6, n.RA, n.LinkLocal
	nic.Origin, nic.ClientID = n.Origin, n.ClientID
	nic.Address, nic.Gateway, nic.DNS = n.Address, n.Gateway, n.DNS
	nic.DHCPServer = netip.Addr{}
	nic.Hostname = first(n.Hostname, nic.Hostname)
	nic.MTU, nic.SetMAC = n.MTU, n.SetMAC
	nic.From = n.From + " over " + nic.From
}

// nicOf returns the NIC that leads to a target of the command line: the one
// that it names, else the one whose subnet holds the portal, else the only one.
func nicOf(t portal, nics []NIC, aliases map[string]string) int {
	if t.netdev != "" {
		mac := aliases[t.netdev]
		if i := slices.IndexFunc(nics, func(n NIC) bool {
			return n.Name == t.netdev || mac != "" && n.MAC == mac
		}); i >= 0 {
			return i
		}
	}
	if host, err := netip.ParseAddr(t.Host); err == nil {
		for i, n := range nics {
			for _, a := range n.Address {
				if a.Contains(host.WithZone("")) {
					return i
				}
			}
		}
	}
	if len(nics) == 1 {
		return 0
	}
	return -1
}

// setInitiator chooses the initiator name.
func (p *Plan) setInitiator(c *command, f firmware, m machine) error {
	if c.names.Name != "" {
		p.Initiator = c.names
		return nil
	}
	p.Initiator = f.initiator
	if p.Initiator.Name == "" {
		p.Initiator.Name, p.Initiator.From = m.initiatorFile()
	}
	if name := p.Initiator.Name; name != "" {
		odd, err := checkName(name)
		if err != nil {
			odd = err.Error()
		}
		if odd != "" {
			p.Warnings = append(p.Warnings, p.Initiator.From+": the initiator name "+quote(name)+": "+odd+"; taken as it is")
		}
		return nil
	}
	p.Initiator.Name, p.Initiator.From = m.madeName(p.NICs)
	if p.Initiator.Name == "" {
		return &Error{cmdlinePlace, "", "rd.iscsi.initiator=iqn.2009-06.com.example:host", errors.New(
			"there is no initiator name: not here, not in the firmware, not in /etc/iscsi/initiatorname.iscsi, and no machine UUID to make one from")}
	}
	p.Warnings = append(p.Warnings, "no source has an initiator name: "+p.Initiator.Name+" is made from "+p.Initiator.From)
	return nil
}

// allParams adds what other parameters say to rd.iscsi.param.
func (c *command) allParams() []Param {
	const retries = "node.session.initial_login_retry_max"
	if c.retries == "" || slices.ContainsFunc(c.params, func(p Param) bool { return p.Name == retries }) {
		return c.params
	}
	return append(c.params, Param{retries, c.retries})
}
