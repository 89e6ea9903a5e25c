package ibft

import (
	"net/netip"
	"testing"
)

func TestVLANID(t *testing.T) {
	for vlan, want := range map[uint16]uint16{
		0: 0, 1: 1, 42: 42, 4094: 4094, 4095: 0, 0xffff: 0,
		0xa02a: 42, 0xe000: 0,
	} {
		if got := (&NIC{VLAN: vlan}).VLANID(); got != want {
			t.Errorf("%#x: %d, want %d", vlan, got, want)
		}
	}
}

func TestPCIAddress(t *testing.T) {
	for pci, want := range map[uint16]string{
		0: "", 0x0018: "0000:00:03.0", 0x03ff: "0000:03:1f.7", 0xc101: "0000:c1:00.1",
	} {
		if got := (&NIC{PCI: pci}).PCIAddress(); got != want {
			t.Errorf("%#x: %q, want %q", pci, got, want)
		}
	}
}

func TestUseDHCP(t *testing.T) {
	static := NIC{IP: ip("10.0.0.2"), PrefixLen: 24, Origin: OriginStatic}
	for name, c := range map[string]struct {
		change func(*NIC)
		want   bool
	}{
		"static":         {func(n *NIC) {}, false},
		"origin 0":       {func(n *NIC) { n.Origin = OriginOther }, false},
		"origin 3":       {func(n *NIC) { n.Origin = OriginDHCP }, true},
		"origin 0, DHCP": {func(n *NIC) { n.Origin = OriginOther; n.DHCP = ip("10.0.0.1") }, true},
		"prefix 0":       {func(n *NIC) { n.PrefixLen = 0 }, true},
		"no address":     {func(n *NIC) { n.IP = netip.Addr{} }, true},
	} {
		n := static
		c.change(&n)
		if got := n.UseDHCP(); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestPortal(t *testing.T) {
	if got := (&Target{IP: ip("10.0.0.2")}).Portal(); got != netip.MustParseAddrPort("10.0.0.2:3260") {
		t.Errorf("port 0: %s", got)
	}
	if got := (&Target{IP: ip("fd00::2"), Port: 3261}).Portal(); got != netip.MustParseAddrPort("[fd00::2]:3261") {
		t.Errorf("port 3261: %s", got)
	}
	if (&Target{}).Portal().IsValid() {
		t.Error("no address: a portal")
	}
}

func TestAuth(t *testing.T) {
	const fails = 99
	for name, c := range map[string]struct {
		g    Target
		want CHAPType
	}{
		"none":                   {Target{}, CHAPNone},
		"none, strings given":    {Target{CHAPName: "u", CHAPSecret: "s"}, CHAPNone},
		"CHAP":                   {Target{CHAPType: 1, CHAPName: "u", CHAPSecret: "s"}, CHAPOneWay},
		"CHAP, reverse given":    {Target{CHAPType: 1, CHAPName: "u", CHAPSecret: "s", ReverseCHAPName: "r", ReverseCHAPSecret: "r"}, CHAPOneWay},
		"CHAP, no name":          {Target{CHAPType: 1, CHAPSecret: "s"}, fails},
		"CHAP, no secret":        {Target{CHAPType: 1, CHAPName: "u"}, fails},
		"mutual":                 {Target{CHAPType: 2, CHAPName: "u", CHAPSecret: "s", ReverseCHAPName: "r", ReverseCHAPSecret: "r"}, CHAPMutual},
		"mutual, no rev. name":   {Target{CHAPType: 2, CHAPName: "u", CHAPSecret: "s", ReverseCHAPSecret: "r"}, CHAPMutual},
		"mutual, no rev. secret": {Target{CHAPType: 2, CHAPName: "u", CHAPSecret: "s", ReverseCHAPName: "r"}, fails},
		"mutual, reverse only":   {Target{CHAPType: 2, ReverseCHAPName: "r", ReverseCHAPSecret: "r"}, fails},
		"unknown type":           {Target{CHAPType: 3, CHAPName: "u", CHAPSecret: "s"}, fails},
	} {
		got, err := c.g.Auth()
		if (err != nil) != (c.want == fails) || err == nil && got != c.want {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestNICOf(t *testing.T) {
	a := NIC{Index: 0, IP: ip("10.0.0.2"), PrefixLen: 24}
	b := NIC{Index: 1, IP: ip("10.0.1.2"), PrefixLen: 24}
	twin := NIC{Index: 0, IP: ip("10.0.1.2"), PrefixLen: 24}
	v6 := NIC{Index: 5, IP: ip("fd00::2"), PrefixLen: 64}
	for name, c := range map[string]struct {
		nics []NIC
		g    Target
		want int
	}{
		"no NIC":                   {nil, Target{IP: ip("10.0.0.9")}, -1},
		"by index, not position":   {[]NIC{b, a}, Target{NIC: 0, IP: ip("10.0.0.9")}, 1},
		"by index, other subnet":   {[]NIC{a, b}, Target{NIC: 0, IP: ip("10.0.1.9")}, 0},
		"out of range, by subnet":  {[]NIC{a, b}, Target{NIC: 0xff, IP: ip("10.0.1.9")}, 1},
		"out of range, IPv6":       {[]NIC{a, v6}, Target{NIC: 0xff, IP: ip("fd00::9")}, 1},
		"out of range, sole NIC":   {[]NIC{b}, Target{NIC: 0, IP: ip("10.9.9.9")}, 0},
		"out of range, undecided":  {[]NIC{a, b}, Target{NIC: 7, IP: ip("10.9.9.9")}, -1},
		"index twice, by subnet":   {[]NIC{a, twin}, Target{NIC: 0, IP: ip("10.0.1.9")}, 1},
		"index twice, no subnet":   {[]NIC{a, twin}, Target{NIC: 0, IP: ip("10.9.9.9")}, 0},
		"no prefix, no subnet":     {[]NIC{{Index: 1, IP: ip("10.0.0.2")}, {Index: 2}}, Target{NIC: 0, IP: ip("10.0.0.2")}, -1},
		"target without address":   {[]NIC{a, b}, Target{NIC: 7}, -1},
		"NIC without address, one": {[]NIC{{Index: 3}}, Target{NIC: 3}, 0},
	} {
		if got := (&Table{NICs: c.nics}).NICOf(&c.g); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
