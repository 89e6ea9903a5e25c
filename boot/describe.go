package boot

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

// describePlan says which source said what.
func describePlan(c *Console, p *fw.Plan) {
	if p.Initiator.Name != "" {
		describeInitiator(c, p.Initiator)
	}
	for _, n := range p.NICs {
		c.Step("plan", "NIC %s, from %s", planNIC(n), nicFrom(n))
	}
	for _, t := range p.Targets {
		describeTarget(c, t)
	}
	if p.AskDHCP != "" && len(p.Targets) == 0 {
		c.Step("plan", "DHCP is to name the target, says %s", p.AskDHCP)
	}
}

func describeInitiator(c *Console, i fw.Initiator) {
	c.Step("plan", "initiator %s, from %s", i.Name, i.From)
}

func describeTarget(c *Console, t fw.Target) {
	from := t.From
	if t.CHAP != nil && t.CHAP.From != from {
		from += ", its secret from " + t.CHAP.From
	}
	c.Step("plan", "target %s at %s, LUN %d, %s, from %s", t.Title(), t.Portal(), t.LUN.Uint64(), planAuth(t), from)
}

// nicFrom says what named a NIC, and what its addresses where that is another.
func nicFrom(n fw.NIC) string {
	if n.AddressFrom == "" || n.AddressFrom == n.From {
		return n.From
	}
	return n.From + ", addresses from " + n.AddressFrom
}

func planNIC(n fw.NIC) string {
	words := []string{n.Name, n.MAC}
	if n.Name == "" && n.MAC == "" {
		words = []string{"the only one"}
		if n.PCI != "" {
			words[0] = n.PCI
		}
	}
	if n.VLAN != 0 {
		words = append(words, fmt.Sprintf("VLAN %d", n.VLAN))
	}
	for _, way := range []struct {
		name string
		on   bool
	}{{"DHCP", n.DHCP}, {"DHCPv6", n.DHCP6}, {"RA", n.RA}, {"link-local", n.LinkLocal}} {
		if way.on {
			words = append(words, way.name)
		}
	}
	for _, a := range n.Address {
		words = append(words, a.String())
	}
	if n.Gateway.IsValid() {
		words = append(words, "via "+n.Gateway.String())
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

func planAuth(t fw.Target) string {
	switch t.Auth() {
	case "chap":
		return "CHAP as " + t.CHAP.Username
	case "mutual":
		return "mutual CHAP as " + t.CHAP.Username
	}
	return "no authentication"
}

func describeNIC(r *network.Result) string {
	var what []string
	if r.VLAN != 0 {
		what = append(what, fmt.Sprintf("VLAN %d over %s", r.VLAN, r.Link))
	}
	if len(r.Ports) > 0 {
		what = append(what, "bond of "+strings.Join(r.Ports, " and "))
	}
	if r.Driver != "" {
		what = append(what, r.Driver)
	}
	s := fmt.Sprintf("%s (%s, %s)", r.Name, strings.Join(what, ", "), r.MAC)
	for _, a := range r.Address {
		s += " " + a.String()
	}
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	if r.Gateway6.IsValid() {
		s += " via " + r.Gateway6.String()
	}
	if r.Lease != nil {
		s += fmt.Sprintf(", lease %s from %s", leaseTime(r.Lease.Duration), r.Lease.Server)
	}
	if r.Lease6 != nil && r.Lease6.Address.IsValid() {
		s += fmt.Sprintf(", lease %s by DHCPv6", leaseTime(r.Lease6.Valid))
	}
	return s
}

func leaseTime(d time.Duration) string {
	if d == network.Forever {
		return "for ever"
	}
	return fmt.Sprintf("of %.4g h", d.Hours())
}

func describeDisk(d session.Disk) string {
	return fmt.Sprintf("%s, %s, LUN %d (%s %s)", d.Name, bytesText(d.Size), d.LUN, d.Vendor, d.Model)
}

// writeState leaves the boot's story for the booted system.
func writeState(c *Console, version string, plan *fw.Plan, p *Path, all []*Path, nics []*network.Result, init string) error {
	s := state(c, version, plan, p, all, nics, init)
	return s.Write(handoff.StateFile)
}

func state(c *Console, version string, plan *fw.Plan, p *Path, all []*Path, nics []*network.Result, init string) handoff.State {
	seconds := func(d time.Duration) int { return int(d / time.Second) }
	timers := p.Session.Config.Timers
	s := handoff.State{
		Version:   version,
		Initiator: plan.Initiator.Name,
		NIC:       stateNIC(p.NIC),
		NICs:      StateNICs(nics),
		Target: handoff.Target{
			Name: p.Target.Name, Portal: p.Session.Config.Portal.String(), LUN: p.Disk.LUN,
			Auth: p.Target.Auth(), From: p.Target.From,
		},
		Session: handoff.Session{
			Timers: "root",
			SID:    p.Session.SID, Attached: p.Target.Session != "", TPGT: p.Session.TargetPortalGroupTag, ReplacementTimeout: seconds(timers.Replacement),
			NoopOutInterval: seconds(timers.NoopInterval), NoopOutTimeout: seconds(timers.NoopTimeout),
		},
		Disk:     handoff.Disk{Name: p.Disk.Name, Size: p.Disk.Size},
		Root:     stateRoot(plan, p, init),
		Warnings: append([]string{}, plan.Warnings...),
	}
	s.NIC.From = p.NICFrom
	if multipath(plan, &p.Target, os.DirFS("/")) {
		s.Session.Timers = "multipath"
	}
	if s.Session.Attached { // whoever made it has set these
		s.Session = handoff.Session{SID: s.Session.SID, Attached: true}
	}
	for _, o := range all {
		way := handoff.Path{Target: o.Target.Name, Portal: o.Target.Portal(), Disk: o.Disk.Name}
		if o.Session != nil {
			way.SID, way.Portal = o.Session.SID, o.Session.Config.Portal.String()
		}
		if o.NIC != nil {
			way.NIC = o.NIC.Name
		}
		s.Paths = append(s.Paths, way)
	}
	s.Timeline = timeline(c)
	return s
}

func stateRoot(plan *fw.Plan, p *Path, init string) handoff.Root {
	return handoff.Root{Device: p.Root, FSType: p.FSType, ReadOnly: plan.Root.ReadOnly, Init: init}
}

func timeline(c *Console) (steps []handoff.Step) {
	for _, step := range c.Steps() {
		steps = append(steps, handoff.Step{
			Milliseconds: float64(step.Time.Microseconds()) / 1000, Name: step.Name, Text: step.Text,
		})
	}
	return steps
}

func stateNIC(r *network.Result) handoff.NIC {
	if r == nil {
		return handoff.NIC{}
	}
	n := handoff.NIC{Name: r.Name, MAC: r.MAC.String(), Driver: r.Driver, MTU: r.MTU, Address: r.Address, DNS: r.DNS, How: "none"}
	switch {
	case r.DHCP:
		n.How = "dhcp"
	case r.RA:
		n.How = "auto6"
	case r.Lease6 != nil:
		n.How = "dhcp6"
	}
	if r.Gateway.IsValid() {
		n.Gateway = r.Gateway.String()
	} else if r.Gateway6.IsValid() {
		n.Gateway = r.Gateway6.String()
	}
	if l := r.Lease; l != nil {
		n.DHCP, n.Lease = l.Server.String(), int(l.Duration/time.Second)
	}
	return n
}
