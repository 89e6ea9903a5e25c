package boot

import (
	"fmt"
	"strings"
	"time"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

// describePlan says which source said what.
func describePlan(c *Console, p *fw.Plan) {
	c.Step("plan", "initiator %s, from %s", p.Initiator.Name, p.Initiator.From)
	for _, n := range p.NICs {
		c.Step("plan", "NIC %s, from %s", planNIC(n), n.From)
	}
	for _, t := range p.Targets {
		c.Step("plan", "target %s at %s, LUN %d, %s, from %s", t.Name, t.Portal(), t.LUN.Uint64(), planAuth(t), t.From)
	}
}

func planNIC(n fw.NIC) string {
	words := []string{n.Name, n.MAC}
	if n.Name == "" && n.MAC == "" {
		words = []string{"the only one"}
	}
	if n.VLAN != 0 {
		words = append(words, fmt.Sprintf("VLAN %d", n.VLAN))
	}
	if n.DHCP {
		words = append(words, "DHCP")
	}
	if n.RA {
		words = append(words, "router advertisements")
	}
	if n.DHCP6 {
		words = append(words, "DHCPv6")
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
	s := fmt.Sprintf("%s (%s, %s)", r.Name, r.Driver, r.MAC)
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
		s += fmt.Sprintf(", lease of %.4g h from %s", r.Lease.Duration.Hours(), r.Lease.Server)
	}
	return s
}

// writeState leaves the boot's story for the booted system.
func writeState(c *Console, version string, plan *fw.Plan, p *Path, init string) error {
	seconds := func(d time.Duration) int { return int(d / time.Second) }
	timers := p.Session.Config.Timers
	s := handoff.State{
		Version:   version,
		Initiator: plan.Initiator.Name,
		NIC: handoff.NIC{
			Name: p.NIC.Name, MAC: p.NIC.MAC.String(), Driver: p.NIC.Driver, MTU: p.NIC.MTU,
			Address: p.NIC.Address, DNS: p.NIC.DNS, From: p.NICFrom,
		},
		Target: handoff.Target{
			Name: p.Target.Name, Portal: p.Target.Portal(), LUN: p.Target.LUN.Uint64(),
			Auth: p.Target.Auth(), From: p.Target.From,
		},
		Session: handoff.Session{
			SID: p.Session.SID, TPGT: p.Session.TargetPortalGroupTag, ReplacementTimeout: seconds(timers.Replacement),
			NoopOutInterval: seconds(timers.NoopInterval), NoopOutTimeout: seconds(timers.NoopTimeout),
		},
		Disk:     handoff.Disk{Name: p.Disk.Name, Size: p.Disk.Size},
		Root:     handoff.Root{Device: p.Root, FSType: p.FSType, ReadOnly: plan.Root.ReadOnly, Init: init},
		Warnings: append([]string{}, plan.Warnings...),
	}
	if p.NIC.Gateway.IsValid() {
		s.NIC.Gateway = p.NIC.Gateway.String()
	} else if p.NIC.Gateway6.IsValid() {
		s.NIC.Gateway = p.NIC.Gateway6.String()
	}
	if l := p.NIC.Lease; l != nil {
		s.NIC.DHCP, s.NIC.Lease = l.Server.String(), seconds(l.Duration)
	}
	for _, step := range c.Steps() {
		s.Timeline = append(s.Timeline, handoff.Step{
			Milliseconds: float64(step.Time.Microseconds()) / 1000, Name: step.Name, Text: step.Text,
		})
	}
	return s.Write(handoff.StateFile)
}
