package network

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
)

// Networks that are rare and right, and servers that are not.
func TestDHCPOddNetworks(t *testing.T) {
	option := func(code uint8, value string) dhcpv4.Modifier {
		return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(value))
	}
	const router = "\x0a\x09\x00\x01"
	plain := []string{"default via 10.9.0.1", "10.9.0.0/24"}
	for name, test := range map[string]struct {
		answer []dhcpv4.Modifier
		mtu    int // 0: 1500
		routes []string
		cfg    Config
	}{
		"behind_a_relay": {answer: []dhcpv4.Modifier{dhcpv4.WithServerIP(net.IP{192, 0, 2, 67}), dhcpv4.WithRelay(net.IP{10, 9, 0, 1}),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 67})), option(3, router)}, routes: plain},
		"a_cloud's_address_alone": {answer: []dhcpv4.Modifier{dhcpv4.WithNetmask(net.IPMask{255, 255, 255, 255}), option(3, router)},
			routes: []string{"default via 10.9.0.1", "10.9.0.1/32"}},
		"an_address_alone_by_classless_routes": {answer: []dhcpv4.Modifier{dhcpv4.WithNetmask(net.IPMask{255, 255, 255, 255}),
			option(121, "\x20\x0a\x09\x00\x01\x00\x00\x00\x00"+"\x00"+router)}, routes: []string{"default via 10.9.0.1", "10.9.0.1/32"}},
		"a_classless_default_route_alone": {answer: []dhcpv4.Modifier{option(121, "\x00"+router), option(3, "\x0a\x09\x00\x09")}, routes: plain},
		"classless_routes_without_a_default": {answer: []dhcpv4.Modifier{option(121, "\x18\xc0\x00\x02"+router), option(3, router)},
			routes: []string{"10.9.0.0/24", "192.0.2.0/24 via 10.9.0.1"}},
		"several_routers":                  {answer: []dhcpv4.Modifier{option(3, router+"\x0a\x09\x00\x02"+"\x0a\x09\x00\x03")}, routes: plain},
		"a_router_elsewhere":               {answer: []dhcpv4.Modifier{option(3, "\x0a\x08\x00\x01")}, routes: []string{"default via 10.8.0.1", "10.8.0.1/32", "10.9.0.0/24"}},
		"large_frames":                     {answer: []dhcpv4.Modifier{option(26, "\x23\x28")}, mtu: 9000, routes: []string{"10.9.0.0/24"}},
		"the_least_MTU":                    {answer: []dhcpv4.Modifier{option(26, "\x02\x40")}, routes: []string{"10.9.0.0/24"}},
		"an_MTU_of_nothing":                {answer: []dhcpv4.Modifier{option(26, "\x00\x00")}, routes: []string{"10.9.0.0/24"}},
		"a_small_MTU":                      {answer: []dhcpv4.Modifier{option(26, "\x03\xe8")}, mtu: 1000, routes: []string{"10.9.0.0/24"}},
		"an_MTU_with_which_IPv6_would_end": {answer: []dhcpv4.Modifier{option(26, "\x03\xe8")}, routes: []string{"10.9.0.0/24", "fd09::/64"}, cfg: Config{Address: []netip.Prefix{prefix("fd09::2/64")}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t *testing.T, w *world) {
				w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
					a := reply(m)
					for _, change := range test.answer {
						change(a)
					}
					return []*dhcpv4.DHCPv4{a}
				})
				cfg := test.cfg
				cfg.Name, cfg.DHCP = "near0", true
				w.mustUp(cfg)
				s := w.state()
				if test.mtu == 0 {
					test.mtu = 1500
				}
				if d := cmp.Diff(test.routes, s.Routes); d != "" || s.MTU != test.mtu {
					t.Errorf("MTU %d, routes (-want +got):\n%s", s.MTU, d)
				}
				ping(t, "10.9.0.1")
			})
		})
	}
}

// The first of two servers is taken, and what the other says of the request to
// that one does not count. Nor do offers to others.
func TestDHCPTwoServers(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			stranger, late, other := reply(m), reply(m), reply(m)
			stranger.ClientHWAddr, stranger.YourIPAddr = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}, net.IP{10, 9, 0, 71}
			late.TransactionID[0]++
			late.YourIPAddr = net.IP{10, 9, 0, 72}
			other.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{10, 9, 0, 2}))
			other.YourIPAddr = net.IP{10, 9, 0, 60}
			if m.MessageType() == dhcpv4.MessageTypeDiscover {
				return []*dhcpv4.DHCPv4{stranger, late, reply(m), other}
			}
			if !m.ServerIdentifier().Equal(net.IP{10, 9, 0, 1}) || !m.RequestedIPAddress().Equal(net.IP{10, 9, 0, 50}) {
				t.Errorf("the request is %s", m.Summary())
			}
			other.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
			return []*dhcpv4.DHCPv4{stranger, late, other, reply(m)}
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		if res.Address[0] != prefix("10.9.0.50/24") || res.Lease.Server != addr("10.9.0.1") || w.log.said("refused") {
			t.Errorf("result %+v, lines %q", res, w.log.lines)
		}
	})
}

// A lease may have no end.
func TestDHCPForever(t *testing.T) {
	m := reply(testRequest())
	m.UpdateOption(dhcpv4.OptIPAddressLeaseTime((1<<32 - 1) * time.Second))
	a, err := parseAnswer(must(parseReply4(m.ToBytes())))
	if err != nil || a.lease.Duration != Forever || a.lease.Renew <= 0 || a.lease.Rebind <= a.lease.Renew {
		t.Errorf("%+v, %v", a, err)
	}
}

// Of a prefix that the kernel makes no address of, none is awaited: DHCPv6 is asked.
func TestPrefixWithoutAddress(t *testing.T) {
	deprecated := advertisement(0, 1800, "fd09::/64")
	copy(deprecated[24:28], []byte{0, 0, 0, 0}) // preferred lifetime
	for name, ra := range map[string][]byte{
		"of_80_bits": advertisement(0, 1800, "fd09::/80"),
		"deprecated": deprecated,
		"link-local": advertisement(0, 1800, "fe80::/64"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t *testing.T, w *world) {
				w.router(ra)
				w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message { return []*dhcpv6.Message{answer6To(m, "fd09::50")} })
				res := w.mustUp(Config{Name: "near0", RA: true, DHCP6: true, DADTimeout: 5 * time.Second})
				if !slices.Equal(res.Address, []netip.Prefix{prefix("fd09::50/128")}) || res.Gateway6 != addr("fe80::1") {
					t.Errorf("result %+v", res)
				}
				ping(t, "fd09::1")
			})
		})
	}
}

// With router advertisements alone the error says what the router lacks.
func TestPrefixOf80Bits(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.router(advertisement(0, 1800, "fd09::/80"))
		_, err := w.up(Config{Name: "near0", RA: true, AutoTimeout: 3 * time.Second})
		if err == nil || !strings.Contains(err.Error(), "(router fe80::1 gives none)") {
			t.Errorf("error %v", err)
		}
	})
}

// A router that names a name server and no prefix; the address is DHCPv6's.
func TestRouterWithServerAlone(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.router(append(append(advertisement(0, 1800), 25, 3, 0, 0, 0, 0, 0, 60), addr("fd09::53").AsSlice()...))
		w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message { return []*dhcpv6.Message{answer6To(m, "fd09::50")} })
		res := w.mustUp(Config{Name: "near0", RA: true, DHCP6: true})
		if !slices.Equal(res.Address, []netip.Prefix{prefix("fd09::50/128")}) || !slices.Equal(res.DNS, []netip.Addr{addr("fd09::53")}) {
			t.Errorf("result %+v", res)
		}
	})
}

// A server that commits at once (RFC 8415, 18.3.1) is not asked again.
func TestDHCP6RapidCommit(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message {
			if m.MessageType != dhcpv6.MessageTypeSolicit {
				t.Errorf("a %s", m.MessageType)
			}
			a := answer6To(m, "fd09::50")
			a.MessageType = dhcpv6.MessageTypeReply
			a.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
			return []*dhcpv6.Message{a}
		})
		if res := w.mustUp(Config{Name: "near0", DHCP6: true}); !slices.Equal(res.Address, []netip.Prefix{prefix("fd09::50/128")}) {
			t.Errorf("result %+v", res)
		}
	})
}
