package boot

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

func TestNetworkConfig(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	mac := func(s string) net.HardwareAddr { m, _ := net.ParseMAC(s); return m }
	bond := fw.Bond{Name: "bond0", Links: []string{"eth0", "52:54:00:00:00:02"}, Options: []fw.Param{{Name: "mode", Value: "1"}}, MTU: 9000}
	bonds := []network.Bond{{Name: "bond0", Ports: bond.Links, Options: []network.Option{{Name: "mode", Value: "1"}}, MTU: 9000}}
	static := func(index int, mac, address, gateway string) fw.NIC {
		return fw.NIC{Index: index, MAC: mac, Address: []netip.Prefix{prefix(address)}, Gateway: addr(gateway)}
	}
	two := func(index int) *fw.Plan {
		return &fw.Plan{
			NICs:    []fw.NIC{static(index, "52:54:00:00:00:01", "10.1.0.2/24", "10.1.0.1"), static(index, "52:54:00:00:00:02", "10.2.0.2/24", "10.2.0.1")},
			Targets: []fw.Target{{NIC: 1, Host: "192.0.2.2"}, {NIC: 0, Host: "192.0.2.1"}, {NIC: -1, Host: "disk.example"}},
		}
	}
	same := two(-1)
	same.NICs[1].Address[0] = prefix("10.1.0.3/24")

	for _, test := range []struct {
		name  string
		plan  *fw.Plan
		index int
		want  network.Config
	}{
		{"firmware's VLAN, PCI address and old lease", &fw.Plan{NICs: []fw.NIC{{MAC: "52:54:00:00:00:01", PCI: "0000:00:03.0", VLAN: 5, DHCP: true,
			Address: []netip.Prefix{prefix("10.5.0.7/24")}, Gateway: addr("10.5.0.1"), DNS: []netip.Addr{addr("10.5.0.3")}, MTU: 1400, Hostname: "h"}}, Targets: []fw.Target{{Host: "10.5.0.1"}}, NoPeerDNS: true}, 0,
			network.Config{MAC: mac("52:54:00:00:00:01"), PCI: "0000:00:03.0", VLAN: 5, DHCP: true, Requested: addr("10.5.0.7"),
				MTU: 1400, Hostname: "h", DNS: []netip.Addr{addr("10.5.0.3")}, NoPeerDNS: true, Peers: []netip.Addr{addr("10.5.0.1")}}},
		{"vlan= over bond=", &fw.Plan{NICs: []fw.NIC{{Index: -1, Name: "storage", DHCP: true, SetMAC: "02:00:00:00:00:07"}},
			VLANs: []fw.VLAN{{Name: "other", ID: 9, Link: "eth0"}, {Name: "storage", ID: 7, Link: "bond0"}}, Bonds: []fw.Bond{bond}}, 0,
			network.Config{Name: "bond0", VLAN: 7, VLANName: "storage", Bonds: bonds, DHCP: true, SetMAC: mac("02:00:00:00:00:07")}},
		{"vlan= over a NIC that ifname= names, and its route", &fw.Plan{NICs: []fw.NIC{{Index: -1, Name: "storage.7", DHCP: true}},
			VLANs:  []fw.VLAN{{Name: "storage.7", ID: 7, Link: "52:54:00:00:00:02"}},
			Routes: []fw.Route{{Destination: prefix("192.0.2.0/24"), Interface: "52:54:00:00:00:03"}}}, 0,
			network.Config{MAC: mac("52:54:00:00:00:02"), VLAN: 7, VLANName: "storage.7", DHCP: true}},
		{"a route by a MAC", &fw.Plan{NICs: []fw.NIC{{Index: -1, MAC: "52:54:00:00:00:03", DHCP: true}},
			Routes: []fw.Route{{Destination: prefix("192.0.2.0/24"), Interface: "52:54:00:00:00:03"}}}, 0,
			network.Config{MAC: mac("52:54:00:00:00:03"), DHCP: true, Routes: []network.Route{{Destination: prefix("192.0.2.0/24")}}}},
		{"no NIC in the plan", &fw.Plan{Targets: []fw.Target{{NIC: -1, Host: "10.5.0.1"}}}, -1,
			network.Config{DHCP: true, Peers: []netip.Addr{addr("10.5.0.1")}}},
		{"the firmware's NIC of the first target has the default route", two(0), 1,
			network.Config{MAC: mac("52:54:00:00:00:02"), Address: []netip.Prefix{prefix("10.2.0.2/24")}, Gateway: addr("10.2.0.1"),
				Peers: []netip.Addr{addr("192.0.2.2")}}},
		{"the others have not", two(0), 0,
			network.Config{MAC: mac("52:54:00:00:00:01"), Address: []netip.Prefix{prefix("10.1.0.2/24")}, Gateway: addr("10.1.0.1"),
				Peers: []netip.Addr{addr("192.0.2.1")}, Narrow: true}},
		{"the command line's all have, and share a subnet", same, 0,
			network.Config{MAC: mac("52:54:00:00:00:01"), Address: []netip.Prefix{prefix("10.1.0.2/24")}, Gateway: addr("10.1.0.1"),
				Peers: []netip.Addr{addr("192.0.2.1")}, Loose: true}},
		{"rd.route=", &fw.Plan{NICs: []fw.NIC{{Name: "eth0", DHCP: true}, {Name: "eth1", DHCP: true}}, Routes: []fw.Route{
			{Destination: prefix("198.51.100.0/24"), Gateway: addr("10.1.0.1")},
			{Destination: prefix("203.0.113.0/24"), Gateway: addr("10.1.0.1"), Interface: "eth1"},
			{Destination: prefix("192.0.2.0/24"), Interface: "eth0"},
			{Destination: prefix("192.0.2.1/32")},
		}}, 1, network.Config{Name: "eth1", DHCP: true, Routes: []network.Route{
			{Destination: prefix("198.51.100.0/24"), Gateway: addr("10.1.0.1")}, {Destination: prefix("203.0.113.0/24"), Gateway: addr("10.1.0.1")}}}},
	} {
		nic := fw.NIC{DHCP: true}
		if test.index >= 0 {
			nic = test.plan.NICs[test.index]
		}
		got := networkConfig(test.plan, test.index, nic)
		if d := cmp.Diff(test.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

func TestSessionConfig(t *testing.T) {
	target := fw.Target{Name: "iqn.b", Host: "192.0.2.1", Port: 3260, CHAP: &fw.CHAP{Username: "me", Password: "secret-of-mine"}}
	for _, tt := range []struct {
		name     string
		plan     fw.Plan
		chap     *fw.CHAP
		optional bool // and there are credentials
	}{
		{"credentials are held to", fw.Plan{}, target.CHAP, false},
		{"rd.rootlun.auth=optional", fw.Plan{AuthOptional: true}, target.CHAP, true},
		{"with rd.iscsi.param's credentials", fw.Plan{AuthOptional: true, Params: []fw.Param{{Name: "node.session.auth.username", Value: "you"}}}, nil, true},
		{"without any", fw.Plan{AuthOptional: true}, nil, false},
	} {
		target.CHAP = tt.chap
		cfg, err := sessionConfig(&tt.plan, &target)
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.CHAP != nil && cfg.CHAP.Optional; got != tt.optional {
			t.Errorf("%s: optional is %v", tt.name, got)
		}
	}
	if _, err := sessionConfig(&fw.Plan{Params: []fw.Param{{Name: "node.session.queue_depth", Value: "0"}}}, &target); err == nil || pace(err) != 0 {
		t.Errorf("a wrong setting: %v", err)
	}
}

func TestCheckParams(t *testing.T) {
	plan := &fw.Plan{Warnings: []string{"before"}, Params: []fw.Param{
		{Name: "node.session.nr_sessions", Value: "4"}, {Name: "node.session.queue_depth", Value: "0"},
		{Name: "node.session.auth.pasword", Value: "open-sesame"}, {Name: "iface.mtu", Value: "9000"}, {Name: "node.session.cmds_max", Value: "64"},
	}}
	err := CheckParams(plan)
	want := []string{"before", `rd.iscsi.param: node.session.nr_sessions: only 1 is supported, and "4" has no effect`,
		"rd.iscsi.param: iface.mtu: this setting is not supported, and has no effect"}
	if d := cmp.Diff(want, plan.Warnings); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
	const wrong = "rd.iscsi.param: node.session.queue_depth = \"0\": want a number from 1 to 1024\nrd.iscsi.param: node.session.auth.pasword: this setting is not supported"
	if err == nil || err.Error() != wrong {
		t.Errorf("got %v\nwant %s", err, wrong)
	}
}

func TestNICFrom(t *testing.T) {
	for want, n := range map[string]fw.NIC{
		"iBFT (ACPI)":                     {From: "iBFT (ACPI)", AddressFrom: "iBFT (ACPI)"},
		"iBFT (ACPI), addresses from ip=": {From: "iBFT (ACPI)", AddressFrom: "ip="},
	} {
		if got := nicFrom(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
