package boot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// sessionConfig turns a target of the plan into a session's configuration. Its
// host is an address here: see resolve.
func sessionConfig(plan *fw.Plan, t *fw.Target) (*session.Config, error) {
	cfg := new(session.Config)
	*cfg = session.Default()
	cfg.InitiatorName, cfg.TargetName = plan.Initiator.Name, t.Name
	addr, err := netip.ParseAddr(t.Host)
	if err != nil {
		return cfg, &configError{fmt.Errorf("target %s: the portal %q is no address", t.Title(), t.Host)}
	}
	cfg.Portal = netip.AddrPortFrom(addr, t.Port)
	if t.CHAP != nil {
		cfg.CHAP = loginCHAP(t.CHAP)
	}
	if multipath(plan, t, os.DirFS("/")) {
		cfg.Timers.Replacement = 5 * time.Second
		cfg.Timers.NoopInterval, cfg.Timers.NoopTimeout = 5*time.Second, 10*time.Second
	}
	for _, p := range plan.Params {
		if err := cfg.Set(p.Name, p.Value); err != nil {
			return cfg, &configError{fmt.Errorf("rd.iscsi.param: %w", err)}
		}
	}
	if cfg.CHAP != nil { // it is nobody else's
		cfg.CHAP.Optional = plan.AuthOptional
	}
	return cfg, nil
}

// CheckParams sees to what rd.iscsi.param says before a session needs it: of
// what is not supported it adds warnings to the plan, of what is wrong it
// returns all errors.
func CheckParams(plan *fw.Plan) (err error) {
	cfg := session.Default()
	for _, p := range plan.Params {
		if bad := cfg.Set(p.Name, p.Value); bad != nil {
			err = errors.Join(err, fmt.Errorf("rd.iscsi.param: %w", bad))
		}
	}
	for _, w := range cfg.Warnings {
		plan.Warnings = append(plan.Warnings, "rd.iscsi.param: "+w)
	}
	return err
}

// multipath says whether a session's timers are to be those for dm-multipath
// (open-iscsi's README, 8.1) and not those for a root on one disk (8.2), which
// are its opposite. On a disk that is mounted as it is I/O would fail a few
// seconds after its only way; so where nobody decides, several ways to a unit
// are not enough, the image must be one that puts them together.
func multipath(plan *fw.Plan, t *fw.Target, image fs.FS) bool {
	if plan.Timers == "root" || plan.Timers == "multipath" {
		return plan.Timers == "multipath"
	}
	ways := 0
	for _, o := range plan.Targets {
		if o.Name == t.Name && o.LUN == t.LUN {
			ways++
		}
	}
	return ways > 1 && mapsPaths(image)
}

// mapsPaths says whether an image has what puts several ways to a unit together.
// Debian 12's has no daemon, but the program that does it once.
func mapsPaths(image fs.FS) bool {
	for _, name := range [...]string{"sbin/multipathd", "usr/sbin/multipathd", "sbin/multipath", "usr/sbin/multipath"} {
		if exists(image, name) {
			return true
		}
	}
	return false
}

func loginCHAP(c *fw.CHAP) *login.CHAP {
	return &login.CHAP{
		Username: c.Username, Secret: login.Secret(c.Password),
		UsernameIn: c.UsernameIn, SecretIn: login.Secret(c.PasswordIn),
	}
}

// peers returns the portals that a NIC is to lead to, as far as they are
// addresses: a portal by name gets no host route, it is a gateway's to reach. Of
// several NICs it is not known which one leads to a target that names none.
func peers(plan *fw.Plan, index int) (addrs []netip.Addr) {
	for _, t := range plan.Targets {
		if addr, err := netip.ParseAddr(t.Host); err == nil && (t.NIC == index || t.NIC < 0 && len(plan.NICs) < 2) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// networkConfig turns a NIC of the plan into what boot/network takes.
func networkConfig(plan *fw.Plan, index int, nic fw.NIC) network.Config {
	cfg := network.Config{
		Name: nic.Name, PCI: nic.PCI, VLAN: nic.VLAN, DHCP: nic.DHCP, RA: nic.RA, DHCP6: nic.DHCP6, LinkLocal: nic.LinkLocal,
		MTU: nic.MTU, Hostname: nic.Hostname, VendorClass: plan.VendorClass, DNS: nic.DNS, NoPeerDNS: plan.NoPeerDNS,
		FindTimeout: plan.Timeouts.Link, LinkTimeout: max(plan.Timeouts.Up, plan.Timeouts.Carrier), DHCPTimeout: plan.Timeouts.DHCP,
		AutoTimeout: plan.Timeouts.Auto, DADTimeout: plan.Timeouts.DAD, RouteTimeout: plan.Timeouts.Route,
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
	if nic.Name == "" && nic.MAC != "" {
		cfg.MAC, _ = net.ParseMAC(nic.MAC)
	}
	for _, v := range plan.VLANs {
		if nic.Name == v.Name {
			cfg.Name, cfg.VLAN, cfg.VLANName = v.Link, v.ID, v.Name
			if mac, err := net.ParseMAC(v.Link); err == nil {
				cfg.Name, cfg.MAC = "", mac
			}
		}
	}
	for _, b := range plan.Bonds {
		bond := network.Bond{Name: b.Name, Ports: b.Links, MTU: b.MTU}
		for _, o := range b.Options {
			bond.Options = append(bond.Options, network.Option(o))
		}
		cfg.Bonds = append(cfg.Bonds, bond)
	}
	if nic.SetMAC != "" {
		cfg.SetMAC, _ = net.ParseMAC(nic.SetMAC)
	}
	for _, r := range plan.Routes {
		// Without an interface it is tried on all NICs, and goes where its
		// gateway is.
		if r.Interface == nic.Name || r.Interface != "" && r.Interface == nic.MAC || r.Interface == "" && (r.Gateway.IsValid() || index <= 0) {
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
