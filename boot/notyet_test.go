package boot

import (
	"net/netip"
	"testing"

	"github.com/rootlun/rootlun/fw"
)

// TestNotYet: what the network can't do yet is refused by its name, and what
// has nothing to do with the NIC is not.
func TestNotYet(t *testing.T) {
	plan := &fw.Plan{
		VLANs:   []fw.VLAN{{Name: "eth0.5", ID: 5, Link: "eth0"}},
		Bonds:   []fw.Bond{{Name: "bond0", Links: []string{"eth1", "eth2"}}},
		Routes:  []fw.Route{{Destination: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("192.168.50.254")}},
		Targets: []fw.Target{{Host: "192.168.50.1", NIC: 0}, {Host: "10.1.0.1", NIC: 1}},
	}
	static := []netip.Prefix{netip.MustParsePrefix("192.168.50.2/24")}
	for _, tt := range []struct {
		index int
		nic   fw.NIC
		want  string
	}{
		{0, fw.NIC{Name: "eth0", DHCP: true}, ""},
		{0, fw.NIC{Name: "eth0", LinkLocal: true, Address: static}, ""},
		{0, fw.NIC{MAC: "52:54:00:12:34:56", VLAN: 5}, "a VLAN"},
		{0, fw.NIC{Name: "eth0.5", DHCP: true}, "a VLAN"},
		{0, fw.NIC{Name: "bond0", DHCP: true}, "a bond"},
		{0, fw.NIC{Name: "eth0", SetMAC: "52:54:00:12:34:56"}, "another MAC than its own"},
		{0, fw.NIC{Name: "eth0", DHCP6: true}, "DHCPv6"},
		{0, fw.NIC{Name: "eth0", RA: true, DHCP: true}, "an address from router advertisements"},
		{0, fw.NIC{Name: "eth0", LinkLocal: true}, "a link-local address alone"},
		{1, fw.NIC{Name: "eth1", Address: static}, "the target's route of rd.route="},
	} {
		if got := notYet(plan, tt.index, tt.nic); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.nic, got, tt.want)
		}
	}
}
