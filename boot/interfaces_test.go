package boot

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

// TestInterfaces: what stands below comes first, and once.
func TestInterfaces(t *testing.T) {
	mac := func(last byte) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0, 0, last} }
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	const one, two = "52:54:00:00:00:01", "52:54:00:00:00:02"
	plan := &fw.Plan{DNS: []netip.Addr{addr("192.0.2.53")}}
	nic := func(name string, index int, change func(*network.Result)) *network.Result {
		r := &network.Result{Name: name, Index: index, MAC: mac(1), Made: mac(1), MTU: 1500, Address: []netip.Prefix{prefix("192.0.2.15/24")}}
		if change != nil {
			change(r)
		}
		return r
	}
	below := func(index int, name string, made byte, mtu int) network.Part {
		return network.Part{Name: name, Index: index, MAC: mac(1), Made: mac(made), MTU: mtu}
	}
	bonded := func(r *network.Result) {
		r.Made, r.Driver, r.Ports = nil, "", []string{"eth0", "eth1"}
		r.Options = []network.Option{{Name: "mode", Value: "802.3ad"}}
		r.Below = []network.Part{below(2, "eth0", 1, 1500), below(3, "eth1", 2, 1500)}
	}
	dns, address := plan.DNS, []netip.Prefix{prefix("192.0.2.15/24")}
	eth0 := handoff.Interface{Name: "eth0", Index: 2, MAC: one, Permanent: one, DNS: dns, Address: address}
	ports := []handoff.Interface{
		{Name: "eth0", Index: 2, MAC: one, Permanent: one, Master: "bond0"},
		{Name: "eth1", Index: 3, MAC: one, Permanent: two, Master: "bond0"},
	}
	options := []handoff.Option{{Name: "mode", Value: "802.3ad"}}
	for _, tt := range []struct {
		name string
		nics []*network.Result
		want []handoff.Interface
	}{
		{"none", nil, nil},
		{"a lease", []*network.Result{nic("eth0", 2, func(r *network.Result) {
			r.Gateway, r.DHCP, r.MTU, r.DNS, r.Hostname = addr("192.0.2.1"), true, 9000, []netip.Addr{addr("192.0.2.54"), addr("192.0.2.53")}, "node"
			r.Lease = &network.Lease{Server: addr("192.0.2.2"), Duration: time.Hour, Domain: "example.org"}
			to := network.Route{Destination: prefix("198.51.100.0/24"), Gateway: addr("192.0.2.3")}
			r.Routes = []network.Route{{Destination: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.1")}, to, to}
		})}, []handoff.Interface{{
			Name: "eth0", Index: 2, MAC: one, Permanent: one, MTU: 9000, DHCP: true, Address: address, Gateway: []netip.Addr{addr("192.0.2.1")},
			Routes: []handoff.Route{{Destination: prefix("198.51.100.0/24"), Gateway: addr("192.0.2.3")}}, DNS: []netip.Addr{addr("192.0.2.53"), addr("192.0.2.54")},
			Hostname: "node", Domain: "example.org", Server: addr("192.0.2.2"), Lease: 3600,
		}}},
		{"IPv6", []*network.Result{nic("eth0", 2, func(r *network.Result) {
			r.Address, r.Gateway6, r.RA = []netip.Prefix{prefix("2001:db8::5/64")}, addr("fe80::1"), true
			r.Lease6 = &network.Lease6{Client: []byte{0, 3, 0, 1}, IAID: 7, Address: addr("2001:db8::5"), Domain: "example.org"}
		})}, []handoff.Interface{{
			Name: "eth0", Index: 2, MAC: one, Permanent: one, RA: true, DHCP6: true, DUID: []byte{0, 3, 0, 1}, IAID: 7, Domain: "example.org",
			Address: []netip.Prefix{prefix("2001:db8::5/64")}, Gateway: []netip.Addr{addr("fe80::1")}, DNS: dns,
		}}},
		{"a VLAN, and the NIC below itself", []*network.Result{
			nic("eth0.5", 9, func(r *network.Result) {
				r.Made, r.VLAN, r.Link, r.Below = nil, 5, "eth0", []network.Part{below(2, "eth0", 1, 9000)}
			}),
			nic("eth0", 2, nil),
		}, []handoff.Interface{eth0, {Name: "eth0.5", Index: 9, MAC: one, Kind: "vlan", VLAN: 5, Link: "eth0", DNS: dns, Address: address}}},
		{"a bond", []*network.Result{nic("bond0", 4, bonded)},
			append(ports[:2:2], handoff.Interface{Name: "bond0", Index: 4, MAC: one, Kind: "bond", Options: options, DNS: dns, Address: address})},
		{"two VLANs over a bond", []*network.Result{
			nic("a", 5, func(r *network.Result) {
				bonded(r)
				r.VLAN, r.Link, r.Below = 5, "bond0", append(r.Below, network.Part{Name: "bond0", Index: 4, MAC: mac(1), MTU: 1500})
			}),
			nic("b", 6, func(r *network.Result) {
				bonded(r)
				r.VLAN, r.Link, r.Below = 6, "bond0", append(r.Below, network.Part{Name: "bond0", Index: 4, MAC: mac(1), MTU: 1500})
			}),
		}, append(ports[:2:2],
			handoff.Interface{Name: "bond0", Index: 4, MAC: one, Kind: "bond", Options: options},
			handoff.Interface{Name: "a", Index: 5, MAC: one, Kind: "vlan", VLAN: 5, Link: "bond0", DNS: dns, Address: address},
			handoff.Interface{Name: "b", Index: 6, MAC: one, Kind: "vlan", VLAN: 6, Link: "bond0", DNS: dns, Address: address})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equal := []cmp.Option{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
			if diff := cmp.Diff(tt.want, interfaces(plan, tt.nics), equal...); diff != "" {
				t.Error(diff)
			}
		})
	}
	// rd.peerdns=0: a result has none of the network's servers then.
	leased := nic("eth0", 2, func(r *network.Result) { r.Lease = &network.Lease{Domain: "example.org"} })
	if got := interfaces(&fw.Plan{NoPeerDNS: true}, []*network.Result{leased}); got[0].Domain != "" || !got[0].NoPeerDNS {
		t.Errorf("rd.peerdns=0: %+v", got[0])
	}
}
