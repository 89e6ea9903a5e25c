package fw

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pfx(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func adr(s ...string) (a []netip.Addr) {
	for _, s := range s {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func TestIP(t *testing.T) {
	gw := netip.MustParseAddr("192.168.50.254")
	dhcp := NIC{DHCP: true, Origin: "dhcp"}
	with := func(n NIC, set func(*NIC)) []NIC {
		set(&n)
		return []NIC{n}
	}
	static := NIC{Origin: "static", Address: pfx("192.168.50.2/24"), Gateway: gw, Hostname: "host", Name: "eth0"}
	for _, tt := range []struct {
		line string
		want []NIC
	}{
		// dracut.cmdline(7), first form
		{"ip=dhcp", []NIC{dhcp}},
		{"ip=on", []NIC{dhcp}},
		{"ip=any", []NIC{dhcp}},
		{"ip=single-dhcp", []NIC{dhcp}},
		{"ip=none", nil},
		{"ip=off", nil},
		{"ip=dhcp6", []NIC{{DHCP6: true, Origin: "dhcp"}}},
		{"ip=auto6", []NIC{{RA: true, Origin: "ra"}}},
		{"ip=either6", []NIC{{RA: true, DHCP6: true, Origin: "ra"}}},
		{"ip=link6", []NIC{{LinkLocal: true, Origin: "other"}}},
		{"ip=ibft", nil},
		// dracut's parser alone: several with commas
		{"ip=dhcp,dhcp6", []NIC{{DHCP: true, DHCP6: true, Origin: "dhcp"}}},
		{"ip=eth0:dhcp,auto6", []NIC{{Name: "eth0", DHCP: true, RA: true, Origin: "dhcp"}}},
		// nm-initrd-generator's
		{"ip=auto", []NIC{{DHCP: true, RA: true, Origin: "dhcp"}}},
		{"ip=fw", nil},
		{"ip=192.168.50.2/24::192.168.50.254::host:eth0:none", []NIC{static}},
		{"ip=192.168.50.2/24::192.168.50.254:24:host:eth0:none", []NIC{static}},
		// second form
		{"ip=eth0:dhcp6", []NIC{{Name: "eth0", DHCP6: true, Origin: "dhcp"}}},
		{"ip=eth0:auto6:1400", []NIC{{Name: "eth0", RA: true, Origin: "ra", MTU: 1400}}},
		{"ip=eth0:link6", []NIC{{Name: "eth0", LinkLocal: true, Origin: "other"}}},
		{"ip=eth0:either6", []NIC{{Name: "eth0", RA: true, DHCP6: true, Origin: "ra"}}},
		{"ip=eth0:dhcp", with(dhcp, func(n *NIC) { n.Name = "eth0" })},
		{"ip=eth0:on:9000", with(dhcp, func(n *NIC) { n.Name, n.MTU = "eth0", 9000 })},
		{"ip=eth0:any::", with(dhcp, func(n *NIC) { n.Name = "eth0" })},
		{"ip=52:54:00:12:34:AB:dhcp", with(dhcp, func(n *NIC) { n.MAC = "52:54:00:12:34:ab" })},
		{"ip=52-54-00-12-34-AB:dhcp:1500", with(dhcp, func(n *NIC) { n.MAC, n.MTU = "52:54:00:12:34:ab", 1500 })},
		{"ip=eth0:off", nil},
		{"ip=eth0:dhcp:1500:52:54:00:12:34:AB", with(dhcp, func(n *NIC) { n.Name, n.MTU, n.SetMAC = "eth0", 1500, "52:54:00:12:34:ab" })},
		{"ip=52:54:00:12:34:56:dhcp::52:54:00:12:34:AB", with(dhcp, func(n *NIC) { n.MAC, n.SetMAC = "52:54:00:12:34:56", "52:54:00:12:34:ab" })},
		// third form
		{"ip=192.168.50.2::192.168.50.254:255.255.255.0:host:eth0:none", []NIC{static}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:off", []NIC{static}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:static", []NIC{static}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:", []NIC{static}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0", []NIC{static}},
		{"ip=192.168.50.2:192.168.50.1:192.168.50.254:24:host:eth0:none", []NIC{static}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none:9000", with(static, func(n *NIC) { n.MTU = 9000 })},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none:9000:", with(static, func(n *NIC) { n.MTU = 9000 })},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none::", []NIC{static}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none:9000:52:54:00:12:34:AB", with(static, func(n *NIC) {
			n.MTU, n.SetMAC = 9000, "52:54:00:12:34:ab"
		})},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none::52:54:00:12:34:AB", with(static, func(n *NIC) { n.SetMAC = "52:54:00:12:34:ab" })},
		{"ip=192.168.50.2::192.168.50.254:24:host:52:54:00:12:34:56:none", with(static, func(n *NIC) {
			n.Name, n.MAC = "", "52:54:00:12:34:56"
		})},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:dhcp", with(static, func(n *NIC) { n.DHCP, n.Origin = true, "dhcp" })},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none:192.168.50.3:192.168.50.4", with(static, func(n *NIC) {
			n.DNS = adr("192.168.50.3", "192.168.50.4")
		})},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none::192.168.50.4", with(static, func(n *NIC) { n.DNS = adr("192.168.50.4") })},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none:192.168.50.3:192.168.50.4:192.168.50.5", with(static, func(n *NIC) {
			n.DNS = adr("192.168.50.3", "192.168.50.4") // and the kernel's NTP server
		})},
		{"ip=[2001:DB8::2]::[2001:DB8::1]:64::eth0:none", []NIC{{
			Name: "eth0", Origin: "static", Address: pfx("2001:db8::2/64"), Gateway: netip.MustParseAddr("2001:db8::1"),
		}}},
		{"ip=[2001:DB8::2]:::64::eth0:none:[2001:db8::3]:[2001:db8::4]", []NIC{{
			Name: "eth0", Origin: "static", Address: pfx("2001:db8::2/64"), DNS: adr("2001:db8::3", "2001:db8::4"),
		}}},
		// the kernel's nfsroot
		{"ip=:::::eth0:dhcp", with(dhcp, func(n *NIC) { n.Name = "eth0" })},
		{"ip=::::host:eth0:", with(dhcp, func(n *NIC) { n.Name, n.Hostname = "eth0", "host" })},
		{"ip=192.168.50.2::192.168.50.254:255.255.255.0", with(static, func(n *NIC) { n.Name, n.Hostname = "", "" })},
		{"ip=192.168.50.2:::255.255.255.255", []NIC{{Origin: "static", Address: pfx("192.168.50.2/32")}}},
		{"ip=192.168.50.2", []NIC{{Origin: "static", Address: pfx("192.168.50.2/24")}}},
		{"ip=10.0.0.2::10.0.0.1", []NIC{{Origin: "static", Address: pfx("10.0.0.2/8"), Gateway: netip.MustParseAddr("10.0.0.1")}}},
		{"ip=172.16.0.2:172.16.0.1", []NIC{{Origin: "static", Address: pfx("172.16.0.2/16")}}},
		{"ip=::192.168.50.254", with(dhcp, func(n *NIC) { n.Gateway = gw })},
		{"ip=:::::eth0", with(dhcp, func(n *NIC) { n.Name = "eth0" })},
		{"ip=:::::eth0:dhcp:192.168.50.3::192.168.50.5", with(dhcp, func(n *NIC) { n.Name, n.DNS = "eth0", adr("192.168.50.3") })},
		{"ip=dhcp,1,me", with(dhcp, func(n *NIC) { n.ClientID = "\x01me" })},
		{"ip=:::::eth0:dhcp,0x0,a,b", with(dhcp, func(n *NIC) { n.Name, n.ClientID = "eth0", "\x00a,b" })},
		// BOOTIF as a name, bootdev=
		{"ip=BOOTIF BOOTIF=01-52-54-00-12-34-AB", with(dhcp, func(n *NIC) { n.MAC = "52:54:00:12:34:ab" })},
		{"BOOTIF=01-52-54-00-12-34-AB ip=BOOTIF:dhcp6", []NIC{{MAC: "52:54:00:12:34:ab", DHCP6: true, Origin: "dhcp"}}},
		{"ip=192.168.50.2::192.168.50.254:24:host:BOOTIF:none BOOTIF=52:54:00:12:34:ab", with(static, func(n *NIC) { n.Name, n.MAC = "", "52:54:00:12:34:ab" })},
		{"bootdev=eth1 ip=dhcp", with(dhcp, func(n *NIC) { n.Name = "eth1" })},
		{"bootdev=eth1 ip=eth0:dhcp ip=eth1:dhcp", []NIC{{Name: "eth1", DHCP: true, Origin: "dhcp"}, {Name: "eth0", DHCP: true, Origin: "dhcp"}}},
		{"bootdev=52-54-00-12-34-AB ip=eth0:dhcp ip=52:54:00:12:34:ab:dhcp", []NIC{{MAC: "52:54:00:12:34:ab", DHCP: true, Origin: "dhcp"}, {Name: "eth0", DHCP: true, Origin: "dhcp"}}},
		// a VLAN or a bond is what an ip= without a device is about
		{"ip=dhcp vlan=vlan5:eth0", with(dhcp, func(n *NIC) { n.Name = "vlan5" })},
		{"vlan=vlan5:bond0 bond ip=dhcp", with(dhcp, func(n *NIC) { n.Name = "vlan5" })},
		{"ip=dhcp bond=bond1:eth0,eth1", with(dhcp, func(n *NIC) { n.Name = "bond1" })},
		{"ip=dhcp vlan=vlan5:eth0 vlan=vlan6:eth0", []NIC{dhcp}},
		// several, and names for MACs
		{"ip=eth0:dhcp ip=eth1:dhcp", []NIC{{Name: "eth0", DHCP: true, Origin: "dhcp"}, {Name: "eth1", DHCP: true, Origin: "dhcp"}}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none ip=[2001:db8::2]:::64::eth0:none:1400", with(static, func(n *NIC) {
			n.Address, n.MTU = pfx("192.168.50.2/24", "2001:db8::2/64"), 1400
		})},
		{"ip=eth0:dhcp ip=eth0:auto6", []NIC{{Name: "eth0", DHCP: true, RA: true, Origin: "dhcp"}}},
		{"ip=192.168.50.2::192.168.50.254:24:host:eth0:none ip=eth0:link6", with(static, func(n *NIC) { n.LinkLocal = true })},
		{"ip=boot:dhcp ifname=boot:52:54:00:12:34:AB", with(dhcp, func(n *NIC) { n.MAC = "52:54:00:12:34:ab" })},
		{"ip=dhcp BOOTIF=01-52-54-00-12-34-AB", with(dhcp, func(n *NIC) { n.MAC = "52:54:00:12:34:ab" })},
		{"ip=dhcp BOOTIF=52:54:00:12:34:ab", with(dhcp, func(n *NIC) { n.MAC = "52:54:00:12:34:ab" })},
		{"ip=dhcp BOOTIF=01-52-54-00-12-34-AB rd.bootif=0", []NIC{dhcp}},
		{"ip=eth0:dhcp BOOTIF=01-52-54-00-12-34-AB", with(dhcp, func(n *NIC) { n.Name = "eth0" })},
	} {
		want := slices.Clone(tt.want)
		for i := range want {
			want[i].Index, want[i].From, want[i].AddressFrom = -1, "ip=", "ip="
		}
		p, err := read(disk + tt.line)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
		}
		if diff := cmp.Diff(want, p.NICs, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestIPErrors(t *testing.T) {
	for line, why := range map[string]string{
		"ip=":                                 "an address is missing",
		"ip=eth0:":                            "an address is missing",
		"ip=nonsense":                         "neither an address nor",
		"ip=eth0:nonsense":                    "neither an address nor",
		"ip=::::::bootp":                      "bootp is not supported",
		"ip=dhcp,":                            "an address is missing",
		"ip=dhcp,bootp":                       "bootp is not supported",
		"ip=dhcp,300,x":                       "no client identifier",
		"ip=dhcp,1":                           "no client identifier",
		"ip=240.0.0.1::::h:eth0:none":         "netmask is missing",
		"ip=192.168.50.2/24:::25::eth0:none":  "two netmasks",
		"ip=192.168.50.2:peer::24::eth0:none": "peer or server",
		"ip=[2001:db8::2]:::255.0.0.0::eth0:none":                                             "netmask is neither",
		"ip=192.168.50.2:::24::eth0:none:192.168.50.3:192.168.50.3:x":                         "name server is no address",
		"ip=192.168.50.2:::24::eth0:none:192.168.50.3:192.168.50.3:192.168.50.3:192.168.50.3": "more fields",
		"ip=192.168.50.2:::255.0.255.0::eth0:none":                                            "netmask is neither",
		"ip=192.168.50.2:::33::eth0:none":                                                     "netmask is neither",
		"ip=192.168.50.2:::0::eth0:none":                                                      "netmask is neither",
		"ip=192.168.50.2:::-1::eth0:none":                                                     "netmask is neither",
		"ip=[2001:db8::2]:::ffff::eth0:none":                                                  "netmask is neither",
		"ip=2001:db8::2:::64::eth0:none":                                                      "[brackets]",
		"ip=[2001:db8::2:::64::eth0:none":                                                     "the ']'",
		"ip=0.0.0.0:::24::eth0:none":                                                          "one machine",
		"ip=224.0.0.1:::24::eth0:none":                                                        "one machine",
		"ip=300.0.0.1:::24::eth0:none":                                                        "no address",
		"ip=192.168.50.2::gw:24::eth0:none":                                                   "gateway is no address",
		"ip=192.168.50.2::[fe80::1]:24::eth0:none":                                            "other IP version",
		"ip=192.168.50.2:::24:ho$t:eth0:none":                                                 "no host name",
		"ip=192.168.50.2:::24::eth0/0:none":                                                   "no name of an interface",
		"ip=a-name-of-16-byte:dhcp6":                                                          "no name of an interface",
		"ip=a-name-of-16-byte:dhcp":                                                           "no name of an interface",
		"ip=:dhcp":                                                                            "no name of an interface",
		"ip=eth0:static":                                                                      "an address is missing",
		"ip=192.168.50.2::192.168.50.254:24::none":                                            "one colon is missing",
		"ip=192.168.50.2:::24::eth0:none:67":                                                  "MTU from 68",
		"ip=192.168.50.2:::24::eth0:none:x":                                                   "MTU from 68",
		"ip=192.168.50.2:::24::eth0:none:192.168.50.3:x":                                      "name server",
		"ip=192.168.50.2:::24::eth0:none:1500:x":                                              "no MAC",
		"ip=192.168.50.2:::24::eth0:none::x":                                                  "name server",
		"ip=192.168.50.2:::24::eth0:none:1500:1:2:3:4:5:6:7:":                                 "no MAC",
	} {
		_, err := read(disk + line)
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), line) ||
			!strings.Contains(err.Error(), "the right form is ip=dhcp") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", line, err, why)
		}
	}
}

// TestNoIP: without ip= and without firmware, DHCP on the NIC that something
// names, or on the only one.
func TestNoIP(t *testing.T) {
	for line, want := range map[string]NIC{
		disk:                                 {},
		disk + "BOOTIF=01-52-54-00-12-34-56": {MAC: "52:54:00:12:34:56"},
		"rd.iscsi.initiator=iqn.2009-06.dracut:host netroot=iscsi:192.168.50.1::::eth1:0:iqn.2009-06.dracut:t": {Name: "eth1"},
		disk + "bootdev=eth1 BOOTIF=01-52-54-00-12-34-56":                                                      {Name: "eth1"},
		disk + "bootdev=a ifname=a:52:54:00:12:34:AB":                                                          {MAC: "52:54:00:12:34:ab"},
		disk + "bootdev=52-54-00-12-34-AB":                                                                     {MAC: "52:54:00:12:34:ab"},
		disk + "vlan=vlan5:bond0 bond=bond0:eth0,eth1":                                                         {Name: "vlan5"},
		disk + "bond=bond0:eth0,eth1":                                                                          {Name: "bond0"},
		disk + "root=dhcp6":                                                                                    {DHCP6: true},
	} {
		want.Index, want.DHCP, want.Origin, want.From, want.AddressFrom = -1, !want.DHCP6, "dhcp", "default", "default"
		p, err := read(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if diff := cmp.Diff([]NIC{want}, p.NICs, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// TestNoIPv4: where all portals are IPv6, the NIC that nothing describes asks
// for that; one that is an IPv4 address or a name leaves it at DHCP.
func TestNoIPv4(t *testing.T) {
	const six = "rd.iscsi.initiator=iqn.2009-06.dracut:host netroot=iscsi:[2001:db8::1]::::iqn.2009-06.dracut:six "
	want := NIC{Index: -1, RA: true, DHCP6: true, Origin: "ra", From: "default", AddressFrom: "default"}
	four := NIC{Index: -1, DHCP: true, Origin: "dhcp", From: "default", AddressFrom: "default"}
	for line, want := range map[string]NIC{
		six: want,
		six + "netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:four":  four,
		six + "netroot=iscsi:disk.example::::iqn.2009-06.dracut:named": four,
		six + "ip=dhcp": {Index: -1, DHCP: true, Origin: "dhcp", From: "ip=", AddressFrom: "ip="},
	} {
		p, err := read(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if diff := cmp.Diff([]NIC{want}, p.NICs, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestTargetNIC(t *testing.T) {
	const nics = "ip=192.168.50.2:::24::eth0:none ip=192.168.60.2:::24::eth1:none rd.iscsi.initiator=iqn.2009-06.dracut:host ifname=a:52:54:00:12:34:56 "
	for target, want := range map[string]int{
		"192.168.50.1::::iqn.2009-06.dracut:t":         0,
		"192.168.60.1::::iqn.2009-06.dracut:t":         1,
		"192.168.70.1::::iqn.2009-06.dracut:t":         -1,
		"storage::::iqn.2009-06.dracut:t":              -1,
		"192.168.50.1::::eth1:0:iqn.2009-06.dracut:t":  1,
		"192.168.50.1:::x:eth9:0:iqn.2009-06.dracut:t": 0,
	} {
		p, err := read(nics + "netroot=iscsi:" + target)
		if err != nil || p.Targets[0].NIC != want {
			t.Errorf("%s: got %+v, %v, want NIC %d", target, p.Targets, err, want)
		}
	}
}

func FuzzIP(f *testing.F) {
	f.Add("dhcp")
	f.Add("eth0:dhcp:1500:52:54:00:12:34:56")
	f.Add("192.168.50.2::192.168.50.254:255.255.255.0:host:eth0:none:9000:52:54:00:12:34:56")
	f.Add("dhcp,1,id")
	f.Add("192.168.50.2/24:192.168.50.1/32:192.168.50.254::BOOTIF:dhcp,dhcp6:192.168.50.3::192.168.50.4")
	f.Add("[2001:db8::2]::[2001:db8::1]:64::52-54-00-12-34-56:none:[2001:db8::3]:[2001:db8::4]")
	f.Fuzz(func(t *testing.T, in string) {
		var c command
		if err := setIP(&c, word{"ip", in, true}); err != nil {
			return
		}
		for _, n := range c.nics {
			if n.Origin != n.origin() || n.Origin == "" || n.Name != "" && checkInterface(n.Name) != nil || len(n.ClientID) > 255 || len(n.DNS) > 2 {
				t.Errorf("%q: %+v", in, n)
			}
			for _, a := range n.Address {
				if !a.IsValid() {
					t.Errorf("%q: %+v", in, n)
				}
			}
		}
	})
}
