package fw

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strings"

	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/internal/stable"
)

const (
	acpiDir = "sys/firmware/acpi/tables"
	ibftDir = "sys/firmware/ibft"
)

// firmware is what a table of the firmware's says. A zero value says nothing.
// Its errors are of tables, targets and fields that cannot be used.
type firmware struct {
	report
	from      string // where a table was found; empty: nowhere
	initiator Initiator
	nics      []NIC    // in the order of the table
	targets   []Target // the one to try first stands first
}

// readFirmware takes the table that is given, else the first table that names a target: the raw ones of
// ACPI, then what the kernel's iscsi_ibft shows in sysfs. Without any it takes
// the first that can be read at all.
func readFirmware(s Sources) firmware {
	fsys := s.FS
	if s.Table != nil {
		t, err := ibft.Parse(s.Table)
		if err != nil {
			var f firmware
			f.fail(&Error{Place: s.TableFrom, Err: err})
			return f
		}
		return fromTable(t, "iBFT ("+s.TableFrom+")")
	}
	var out firmware
	found := false
	take := func(t *ibft.Table, from string) (done bool) {
		f := fromTable(t, from)
		f.errs = append(out.errs, f.errs...)
		f.warnings = append(out.warnings, f.warnings...)
		if !found || len(f.targets) > 0 {
			out, found = f, true
		} else {
			out.report = f.report
		}
		return len(out.targets) > 0
	}

	for _, name := range acpiTables(fsys) {
		t, err := readACPI(fsys, name)
		if err != nil {
			out.fail(&Error{Place: "/" + name, Err: err})
			continue
		}
		if take(t, "iBFT (ACPI)") {
			return out
		}
	}
	if t, err := readSysfs(fsys, ibftDir); err == nil {
		take(t, "iBFT (sysfs)")
	} else if !errors.Is(err, fs.ErrNotExist) {
		out.fail(&Error{Place: "/" + ibftDir, Err: err})
	}
	return out
}

// TargetInACPI reports whether a table in ACPI names a target that can be used.
// Without one it is worth while to load the kernel's iscsi_ibft before Read.
func TargetInACPI(fsys fs.FS) bool {
	for _, name := range acpiTables(fsys) {
		if t, err := readACPI(fsys, name); err == nil && len(fromTable(t, "").targets) > 0 {
			return true
		}
	}
	return false
}

func readACPI(fsys fs.FS, name string) (*ibft.Table, error) {
	raw, err := readSmall(fsys, name, 64<<10) // its offsets have 16 bits
	if err != nil {
		return nil, err
	}
	return ibft.Parse(raw)
}

// acpiTables returns the paths of the tables that ACPI has. Two with one
// signature are iBFT1 and iBFT2.
func acpiTables(fsys fs.FS) (names []string) {
	dir, _ := fs.ReadDir(fsys, acpiDir) // a machine without ACPI has none
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
func fromTable(t *ibft.Table, from string) firmware {
	f := firmware{from: from}
	for _, p := range t.Problems {
		f.warn(from, fmt.Sprintf(": offset %d: ", p.Offset), p.Reason)
	}
	if t.Initiator != nil && t.Initiator.Name != "" {
		f.initiator = Initiator{t.Initiator.Name, from}
	}
	for i := range t.NICs {
		f.nics = append(f.nics, f.nic(&t.NICs[i], from))
	}
	for i := range t.Targets {
		f.target(t, &t.Targets[i], from)
	}
	stable.Sort(f.targets, func(a, b Target) int { return cmp.Compare(rank(a), rank(b)) })
	return f
}

// rank says when to try a target: boot-selected ones before valid ones before
// others.
func rank(t Target) int {
	switch {
	case t.Boot && t.Valid:
		return 0
	case t.Valid:
		return 1
	}
	return 2
}

func (f *firmware) nic(n *ibft.NIC, from string) NIC {
	out := NIC{
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
	fail := func(err error) { f.fail(&Error{Place: from, Word: where, Err: err}) }
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
