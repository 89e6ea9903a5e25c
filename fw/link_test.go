package fw

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestLinks reads a row a documented form, of dracut's manual, of its parser
// where that differs, and of nm-initrd-generator.
func TestLinks(t *testing.T) {
	const gw = "192.168.100.222"
	route := func(destination, gateway, iface string) Route {
		r := Route{Destination: netip.MustParsePrefix(destination), Interface: iface, From: "rd.route="}
		if gateway != "" {
			r.Gateway = netip.MustParseAddr(gateway)
		}
		return r
	}
	bond := func(b Bond) []Bond {
		b.From = "bond="
		return []Bond{b}
	}
	pair := []string{"eth0", "eth1"}
	for _, tt := range []struct {
		line string
		want Plan
	}{
		{"vlan=vlan0005:eth0", Plan{VLANs: []VLAN{{"vlan0005", 5, "eth0", "vlan="}}}},
		{"vlan=vlan5:eth0", Plan{VLANs: []VLAN{{"vlan5", 5, "eth0", "vlan="}}}},
		{"vlan=eth0.0005:eth0", Plan{VLANs: []VLAN{{"eth0.0005", 5, "eth0", "vlan="}}}},
		{"vlan=eth0.5:eth0", Plan{VLANs: []VLAN{{"eth0.5", 5, "eth0", "vlan="}}}},
		{"vlan=vlan0010:eth0", Plan{VLANs: []VLAN{{"vlan0010", 10, "eth0", "vlan="}}}}, // not octal
		{"vlan=storage4094:bond0 vlan=vlan1:eth9", Plan{VLANs: []VLAN{{"storage4094", 4094, "bond0", "vlan="}, {"vlan1", 1, "eth9", "vlan="}}}},

		{"bond", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, Options: []Param{{"mode", "balance-rr"}}})}},
		{"bond=", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, Options: []Param{{"mode", "balance-rr"}}})}},
		{"bond=bond1", Plan{Bonds: bond(Bond{Name: "bond1", Links: pair})}},
		{"bond=bond1:eth2,eth3", Plan{Bonds: bond(Bond{Name: "bond1", Links: []string{"eth2", "eth3"}})}},
		{"bond=bond0:eth0,eth1:mode=802.3ad,miimon=100", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair,
			Options: []Param{{"mode", "802.3ad"}, {"miimon", "100"}}})}},
		{"bond=bond0:eth0,eth1:mode=1:9000", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, Options: []Param{{"mode", "1"}}, MTU: 9000})}},
		{"bond=bond0:eth0,eth1::9000", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, MTU: 9000})}},
		{"bond=bond0:eth0,eth1:arp_interval=200,arp_ip_target=192.168.50.1;192.168.50.2", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair,
			Options: []Param{{"arp_interval", "200"}, {"arp_ip_target", "192.168.50.1,192.168.50.2"}}})}},
		// with the manual's additional colon
		{"bond=bond0:eth0,eth1:", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair})}},
		{"bond=bond0:eth0,eth1::mode=1", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, Options: []Param{{"mode", "1"}}})}},
		{"bond=bond0:eth0,eth1::mode=1:9000", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, Options: []Param{{"mode", "1"}}, MTU: 9000})}},
		{"bond=bond0:eth0,eth1:::9000", Plan{Bonds: bond(Bond{Name: "bond0", Links: pair, MTU: 9000})}},

		{"bond=bond0:a,eth1:mode=1 vlan=s.7:b rd.route=192.168.200.0/24::b ifname=a:52:54:00:00:00:01 ifname=b:52:54:00:00:00:02", Plan{
			Bonds:  bond(Bond{Name: "bond0", Links: []string{"52:54:00:00:00:01", "eth1"}, Options: []Param{{"mode", "1"}}}),
			VLANs:  []VLAN{{"s.7", 7, "52:54:00:00:00:02", "vlan="}},
			Routes: []Route{route("192.168.200.0/24", "", "52:54:00:00:00:02")}}},
		{"rd.route=192.168.200.0/24:192.168.100.222:ens10", Plan{Routes: []Route{route("192.168.200.0/24", gw, "ens10")}}},
		{"rd.route=192.168.200.0/24:192.168.100.222", Plan{Routes: []Route{route("192.168.200.0/24", gw, "")}}},
		{"rd.route=192.168.200.0/24::ens10", Plan{Routes: []Route{route("192.168.200.0/24", "", "ens10")}}},
		{"rd.route=192.168.200.0/255.255.255.0:192.168.100.222:", Plan{Routes: []Route{route("192.168.200.0/24", gw, "")}}},
		{"rd.route=192.168.200.7/24:192.168.100.222", Plan{Routes: []Route{route("192.168.200.0/24", gw, "")}}},
		{"rd.route=192.168.200.7:192.168.100.222", Plan{Routes: []Route{route("192.168.200.7/32", gw, "")}}},
		{"rd.route=0.0.0.0/0:192.168.100.222", Plan{Routes: []Route{route("0.0.0.0/0", gw, "")}}},
		{"rd.route=[2001:DB8:3::/8]:[2001:DB8:2::1]:ens10 rd.route=[2001:db8::1]:[fe80::1]:ens10", Plan{Routes: []Route{
			route("2000::/8", "2001:db8:2::1", "ens10"), route("2001:db8::1/128", "fe80::1", "ens10")}}},

		{"nameserver=192.168.50.3 nameserver=2001:db8::3 nameserver=[2001:db8::4]", Plan{DNS: adr("192.168.50.3", "2001:db8::3", "2001:db8::4")}},
		{"rd.net.dns=192.168.50.3", Plan{DNS: adr("192.168.50.3")}},
		{"rd.net.dns=dns+tls://192.168.50.3", Plan{Warnings: []string{`kernel command line: "rd.net.dns=dns+tls://192.168.50.3": passed over: name servers are asked by plain DNS alone`}}},
		{"rd.peerdns=0", Plan{NoPeerDNS: true}},
		{"rd.peerdns=1", Plan{}},
		{"rd.peerdns=0 rd.peerdns", Plan{}},
	} {
		got, err := read(disk + tt.line)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		tt.want.Root.ReadOnly = true
		if diff := cmp.Diff(&tt.want, got, options(), cmpopts.IgnoreFields(Plan{}, "Initiator", "NICs", "Targets")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestLinkErrors(t *testing.T) {
	for line, why := range map[string]string{
		"vlan=vlan5":                                 "not NAME:INTERFACE",
		"vlan=":                                      "not NAME:INTERFACE",
		"vlan":                                       "not NAME:INTERFACE",
		"vlan=vlan5:":                                "not NAME:INTERFACE",
		"vlan=vlan5:eth0:5":                          "not NAME:INTERFACE",
		"vlan=storage:eth0":                          "number is missing",
		"vlan=eth0.0:eth0":                           "from 1 to 4094",
		"vlan=eth0.4095:eth0":                        "from 1 to 4094",
		"vlan=v99999999:eth0":                        "from 1 to 4094",
		"vlan=vlan5:eth0 vlan=vlan5:eth1":            "two VLANs",
		"bond=bond0:eth0,":                           "no name of an interface",
		"bond=bond/0":                                "no name of an interface",
		"bond=bond0:eth0:mode":                       "not NAME=VALUE",
		"bond=bond0:eth0:mode=1,":                    "not NAME=VALUE",
		"bond=bond0:eth0:Mode=1":                     "not NAME=VALUE",
		"bond=bond0:eth0:mode=1:x":                   "no MTU",
		"bond=bond0:eth0:mode=1:9000:9":              "more than four",
		"bond=bond0:eth0 bond=bond0:eth1":            "two bonds",
		"team=team0:eth0,eth1:activebackup":          "a team is not supported; a bond is; the right form is bond=",
		"bridge=br0:eth0":                            "a bridge is not supported",
		"rd.route=192.168.200.0/24":                  "not NET/NETMASK:GATEWAY",
		"rd.route=":                                  "not NET/NETMASK:GATEWAY",
		"rd.route=192.168.200.0/24::":                "gateway and the interface are missing",
		"rd.route=192.168.200.0/24:1.2.3.4:eth0:x":   "not NET/NETMASK:GATEWAY",
		"rd.route=192.168.200.0/33:1.2.3.4":          "netmask",
		"rd.route=192.168.200.0/255.0.255.0:1.2.3.4": "netmask",
		"rd.route=[2001:db8::/255.0.0.0]:[fe80::1]":  "netmask",
		"rd.route=2001:db8::/8:fe80::1":              "[brackets]",
		"rd.route=[2001:db8::%eth0/8]:[fe80::1]":     "[brackets]",
		"rd.route=192.168.200.0/24:gw":               "gateway is no address",
		"rd.route=192.168.200.0/24:0.0.0.0":          "gateway is no address",
		"rd.route=192.168.200.0/24:[fe80::1]":        "other IP version",
		"rd.route=192.168.200.0/24:1.2.3.4:eth0/1":   "no name of an interface",
		"rd.route=[2001:db8::/8:[fe80::1]":           "not NET/NETMASK",
		"rd.route=[2001:db8::/8":                     "the ']'",
		"nameserver=dns.example":                     "no address",
		"nameserver=":                                "no address",
		"nameserver=0.0.0.0":                         "no address",
		"nameserver=dns+tls://192.168.50.3":          "no address",
		"ip=BOOTIF:dhcp":                             "the NIC is that of BOOTIF=, which is missing",
	} {
		_, err := read(disk + line)
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", line, err, why)
		}
	}
}
