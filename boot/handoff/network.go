package handoff

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Interface is a network interface that leads to the root, or that one does
// which leads there: the NIC below a VLAN, the NICs of a bond.
type Interface struct {
	Name      string
	Index     int    // the kernel's ifindex
	MAC       string // aa:bb:cc:dd:ee:ff
	Permanent string // the MAC that it was made with; empty: not known
	MTU       int    // 0: not set by us
	Kind      string // "vlan", "bond"; empty: a NIC
	VLAN      uint16 // of Kind "vlan"
	Link      string // of Kind "vlan": the interface below
	Master    string // the bond that it is part of
	Options   []Option

	DHCP      bool // DHCPv4
	DHCP6     bool
	RA        bool           // addresses or routes from router advertisements
	Address   []netip.Prefix // as they stand, also those that were leased
	Gateway   []netip.Addr   // at most one of each IP version
	Routes    []Route        // beside the default ones
	DNS       []netip.Addr
	NoPeerDNS bool   // those that DHCP and routers name are passed over
	Domain    string // search domains, a space between them; what can be none is left out
	Hostname  string
	DUID      []byte     // of DHCPv6: how the boot named itself, RFC 8415, 11
	IAID      uint32     // of DHCPv6, and what it called its address
	Server    netip.Addr // the DHCP server
	Lease     int        // of DHCPv4, seconds
}

// Option is a setting of a bond, by the name that the kernel's bonding driver
// gives it.
type Option struct{ Name, Value string }

// Route leads to a destination; without Gateway it is on the link.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
}

// WriteNetwork tells the next system's network managers to take the interfaces
// over as they are, and to keep them: systemd-networkd, NetworkManager,
// ifupdown, klibc's and open-iscsi's scripts and cloud-init, each in its own
// form below run, which is "/run". Only those that the next system has read
// theirs. Parents stand before what is made of them. It writes all that it can,
// and returns what failed.
//
// systemd says whether the next system runs systemd; scripts take it for that
// when it has a folder for units there. Where that is not known, or not so, they
// are put aside for WriteUnits.
func WriteNetwork(run string, systemd bool, interfaces []Interface) error {
	var errs []error
	write := func(name string, mode os.FileMode, text string) {
		if strings.HasPrefix(name, "systemd/system/") && !systemd {
			name = path.Join(stage, name)
		}
		errs = append(errs, writeFile(path.Join(run, name), []byte(text), mode))
	}
	var ifstate strings.Builder
	leased6 := false
	for i := range interfaces {
		n := &interfaces[i]
		leased6 = leased6 || n.DHCP6
		base := "systemd/network/05-rootlun-" + n.Name
		if n.Kind != "" {
			write(base+".netdev", 0o644, n.netdev())
		}
		write(base+".network", 0o644, n.network(interfaces))
		if n.Kind == "" {
			write("systemd/network/98-rootlun-"+n.Name+".link", 0o644, n.linkFile())
		}
		// NetworkManager refuses a profile that others may read.
		write("NetworkManager/system-connections/rootlun-"+n.Name+".nmconnection", 0o600, n.profile(interfaces))
		write(fmt.Sprint("NetworkManager/devices/", n.Index), 0o644, n.device())
		if n.leads() {
			if n.any(netip.Addr.Is4) {
				write("net-"+n.Name+".conf", 0o644, n.klibc())
			}
			if n.any(netip.Addr.Is6) {
				write("net6-"+n.Name+".conf", 0o644, n.klibc6())
			}
		}
		fmt.Fprintf(&ifstate, "%s=%s\n", n.Name, n.Name)
		write("network/ifstate."+n.Name, 0o644, n.Name+"\n") // ifupdown 0.8 asks this one
	}
	if root := leading(interfaces); root != nil {
		// It has room for one name, and its being there makes cloud-init read
		// the net-*.conf files.
		write("initramfs/open-iscsi.interface", 0o644, root.Name+"\n")
	}
	write("network/ifstate", 0o644, ifstate.String())
	write("systemd/system/networking.service.d/50-rootlun.conf", 0o644, keepIfupdown)
	if leased6 {
		write("systemd/system/systemd-networkd.service.d/50-rootlun.conf", 0o644, keepNetworkd)
	}
	return errors.Join(errs...)
}

// keepNetworkd ends networkd before it can do anything: that of systemd 252
// drops the addresses of DHCPv6 when it stops, with KeepConfiguration=yes too,
// and the system could not be shut down without its root.
const keepNetworkd = `# The root file system is reached by an address of DHCPv6.
[Service]
KillSignal=SIGKILL
SuccessExitStatus=SIGKILL
`

// keepIfupdown keeps ifupdown, which takes all of ifstate down when the system
// stops, from taking the root along.
const keepIfupdown = `# The root file system is reached through this network.
[Service]
ExecStop=
`

// leads says whether the interface has addresses of its own.
func (n *Interface) leads() bool { return len(n.Address) > 0 && n.Master == "" }

// leading returns the first interface that has an address.
func leading(interfaces []Interface) *Interface {
	for i := range interfaces {
		if interfaces[i].leads() {
			return &interfaces[i]
		}
	}
	return nil
}

func (n *Interface) any(of func(netip.Addr) bool) bool {
	for _, p := range n.Address {
		if of(p.Addr()) {
			return true
		}
	}
	return false
}

// static returns the addresses that no protocol renews.
func (n *Interface) static() (list []netip.Prefix) {
	for _, p := range n.Address {
		leased := p.Addr().Is4() && n.DHCP || p.Addr().Is6() && (n.DHCP6 || n.RA)
		if !leased && !p.Addr().IsLinkLocalUnicast() || !leased && p.Addr().Is4() {
			list = append(list, p)
		}
	}
	return list
}

// domains returns those search domains that can be one, with sep between them.
func (n *Interface) domains(sep string) string {
	var list []string
	for _, d := range strings.Fields(n.Domain) {
		if strings.Trim(d, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == "" {
			list = append(list, d)
		}
	}
	return strings.Join(list, sep)
}

// above returns the interfaces of that kind which are made of this one.
func (n *Interface) above(all []Interface, kind string) (names []string) {
	for _, o := range all {
		if o.Kind == kind && (o.Link == n.Name || n.Master == o.Name) {
			names = append(names, o.Name)
		}
	}
	return names
}

// writeFile writes a file, whole or not at all, and its folders.
func writeFile(file string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(path.Dir(file), 0o755); err != nil {
		return err
	}
	temporary := file + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		os.Remove(temporary)
		return err
	}
	if err := unix.Rename(temporary, file); err != nil {
		return &os.PathError{Op: "rename", Path: file, Err: err}
	}
	return nil
}
