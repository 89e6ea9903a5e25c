package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// sessionConfig turns a target of the plan into a session's configuration.
func sessionConfig(plan *fw.Plan, t fw.Target) (session.Config, error) {
	cfg := session.Default()
	cfg.InitiatorName, cfg.TargetName = plan.Initiator.Name, t.Name
	addr, err := netip.ParseAddr(t.Host)
	if err != nil {
		return cfg, &configError{fmt.Errorf("target %s: the portal %q is no address, and names are not looked up yet: write the address", t.Name, t.Host)}
	}
	cfg.Portal = netip.AddrPortFrom(addr, t.Port)
	if t.CHAP != nil {
		cfg.CHAP = &login.CHAP{
			Username: t.CHAP.Username, Secret: login.Secret(t.CHAP.Password),
			UsernameIn: t.CHAP.UsernameIn, SecretIn: login.Secret(t.CHAP.PasswordIn),
		}
	}
	for _, p := range plan.Params {
		if err := cfg.Set(p.Name, p.Value); err != nil {
			return cfg, &configError{fmt.Errorf("rd.iscsi.param: %w", err)}
		}
	}
	return cfg, nil
}

// nicSet brings up the plan's NICs and knows which ones are up.
type nicSet struct {
	console *Console
	plan    *fw.Plan
	settled <-chan struct{} // closed when the hardware that is there has its drivers
	up      map[int]*network.Result
}

// bringUp returns the NIC of that index, up. Index -1 is the first NIC of the
// plan from which the portal can be reached; with none in the plan, it is the
// machine's only NIC, by DHCP.
func (n *nicSet) bringUp(ctx context.Context, index int, portal netip.Addr) (*network.Result, error) {
	if index >= 0 && index < len(n.plan.NICs) {
		return n.one(ctx, index)
	}
	if len(n.plan.NICs) == 0 {
		return n.one(ctx, -1)
	}
	var errs []error
	for i := range n.plan.NICs {
		nic, err := n.one(ctx, i)
		if err == nil && leadsTo(nic, portal) {
			return nic, nil
		}
		if err == nil {
			err = &configError{fmt.Errorf("%s has no route to %s: is a gateway missing?", nic.Name, portal)}
		}
		errs = append(errs, err)
	}
	if i := slices.IndexFunc(errs, canPass); i >= 0 {
		return nil, errs[i]
	}
	return nil, errors.Join(errs...)
}

func leadsTo(nic *network.Result, portal netip.Addr) bool {
	if zone := portal.Zone(); zone != "" {
		return zone == nic.Name || zone == strconv.Itoa(nic.Index)
	}
	if nic.Gateway.IsValid() || nic.Gateway6.IsValid() && portal.Is6() {
		return true
	}
	for _, p := range nic.Address {
		if p.Masked().Contains(portal) {
			return true
		}
	}
	return len(nic.Address) > 0 && portal.IsLinkLocalUnicast()
}

func (n *nicSet) one(ctx context.Context, index int) (*network.Result, error) {
	if nic, ok := n.up[index]; ok {
		return nic, nil
	}
	nic, err := n.raise(ctx, index)
	if err == nil {
		n.up[index] = nic
	} else if !errors.Is(err, context.DeadlineExceeded) { // a switch or a server may still be starting
		err = &configError{err}
	}
	return nic, err
}

// from returns what described a NIC that is up: "default" where nothing did.
func (n *nicSet) from(nic *network.Result) string {
	for i, u := range n.up {
		if u == nic && i >= 0 {
			return n.plan.NICs[i].From
		}
	}
	return "default"
}

// raise brings a NIC up. The address that DHCP once gave to the firmware is
// still better than none when no server answers now.
func (n *nicSet) raise(ctx context.Context, index int) (*network.Result, error) {
	nic := unplannedNIC(n.plan)
	if index >= 0 {
		nic = n.plan.NICs[index]
	}
	switch { // of a table: what the firmware asked of the network is asked again
	case nic.Origin == "ra" && !nic.DHCP:
		nic.RA = true
	case nic.Origin == "dhcp" && !nic.DHCP && slices.ContainsFunc(nic.Address, func(p netip.Prefix) bool { return p.Addr().Is6() }):
		nic.RA, nic.DHCP6 = true, true
	}
	if nic.VLAN != 0 || nic.SetMAC != "" {
		return nil, fmt.Errorf("NIC %s: a VLAN, or another MAC than its own, can't be set up yet", planNIC(nic))
	}
	if nic.Name == "" && nic.MAC == "" { // which is the only one is known when all are there
		select {
		case <-n.settled:
		case <-ctx.Done():
			return nil, fmt.Errorf("the drivers of the NICs were not loaded in time: %w", ctx.Err())
		}
	}
	result, err := network.Up(ctx, networkConfig(n.plan, index, nic), n.console)
	if err != nil && (nic.DHCP || nic.RA || nic.DHCP6) && len(nic.Address) > 0 && ctx.Err() == nil {
		n.console.Printf("warning: %v; going on with the firmware's own address, %v", err, nic.Address)
		nic.DHCP, nic.RA, nic.DHCP6 = false, false, false
		result, err = network.Up(ctx, networkConfig(n.plan, index, nic), n.console)
	}
	if err == nil {
		n.console.Step("network", "%s", describeNIC(result))
	}
	return result, err
}

// unplannedNIC is the only NIC, where the plan has none: what it asks the network
// for is of the portals' IP version.
func unplannedNIC(plan *fw.Plan) fw.NIC {
	for _, t := range plan.Targets {
		if a, err := netip.ParseAddr(t.Host); err != nil || a.Is4() {
			return fw.NIC{DHCP: true}
		}
	}
	six := len(plan.Targets) > 0
	return fw.NIC{DHCP: !six, RA: six, DHCP6: six}
}

// networkConfig turns a NIC of the plan into what boot/network takes.
func networkConfig(plan *fw.Plan, index int, nic fw.NIC) network.Config {
	cfg := network.Config{
		Name: nic.Name, DHCP: nic.DHCP, RA: nic.RA, DHCP6: nic.DHCP6, LinkLocal: nic.LinkLocal,
		MTU: nic.MTU, Hostname: nic.Hostname,
		LinkTimeout: max(plan.Timeouts.Link, plan.Timeouts.Carrier), DHCPTimeout: plan.Timeouts.DHCP,
		AutoTimeout: plan.Timeouts.Auto, DADTimeout: plan.Timeouts.DAD,
	}
	// What stands beside what is asked of the network is an old answer.
	asked := func(a netip.Addr) bool { return a.Is4() && nic.DHCP || a.Is6() && (nic.RA || nic.DHCP6) }
	for _, p := range nic.Address {
		if !asked(p.Addr()) {
			cfg.Address = append(cfg.Address, p)
		}
	}
	if !asked(nic.Gateway) {
		cfg.Gateway = nic.Gateway
	}
	if nic.Name == "" && nic.MAC != "" {
		cfg.MAC, _ = net.ParseMAC(nic.MAC)
	}
	for _, t := range plan.Targets {
		if addr, err := netip.ParseAddr(t.Host); err == nil && (t.NIC == index || t.NIC < 0) {
			cfg.Peers = append(cfg.Peers, addr)
		}
	}
	return cfg
}
