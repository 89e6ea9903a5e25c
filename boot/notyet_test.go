package boot

import (
	"net/netip"
	"testing"

	"github.com/rootlun/rootlun/fw"
)

// TestNotYet: what the network can't do yet is refused by its name, and what
// has nothing to do with the NIC is not.
func TestNotYet(t *testing.T) {
	static := []netip.Prefix{netip.MustParsePrefix("192.168.50.2/24")}
	for _, tt := range []struct {
		nic  fw.NIC
		want string
	}{
		{fw.NIC{Name: "eth0", DHCP: true}, ""},
		{fw.NIC{Name: "eth0", LinkLocal: true, Address: static}, ""},
		{fw.NIC{Name: "eth0", DHCP6: true}, "DHCPv6"},
		{fw.NIC{Name: "eth0", RA: true, DHCP: true}, "an address from router advertisements"},
		{fw.NIC{Name: "eth0", LinkLocal: true}, "a link-local address alone"},
	} {
		if got := notYet(tt.nic); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.nic, got, tt.want)
		}
	}
}
