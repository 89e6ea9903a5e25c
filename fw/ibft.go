package fw

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"net/netip"
	"path"
	"strings"

	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/ibft"
)

const (
	acpiDir = "sys/firmware/acpi/tables"
	ibftDir = "sys/firmware/ibft"
)

// readACPI reads the raw tables of ACPI.
func readACPI(fsys fs.FS, lenient bool) (out []*firmware) {
	for _, name := range acpiTables(fsys) {
		raw, err := readSmall(fsys, name, 64<<10) // its offsets have 16 bits
		if err != nil {
			out = append(out, refused("/"+name, err))
			continue
		}
		out = append(out, readTable(raw, "/"+name, "iBFT (ACPI)", lenient))
	}
	return out
}

// TargetInACPI reports whether a table in ACPI names a target that can be used.
// Without one it is worth while to load the kernel's iscsi_ibft before Read.
func TargetInACPI(fsys fs.FS) bool {
	for _, f := range readACPI(fsys, false) {
		if len(f.targets) > 0 {
			return true
		}
	}
	return false
}

// acpiTables returns the paths of the tables that ACPI has. Two with one
// signature are iBFT1 and iBFT2.
func acpiTables(fsys fs.FS) (names []string) {
	dir, _ := stable.ReadDir(fsys, acpiDir) // a machine without ACPI has none
	for _, e := range dir {
		for _, sig := range []string{"iBFT", "IBFT", "BIFT"} {
			if strings.HasPrefix(e.Name(), sig) {
				names = append(names, path.Join(acpiDir, e.Name()))
			}
		}
	}
	return names
}

// fromTable makes NICs and targets of a table. from is what their From says.
func fromTable(t *ibft.Table, from string) *firmware {
	f := &firmware{from: from, tables: []Table{{t, from}}}
	const most = 20 // what is nonsense is so in many places
	for i, p := range t.Problems {
		if i == most {
			f.warn(from, fmt.Sprintf(": %d more of the kind", len(t.Problems)-most))
			break
		}
		f.warn(from, ": ", problem(p))
	}
	if t.Initiator != nil && t.Initiator.Name != "" {
		f.initiator = Initiator{t.Initiator.Name, from}
	}
	for i := range t.NICs {
		f.nics = append(f.nics, *f.nic(&t.NICs[i], from))
	}
	for i := range t.Targets {
		f.target(t, &t.Targets[i], from)
	}
	f.sort()
	return f
}

// problem names the place of a Problem: an offset, or with sysfs a file.
func problem(p ibft.Problem) string {
	if p.Offset == 0 {
		return p.Reason
	}
	return fmt.Sprintf("offset %d: %s", p.Offset, p.Reason)
}

func (f *firmware) nic(n *ibft.NIC, from string) *NIC {
	out := &NIC{
		Index:      int(n.Index),
		PCI:        n.PCIAddress(),
		VLAN:       n.VLANID(),
		DHCP:       n.UseDHCP(),
		Origin:     origin(n),
		Gateway:    present(n.Gateway),
		DHCPServer: present(n.DHCP),
		Valid:      n.Valid,
		Boot:       n.Boot,
		From:       from,
	}
	if n.MAC != [6]byte{} {
		out.MAC = net.HardwareAddr(n.MAC[:]).String()
	}
	if ip := present(n.IP); ip.IsValid() && n.PrefixLen > 0 {
		out.Address = []netip.Prefix{netip.PrefixFrom(ip, n.PrefixLen)}
		// DHCPv4 does not give IPv6: what firmware recorded is used.
		out.DHCP = out.DHCP && ip.Is4()
	} else if ip.IsValid() && n.Origin != ibft.OriginDHCP {
		f.warn(from, fmt.Sprintf(": NIC %d: ", n.Index), ip.String(), " has no usable prefix length; DHCP is asked")
	}
	for _, a := range n.DNS {
		if a = present(a); a.IsValid() {
			out.DNS = append(out.DNS, a)
		}
	}
	if n.Hostname != "" {
		if err := checkHostname(n.Hostname); err != nil {
			f.warn(from, fmt.Sprintf(": NIC %d: host name ", n.Index), quote(n.Hostname), ": ", err.Error(), "; left out")
		} else {
			out.Hostname = n.Hostname
		}
	}
	return out
}

// origin names where a NIC's addresses come from. A table that names a DHCP
// server means DHCP whatever its origin says.
func origin(n *ibft.NIC) string {
	switch {
	case n.Origin == ibft.OriginDHCP || n.DHCP.IsValid():
		return "dhcp"
	case n.Origin == ibft.OriginStatic:
		return "static"
	case n.Origin == ibft.OriginRA:
		return "ra"
	case n.Origin == ibft.OriginWellKnown:
		return "wellknown"
	}
	return "other"
}

// target adds a target of the table, or says why it cannot be used. One that
// asks for more authentication than the table has secrets for cannot: to log
// in with less is what an attacker would like.
func (f *firmware) target(t *ibft.Table, g *ibft.Target, from string) {
	where := fmt.Sprintf("target %d", g.Index)
	fail := func(err error) { f.fail(mistake(from, where, "", err)) }
	if g.Name == "" && !g.IP.IsValid() && !g.Valid && !g.Boot {
		return // an empty slot
	}
	if g.Name == "" {
		fail(errors.New("it has no name"))
		return
	}
	odd, err := checkName(g.Name)
	if err != nil {
		odd = err.Error()
	}
	if odd != "" {
		f.warn(from, ": ", where, ": the name ", quote(g.Name), ": ", odd, "; taken as it is")
	}
	portal := g.Portal()
	if !portal.IsValid() {
		fail(errors.New("it has no address"))
		return
	}
	if a := portal.Addr(); a.Is4() && a.As4()[0] >= 240 {
		f.warn(from, ": ", where, ": ", a.String(), " is no machine's address: some firmware writes an IPv6 address like this, cut short")
	}
	if p := portal.Port(); p != defaultPort && bits.ReverseBytes16(p) == defaultPort {
		f.warn(from, ": ", where, fmt.Sprintf(": port %d is %d with its bytes exchanged; taken as it is", p, defaultPort))
	}
	auth, err := g.Auth()
	if err != nil {
		fail(err)
		return
	}
	out := Target{
		Index: int(g.Index),
		Name:  g.Name,
		Host:  portal.Addr().String(),
		Port:  portal.Port(),
		LUN:   g.LUN,
		NIC:   t.NICOf(g),
		Valid: g.Valid,
		Boot:  g.Boot,
		From:  from,
	}
	switch auth {
	case ibft.CHAPMutual:
		out.CHAP = &CHAP{g.CHAPName, g.CHAPSecret, g.ReverseCHAPName, g.ReverseCHAPSecret, from}
	case ibft.CHAPOneWay:
		out.CHAP = &CHAP{Username: g.CHAPName, Password: g.CHAPSecret, From: from}
	}
	if auth == ibft.CHAPNone && g.CHAPSecret != "" || auth != ibft.CHAPMutual && g.ReverseCHAPSecret != "" {
		f.warn(from, ": ", where, fmt.Sprintf(": its CHAP type %d leaves secrets unused that it has", g.CHAPType))
	}
	f.targets = append(f.targets, out)
}
