package fw

import (
	"net"
	"net/netip"

	"github.com/rootlun/rootlun/ibft"
)

// Table is a table of the firmware's as it was found.
type Table struct {
	*ibft.Table
	From string // "iBFT (ACPI)", "iscsi_boot3 (sysfs)"
}

// Tables returns the tables that Read takes the firmware's values from, for who
// wants them as they are. What Open Firmware says is put into one.
func Tables(s Sources) []Table {
	f := readFirmware(&s, false)
	if len(f.tables) == 0 && len(f.targets) > 0 {
		return []Table{{f.table(), f.from}}
	}
	return f.tables
}

// table puts what a place says that has no table into one.
func (f *firmware) table() *ibft.Table {
	t := &ibft.Table{Initiator: &ibft.Initiator{Valid: true, Boot: true, Name: f.initiator.Name}}
	for i := range f.nics {
		n := &f.nics[i]
		nic := ibft.NIC{
			Index: uint8(i), Valid: true, Boot: true, Gateway: n.Gateway, DHCP: n.DHCPServer, VLAN: n.VLAN, Hostname: n.Hostname,
			Origin: ibft.OriginStatic,
		}
		if n.DHCP || n.DHCP6 {
			nic.Origin = ibft.OriginDHCP
		}
		if len(n.Address) > 0 {
			nic.IP, nic.PrefixLen = n.Address[0].Addr(), n.Address[0].Bits()
		}
		if mac, err := net.ParseMAC(n.MAC); err == nil && len(mac) == len(nic.MAC) {
			nic.MAC = [6]byte(mac)
		}
		t.NICs = append(t.NICs, nic)
	}
	for i := range f.targets {
		g := &f.targets[i]
		target := ibft.Target{
			Index: uint8(i), Valid: true, Boot: true, Port: g.Port, LUN: g.LUN, NIC: uint8(max(g.NIC, 0)), Name: g.Name,
		}
		target.IP, _ = netip.ParseAddr(g.Host)
		if c := g.CHAP; c != nil {
			target.CHAPName, target.CHAPSecret, target.ReverseCHAPName, target.ReverseCHAPSecret = c.Username, c.Password, c.UsernameIn, c.PasswordIn
		}
		t.Targets = append(t.Targets, target)
	}
	return t
}
