package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

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
		cfg.CHAP = loginCHAP(*t.CHAP)
	}
	for _, p := range plan.Params {
		if err := cfg.Set(p.Name, p.Value); err != nil {
			return cfg, &configError{fmt.Errorf("rd.iscsi.param: %w", err)}
		}
	}
	return cfg, nil
}

func loginCHAP(c fw.CHAP) *login.CHAP {
	return &login.CHAP{
		Username: c.Username, Secret: login.Secret(c.Password),
		UsernameIn: c.UsernameIn, SecretIn: login.Secret(c.PasswordIn),
	}
}

// nicSet brings up the plan's NICs and knows which ones are up.
type nicSet struct {
	console *Console
	plan    *fw.Plan
	settled <-chan struct{} // closed when the hardware that is there has its drivers
	load    func(module string) error
	up      map[int]*network.Result
	leases  map[int]error // of each NIC that is up: what its lease lacks
}

// askTarget brings up the NICs that ask DHCP, one after the other, until a
// lease has named a target. limit is the deadline of ctx, for people.
func (n *nicSet) askTarget(ctx context.Context, limit time.Duration) error {
	began := time.Now()
	var ask []int
	for i, nic := range n.plan.NICs {
		if nic.DHCP {
			ask = append(ask, i)
		}
	}
	for tries := 1; ; tries++ {
		var errs []error
		if len(ask) == 0 {
			errs = []error{&configError{errors.New("no NIC asks DHCPv4, which is to name the target")}}
		}
		for _, i := range ask {
			_, err := n.one(ctx, i)
			if len(n.plan.Targets) > 0 {
				return nil
			}
			if err == nil {
				err = &configError{n.leases[i]}
			}
			errs = append(errs, err)
		}
		final := !slices.ContainsFunc(errs, canPass)
		if final || ctx.Err() != nil {
			return &StepError{Step: "learn the target from DHCP", Err: errors.Join(errs...), Tries: tries, Took: time.Since(began), Limit: limit, Final: final}
		}
	}
}

// takeLease gives to the plan what a NIC's lease says, and says what came of
// it. The error tells what the lease lacks of a target that it should name.
func (n *nicSet) takeLease(index int, nic *network.Result) error {
	p := n.plan
	if nic.Lease == nil {
		if p.AskDHCP == "" {
			return nil
		}
		return fmt.Errorf("%s has its address without asking DHCP, so that no server could name the target (%s)", nic.Name, p.AskDHCP)
	}
	initiator, targets, warnings := p.Initiator, len(p.Targets), slices.Clone(p.Warnings)
	err := p.Lease(index, fw.Lease{
		RootPath: nic.Lease.RootPath, InitiatorName: nic.Lease.InitiatorName, Hostname: nic.Hostname,
		From: fmt.Sprintf("DHCP (%s)", nic.Lease.Server),
	})
	for _, w := range p.Warnings {
		if !slices.Contains(warnings, w) {
			n.console.Printf("warning: %s", w)
		}
	}
	if p.Initiator != initiator {
		describeInitiator(n.console, p.Initiator)
	}
	for _, t := range p.Targets[targets:] {
		describeTarget(n.console, t)
	}
	if err != nil && len(p.Targets) > 0 { // else it is what the boot fails with
		for _, line := range strings.Split(err.Error(), "\n") {
			n.console.Printf("warning: %s", line)
		}
	}
	return err
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
	for _, r := range nic.Routes {
		if r.Destination.Contains(portal) {
			return true
		}
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
		n.leases[index] = n.takeLease(index, nic)
	} else if !errors.Is(err, context.DeadlineExceeded) { // a switch or a server may still be starting
		err = &configError{err}
	}
	return nic, err
}

// from returns what described a NIC that is up: "default" where nothing did.
func (n *nicSet) from(nic *network.Result) string {
	for i, u := range n.up {
		if u == nic && i >= 0 {
			return nicFrom(n.plan.NICs[i])
		}
	}
	return "default"
}

// raise brings a NIC up. The address that DHCP once gave to the firmware is
// still better than none when no server answers now.
func (n *nicSet) raise(ctx context.Context, index int) (*network.Result, error) {
	nic := fw.NIC{DHCP: true}
	if index >= 0 {
		nic = n.plan.NICs[index]
	}
	switch { // of a table: what the firmware asked of the network is asked again
	case nic.Index < 0 || nic.DHCP:
	case nic.Origin == "ra":
		nic.RA = true
	case nic.Origin == "dhcp" && slices.ContainsFunc(nic.Address, func(p netip.Prefix) bool { return p.Addr().Is6() }):
		nic.RA, nic.DHCP6 = true, true
	}
	if nic.Name == "" && nic.MAC == "" && nic.PCI == "" { // which is the only one is known when all are there
		select {
		case <-n.settled:
		case <-ctx.Done():
			return nil, fmt.Errorf("the drivers of the NICs were not loaded in time: %w", ctx.Err())
		}
	}
	result, err := network.Up(ctx, n.config(index, nic), n.console)
	if err != nil && (nic.DHCP || nic.RA || nic.DHCP6) && len(nic.Address) > 0 && ctx.Err() == nil {
		n.console.Printf("warning: %v; going on with the firmware's own address, %v", err, nic.Address)
		nic.DHCP, nic.RA, nic.DHCP6 = false, false, false
		result, err = network.Up(ctx, n.config(index, nic), n.console)
	}
	if err == nil {
		n.console.Step("network", "%s", describeNIC(result))
	}
	return result, err
}

// config is networkConfig with what only a running boot has: modules, and
// another attempt after one that failed.
func (n *nicSet) config(index int, nic fw.NIC) network.Config {
	cfg := networkConfig(n.plan, index, nic)
	cfg.Load, cfg.KeepLink = n.load, true
	return cfg
}

// peers returns the portals that a NIC may lead to.
func peers(plan *fw.Plan, index int) (addrs []netip.Addr) {
	for _, t := range plan.Targets {
		if addr, err := netip.ParseAddr(t.Host); err == nil && (t.NIC == index || t.NIC < 0) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// networkConfig turns a NIC of the plan into what boot/network takes.
func networkConfig(plan *fw.Plan, index int, nic fw.NIC) network.Config {
	cfg := network.Config{
		Name: nic.Name, PCI: nic.PCI, VLAN: nic.VLAN, DHCP: nic.DHCP, RA: nic.RA, DHCP6: nic.DHCP6, LinkLocal: nic.LinkLocal,
		MTU: nic.MTU, Hostname: nic.Hostname, VendorClass: plan.VendorClass,
		LinkTimeout: max(plan.Timeouts.Link, plan.Timeouts.Carrier), DHCPTimeout: plan.Timeouts.DHCP,
		AutoTimeout: plan.Timeouts.Auto, DADTimeout: plan.Timeouts.DAD,
		Narrow: isNarrow(plan, index), Loose: sharesSubnet(plan, index),
	}
	if n := plan.Timeouts.Tries; n > 1 && cfg.DHCPTimeout < 24*time.Hour {
		cfg.DHCPTimeout = cmp.Or(cfg.DHCPTimeout, time.Minute) * time.Duration(n)
	}
	// What stands beside what is asked of the network is an old answer.
	asked := func(a netip.Addr) bool { return a.Is4() && nic.DHCP || a.Is6() && (nic.RA || nic.DHCP6) }
	for _, p := range nic.Address {
		switch {
		case !asked(p.Addr()):
			cfg.Address = append(cfg.Address, p)
		case p.Addr().Is4():
			cfg.Requested = p.Addr()
		}
	}
	if !asked(nic.Gateway) {
		cfg.Gateway = nic.Gateway
	}
	for _, v := range plan.VLANs {
		if nic.Name == v.Name {
			cfg.Name, cfg.VLAN, cfg.VLANName = v.Link, v.ID, v.Name
		}
	}
	for _, b := range plan.Bonds {
		bond := network.Bond{Name: b.Name, Ports: b.Links, MTU: b.MTU}
		for _, o := range b.Options {
			bond.Options = append(bond.Options, network.Option(o))
		}
		cfg.Bonds = append(cfg.Bonds, bond)
	}
	if nic.Name == "" && nic.MAC != "" {
		cfg.MAC, _ = net.ParseMAC(nic.MAC)
	}
	if nic.SetMAC != "" {
		cfg.SetMAC, _ = net.ParseMAC(nic.SetMAC)
	}
	for _, r := range plan.Routes {
		// Without an interface it is tried on all NICs, and goes where its
		// gateway is.
		if r.Interface == nic.Name || r.Interface == "" && (r.Gateway.IsValid() || index <= 0) {
			cfg.Routes = append(cfg.Routes, network.Route{Destination: r.Destination, Gateway: r.Gateway})
		}
	}
	cfg.Peers = peers(plan, index)
	return cfg
}

// isNarrow says whether a NIC's gateway serves its targets alone. Where several
// NICs of a firmware's table have one, the default route is of the one that leads
// to the target that is tried first.
func isNarrow(plan *fw.Plan, index int) bool {
	if index < 0 || plan.NICs[index].Index < 0 {
		return false
	}
	for _, t := range plan.Targets {
		if t.NIC >= 0 && t.NIC < len(plan.NICs) && (plan.NICs[t.NIC].DHCP || plan.NICs[t.NIC].Gateway.IsValid()) {
			return t.NIC != index
		}
	}
	return false
}

// sharesSubnet says whether another NIC of the plan is in the same IPv4 subnet.
func sharesSubnet(plan *fw.Plan, index int) bool {
	if index < 0 {
		return false
	}
	for i, other := range plan.NICs {
		for _, theirs := range other.Address {
			for _, ours := range plan.NICs[index].Address {
				if i != index && ours.Addr().Is4() && ours.Contains(theirs.Addr()) {
					return true
				}
			}
		}
	}
	return false
}
