package fw

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// merge holds the precedence of the sources: of each value the first that
// gives it counts.
//
//	target     the command line's, /etc/iscsi.initramfs's; the firmware's when
//	           these have none, or after them with rd.iscsi.firmware=1, and never
//	           with =0; DHCP's when none of these has one and AskDHCP asks for it.
//	           A target and its portal are always of one source.
//	CHAP       each of the two user names and passwords: netroot=,
//	           rd.iscsi.username= and its kin, /etc/iscsi.initramfs, the
//	           credential file for that target, the credential file for all, the
//	           firmware's and DHCP's for their own targets
//	addresses  ip=, then the firmware's, then DHCP
//	host name  ip=, then the firmware's, then DHCP's
//	initiator  rd.iscsi.initiator=, /etc/iscsi.initramfs, the credential file's,
//	           the firmware's, DHCP's option 203, /etc/iscsi/initiatorname.iscsi,
//	           /etc/initiatorname.iscsi, one made from the machine's UUID
//	the rest   the command line's, then /etc/iscsi.initramfs's
//
// What /etc/iscsi.initramfs has stands in c, below the command line's. What
// DHCP has comes later, by Lease.
func merge(c *command, creds *Credentials, f *firmware, m machine) (*Plan, error) {
	p := newPlan(c, f)
	p.Credentials = *creds
	p.Credentials.CHAP = c.chap.over(&creds.CHAP)
	if len(creds.Targets) > 0 {
		p.Credentials.Targets = make(map[string]CHAP)
		for name, h := range creds.Targets {
			p.Credentials.Targets[name] = c.chap.over(&h)
		}
	}

	own := c.targets
	if c.rootTarget != nil {
		own = append([]*portal{c.rootTarget}, own...)
	}
	useFirmware := len(own) == 0 || c.firmware == on
	if len(own) == 0 && len(f.targets) == 0 {
		p.AskDHCP = c.dhcpRoot
		if p.AskDHCP != "" && !c.ipGiven {
			c.nics = append(c.nics, c.defaultNIC(p.AskDHCP))
		}
	}
	p.NICs = mergeNICs(c, f, m, useFirmware)

	add := func(t *Target, own bool) {
		if err := p.add(t, own); err != nil {
			c.fail(err)
		}
	}
	for _, t := range own {
		t.NIC = nicOf(t, p.NICs, c.aliases)
		add(&t.Target, true)
	}
	if useFirmware {
		for i := range f.targets {
			add(&f.targets[i], false)
		}
	}

	p.defaultIPv6()
	p.beyondLink()

	if len(p.Targets) > 0 || p.AskDHCP != "" {
		for _, err := range f.errs {
			p.warn(err.Error())
		}
		if c.firmware == on && len(f.targets) == 0 {
			p.warn("rd.iscsi.firmware asks for the firmware's target as well, and it has none")
		}
	} else {
		c.errs = append(c.errs, f.errs...)
		if len(c.errs) == 0 {
			c.fail(noTarget(c, f))
		}
	}
	if p.AskDHCP != "" && indexNIC(p.NICs, func(n *NIC) bool { return n.DHCP || n.DHCP6 }) < 0 {
		c.fail(mistake(cmdlinePlace, p.AskDHCP, "ip=dhcp", errors.New("DHCP is to name the target, and ip= lets no NIC ask it")))
	}
	if c.fromFW && len(f.nics) == 0 {
		p.warn("the command line asks for the firmware's addresses, and it has none")
	}
	if err := p.setInitiator(c, f, m); err != nil && (c.asks || len(p.Targets) > 0 || p.AskDHCP != "") { // else a refused table is all there is to say
		c.fail(err)
	}
	if p.AskDHCP != "" {
		if err := p.keptLeases(m); err != nil { // DHCP may know better
			for _, line := range strings.Split(err.Error(), "\n") {
				p.warn(line)
			}
		}
	}
	p.findSessions(m.fsys)
	return p, errors.Join(c.errs...)
}

func (p *Plan) warn(text string) { p.Warnings = append(p.Warnings, text) }

// asks reports whether anything asks for iSCSI.
func asks(c *command, f *firmware) bool {
	return c.asks || c.dhcpRoot != "" || !c.root.elsewhere() && (len(f.targets) > 0 || len(f.errs) > 0)
}

// newPlan is what the command line alone decides.
func newPlan(c *command, f *firmware) *Plan {
	return &Plan{
		VLANs:       c.vlans,
		Bonds:       c.bonds,
		Routes:      c.routes,
		DNS:         c.dns,
		NoPeerDNS:   c.noPeerDNS,
		VendorClass: c.vendorClass,
		Params:      c.allParams(),
		Timers:      c.timers,
		Root:        c.root,
		Failure:     c.failure,
		NoKeep:      c.noKeep,
		Timeouts:    c.timeouts,
		Warnings:    append(append([]string(nil), c.warnings...), f.warnings...),

		AuthOptional: c.authOptional,
	}
}

// nothing is the plan of a machine that nothing asks anything of. What is
// wrong with its command line is none of our business, and yet worth a word.
func nothing(c *command, f *firmware) (*Plan, error) {
	p := newPlan(c, f)
	for _, err := range c.errs {
		p.warn(err.Error())
	}
	return p, ErrNothing
}

// noTarget says why there is no target though something asks for one.
func noTarget(c *command, f *firmware) error {
	const form = "netroot=iscsi:192.168.50.1::::iqn.2009-06.com.example:disk"
	if c.firmware == off {
		return mistake(cmdlinePlace, "rd.iscsi.firmware=0", form, errors.New("the firmware is not asked, and nothing else names a target"))
	}
	firmware := "the firmware has no table in /" + acpiDir + "/iBFT or /" + ibftDir +
		" (is the module iscsi_ibft there, and what does the kernel say of an iBFT?)"
	if f.from != "" {
		firmware = "the firmware's table, " + f.from + ", has none that can be used"
	}
	return mistake(cmdlinePlace, "", form+", or root=dhcp to have DHCP name it", errors.New(
		"iSCSI is asked for, and nothing names a target: "+firmware+", the command line has no netroot=iscsi:…"))
}

// add adds a target, unless it is there already, with what the sources have of
// its CHAP. own says that what the target itself has goes before the rest.
func (p *Plan) add(t *Target, own bool) error {
	h := p.Credentials.For(t.Name)
	switch {
	case t.CHAP == nil:
	case own:
		h = t.CHAP.over(&h)
	default:
		h = h.over(t.CHAP)
	}
	if err := h.check(); err != nil {
		return mistake(cmp.Or(h.From, t.From), t.Name, "rd.iscsi.username=NAME rd.iscsi.password=SECRET (and rd.iscsi.in.username=, rd.iscsi.in.password=), "+
			"or node.session.auth.username = NAME and its kin in a credential file", err)
	}
	t.CHAP = nil
	if !h.empty() {
		t.CHAP = &h
	}
	if weak := h.Weak(); weak != "" && !slices.Contains(p.Warnings, weak) {
		p.warn(weak)
	}
	p.addTarget(t)
	return nil
}

// addTarget adds a target unless it is there already.
func (p *Plan) addTarget(t *Target) {
	for i := range p.Targets {
		o := &p.Targets[i]
		if o.Name == t.Name && o.Host == t.Host && o.Port == t.Port && o.LUN == t.LUN &&
			(o.NIC == t.NIC || o.NIC < 0 || t.NIC < 0) {
			return
		}
	}
	p.Targets = append(p.Targets, *t)
}

// mergeNICs lays the command line's NICs over the firmware's, which keep their
// places. Without any there is one that asks DHCP.
func mergeNICs(c *command, f *firmware, m machine, useFirmware bool) []NIC {
	var nics []NIC
	if useFirmware || c.fromFW || !c.ipGiven {
		nics = append(nics, f.nics...)
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
			nics = append(nics, *n)
		}
	}
	if len(nics) == 0 && !c.ipGiven {
		n := c.defaultNIC("default")
		if n.Name == "" && n.MAC == "" {
			n.MAC = bootif
		}
		if n.MAC == "" && netdev(c) != "" {
			n.Name = netdev(c)
		}
		if mac := c.aliases[n.Name]; mac != "" {
			n.Name, n.MAC = "", mac
		}
		nics = []NIC{*n}
	}
	for i := range nics {
		nics[i].AddressFrom = cmp.Or(nics[i].AddressFrom, nics[i].From)
	}
	return nics
}

// defaultIPv6 lets the NIC that nothing describes ask for IPv6 where all portals
// are of that: a network without IPv4 would not answer DHCP.
func (p *Plan) defaultIPv6() {
	for _, t := range p.Targets {
		if a, err := netip.ParseAddr(t.Host); err != nil || a.Is4() {
			return
		}
	}
	for i := range p.NICs {
		if n := &p.NICs[i]; n.From == "default" && len(p.Targets) > 0 {
			n.DHCP, n.RA, n.DHCP6 = false, true, true
			n.Origin = n.origin()
		}
	}
}

// beyondLink has a NIC ask for IPv6 of which a table says no more than its
// link-local address, as EDK2's may, though a target is beyond the link.
func (p *Plan) beyondLink() {
	for _, t := range p.Targets {
		host, err := netip.ParseAddr(t.Host)
		if err != nil || host.Is4() || host.IsLinkLocalUnicast() {
			continue
		}
		for i := range p.NICs {
			n := &p.NICs[i]
			if (t.NIC == i || t.NIC < 0) && n.Index >= 0 && n.AddressFrom == n.From && // a table has one address
				len(n.Address) > 0 && n.Address[0].Addr().Is6() && n.Address[0].Addr().IsLinkLocalUnicast() {
				n.RA, n.DHCP6 = true, true
			}
		}
	}
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
func covers(table []NIC, n *NIC, mac string, targets []Target) (over []int) {
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
func (nic *NIC) override(n *NIC) {
	nic.Name = n.Name
	nic.DHCP, nic.DHCP6, nic.RA, nic.LinkLocal = n.DHCP, n.DHCP6, n.RA, n.LinkLocal
	nic.Origin, nic.ClientID = n.Origin, n.ClientID
	nic.Address, nic.Gateway, nic.DNS = n.Address, n.Gateway, n.DNS
	nic.DHCPServer = netip.Addr{}
	nic.Hostname = first(n.Hostname, nic.Hostname)
	nic.MTU, nic.SetMAC = n.MTU, n.SetMAC
	nic.AddressFrom = n.From
}

// nicOf returns the NIC that leads to a target of the command line: the one
// that it names, else the one whose subnet holds the portal, else the only one.
func nicOf(t *portal, nics []NIC, aliases map[string]string) int {
	if t.netdev != "" {
		mac := aliases[t.netdev]
		if i := indexNIC(nics, func(n *NIC) bool {
			return n.Name == t.netdev || mac != "" && n.MAC == mac
		}); i >= 0 {
			return i
		}
	}
	if host, err := netip.ParseAddr(t.Host); err == nil {
		for i := range nics {
			for _, a := range nics[i].Address {
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

// indexNIC returns the first NIC that fits, or -1.
func indexNIC(nics []NIC, fits func(*NIC) bool) int {
	for i := range nics {
		if fits(&nics[i]) {
			return i
		}
	}
	return -1
}

// setInitiator chooses the initiator name, as far as it is not DHCP's.
func (p *Plan) setInitiator(c *command, f *firmware, m machine) error {
	p.Initiator = f.initiator
	switch {
	case c.names.Name != "":
		p.Initiator = c.names
		return nil
	case p.Credentials.Initiator != "":
		p.Initiator = Initiator{p.Credentials.Initiator, p.Credentials.From}
		return nil
	case p.Initiator.Name == "":
		p.Initiator.Name, p.Initiator.From = m.initiatorFile()
	}
	if name := p.Initiator.Name; name != "" {
		odd, err := checkName(name)
		if err != nil {
			odd = err.Error()
		}
		if odd != "" {
			p.warn(p.Initiator.From + ": the initiator name " + quote(name) + ": " + odd + "; taken as it is")
		}
		return nil
	}
	p.Initiator.Name, p.Initiator.From = m.madeName(p.NICs)
	if p.Initiator.Name != "" {
		p.warn(p.Initiator.made())
	} else if p.AskDHCP == "" {
		return noInitiator(cmdlinePlace)
	}
	return nil
}

func noInitiator(place string) error {
	return mistake(place, "", "rd.iscsi.initiator=iqn.2009-06.com.example:host", errors.New(
		"there is no initiator name: not here, not in the firmware, not in /etc/iscsi/initiatorname.iscsi, and no machine UUID to make one from"))
}

// made is the warning that goes with a name that is made here.
func (i Initiator) made() string {
	return "no source has an initiator name: " + i.Name + " is made from " + i.From
}

// yields reports whether a name from DHCP goes before this one.
func (i Initiator) yields() bool {
	return i.Name == "" || i.From == fromUUID || i.From == fromMAC ||
		slices.Contains(initiatorFiles(), strings.TrimPrefix(i.From, "/"))
}

// named takes a better initiator name in.
func (p *Plan) named(i Initiator) {
	made := p.Initiator.made()
	p.Warnings = slices.DeleteFunc(p.Warnings, func(w string) bool { return w == made })
	p.Initiator = i
}

// allParams adds what other parameters say to rd.iscsi.param.
func (c *command) allParams() []Param {
	const retries = "node.session.initial_login_retry_max"
	if c.retries == "" || slices.ContainsFunc(c.params, func(p Param) bool { return p.Name == retries }) {
		return c.params
	}
	return append(c.params, Param{retries, c.retries})
}
