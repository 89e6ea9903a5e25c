package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// nonsense is what makes an answer unusable.
var nonsense = []struct {
	spoil func(m *dhcpv4.DHCPv4)
	want  string // part of the error
}{
	{func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IPv4zero }, "gives the address 0.0.0.0"},
	{func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IPv4bcast }, "gives the address 255.255.255.255"},
	{func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{224, 0, 0, 5} }, "gives the address 224.0.0.5"},
	{func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IP{127, 0, 0, 1} }, "gives the address 127.0.0.1"},
	{without(dhcpv4.OptionSubnetMask), "no subnet mask"},
	{func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptSubnetMask(net.IPMask{0, 0, 0, 0})) }, "the subnet mask 0.0.0.0"},
	{func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptSubnetMask(net.IPMask{255, 0, 255, 0})) }, "the subnet mask 255.0.255.0"},
	{without(dhcpv4.OptionIPAddressLeaseTime), "for no time"},
	{func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptIPAddressLeaseTime(0)) }, "for no time"},
	{without(dhcpv4.OptionServerIdentifier), "names no server"},
	{func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4zero)) }, "names no server"},
	{func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionServerIdentifier, []byte{10, 9}))
	}, "names no server"},
}

func without(code dhcpv4.OptionCode) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) { m.Options.Del(code) }
}

func testRequest() *dhcpv4.DHCPv4 {
	return must(dhcpv4.NewDiscovery(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}))
}

func TestParseAnswerNonsense(t *testing.T) {
	for _, test := range nonsense {
		m := reply(testRequest())
		test.spoil(m)
		if _, err := parseAnswer(must(parseReply4(m.ToBytes()))); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	generic := func(code uint8, value string) dhcpv4.Modifier {
		return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(value))
	}
	defaultVia := func(gw string) []route { return []route{{prefix("0.0.0.0/0"), addr(gw)}} }
	for _, test := range []struct {
		name   string
		adds   []dhcpv4.Modifier
		change func(*answer) // from what reply alone gives
	}{
		{"nothing else", nil, func(*answer) {}},
		{"router", []dhcpv4.Modifier{generic(3, "\x0a\x09\x00\x01\x0a\x09\x00\x02")}, func(a *answer) { a.routes = defaultVia("10.9.0.1") }},
		{"routers that are none", []dhcpv4.Modifier{generic(3, "\x00\x00\x00\x00\xff\xff\xff\xff\x0a\x09\x00\x02")},
			func(a *answer) { a.routes = defaultVia("10.9.0.2") }},
		{"half a router", []dhcpv4.Modifier{generic(3, "\x0a\x09\x00")}, func(*answer) {}},
		{"routes, RFC 3442's example", []dhcpv4.Modifier{generic(121,
			"\x00\x0a\x09\x00\x01"+"\x08\x0a\x0a\x09\x00\x02"+"\x10\x0a\x11\x0a\x09\x00\x03"+"\x19\x0a\xe5\x00\x80\x0a\x09\x00\x04"+"\x20\x0a\xc6\x7a\x2f\x00\x00\x00\x00"),
			generic(3, "\x0a\x09\x00\x09")},
			func(a *answer) {
				a.routes = []route{{prefix("0.0.0.0/0"), addr("10.9.0.1")}, {prefix("10.0.0.0/8"), addr("10.9.0.2")},
					{prefix("10.17.0.0/16"), addr("10.9.0.3")}, {prefix("10.229.0.128/25"), addr("10.9.0.4")}, {prefix("10.198.122.47/32"), netip.Addr{}}}
			}},
		{"route with bits beyond its width", []dhcpv4.Modifier{generic(121, "\x04\xaf\x0a\x09\x00\x01")},
			func(a *answer) { a.routes = []route{{prefix("160.0.0.0/4"), addr("10.9.0.1")}} }},
		{"route through a multicast address", []dhcpv4.Modifier{generic(121, "\x08\x0a\xe0\x00\x00\x01"), generic(3, "\x0a\x09\x00\x09")},
			func(a *answer) { a.routes = defaultVia("10.9.0.9") }},
		{"route too wide", []dhcpv4.Modifier{generic(121, "\x21\x0a\x00\x00\x00\x00\x0a\x09\x00\x01"), generic(3, "\x0a\x09\x00\x09")},
			func(a *answer) { a.routes = defaultVia("10.9.0.9") }},
		{"route cut short", []dhcpv4.Modifier{generic(121, "\x08\x0a\x0a\x09\x00"), generic(3, "\x0a\x09\x00\x09")},
			func(a *answer) { a.routes = defaultVia("10.9.0.9") }},
		{"DNS", []dhcpv4.Modifier{generic(6, "\x0a\x09\x00\x01\xff\xff\xff\xff\x0a\x09\x00\x03")},
			func(a *answer) { a.dns = []netip.Addr{addr("10.9.0.1"), addr("10.9.0.3")} }},
		{"MTU", []dhcpv4.Modifier{generic(26, "\x23\x28")}, func(a *answer) { a.mtu = 9000 }},
		{"MTU of one byte", []dhcpv4.Modifier{generic(26, "\x23")}, func(*answer) {}},
		{"strings with their NUL", []dhcpv4.Modifier{generic(12, "node5\x00"), generic(17, "iscsi:x\x00\x00"), generic(203, "iqn.x\x00y"), generic(15, "example.org")},
			func(a *answer) {
				a.hostname, a.lease.RootPath, a.lease.InitiatorName, a.lease.Domain = "node5", "iscsi:x", "iqn.x", "example.org"
			}},
		{"strings that steer a console", []dhcpv4.Modifier{generic(12, "a\x1b[2J"), generic(17, "a\nb"), generic(203, "a\x7f"), generic(15, "\xff\xfe")}, func(*answer) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := reply(testRequest())
			for _, add := range test.adds {
				add(m)
			}
			want := &answer{address: prefix("10.9.0.50/24"), lease: Lease{Server: addr("10.9.0.1"), Duration: time.Hour,
				Renew: 30 * time.Minute, Rebind: 52*time.Minute + 30*time.Second}}
			test.change(want)
			got, err := parseAnswer(must(parseReply4(m.ToBytes())))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, compareAddr, cmp.AllowUnexported(answer{}, route{})); d != "" {
				t.Errorf("answer (-want +got):\n%s", d)
			}
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	good := reply(testRequest())
	good.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClasslessStaticRoute, []byte("\x08\x0a\x0a\x09\x00\x02\x00\x0a\x09\x00\x01")))
	good.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRootPath, []byte("iscsi:10.9.0.1::::iqn.2026-01.org.example:root")))
	f.Add(good.ToBytes())
	for _, n := range nonsense {
		bad := reply(testRequest())
		n.spoil(bad)
		f.Add(bad.ToBytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseReply4(b)
		want, wantErr := dhcpv4.FromBytes(b)
		bare := len(b) == offOptions // the library takes it without the end that options have
		if isReply := wantErr == nil && want.OpCode == dhcpv4.OpcodeBootReply && !bare; isReply != (err == nil) {
			t.Fatalf("error %v; the library's is %v", err, wantErr)
		}
		if err != nil {
			return
		}
		theirs := reply4{binary.BigEndian.Uint32(want.TransactionID[:]), netip.AddrFrom4([4]byte(want.YourIPAddr)), want.ClientHWAddr, want.Options}
		if d := cmp.Diff(theirs, *m, cmp.AllowUnexported(reply4{}), compareAddr, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("(-library +ours):\n%s", d)
		}
		a, err := parseAnswer(m)
		if err != nil {
			return
		}
		if !a.address.IsValid() || a.address.Bits() == 0 || !isHost(a.address.Addr()) || a.lease.Duration <= 0 || !isHost(a.lease.Server) {
			t.Errorf("%+v is taken", a)
		}
		for _, r := range a.routes {
			if !r.to.IsValid() || r.to != r.to.Masked() || r.via.IsValid() && !isHost(r.via) {
				t.Errorf("route %s is taken", r)
			}
		}
		for _, s := range []string{a.hostname, a.lease.RootPath, a.lease.InitiatorName, a.lease.Domain} {
			if strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%q is taken", s)
			}
		}
	})
}
