package network

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var compareAddr = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestRoutes(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"gateway outside of the subnet", Config{Address: []netip.Prefix{prefix("10.9.0.2/32")}, Gateway: addr("10.9.0.1")},
			[]string{"default via 10.9.0.1", "10.9.0.1/32"}},
		{"peer in the subnet", Config{Address: []netip.Prefix{prefix("10.9.0.2/24")}, Peers: []netip.Addr{addr("10.9.0.1")}},
			[]string{"10.9.0.0/24"}},
		{"peer outside, no gateway", Config{Address: []netip.Prefix{prefix("10.9.0.2/24")}, Peers: []netip.Addr{addr("192.0.2.1")}},
			[]string{"10.9.0.0/24", "192.0.2.1/32"}},
		{"peer behind the gateway", Config{Address: []netip.Prefix{prefix("10.9.0.2/24")}, Gateway: addr("10.9.0.1"), Peers: []netip.Addr{addr("192.0.2.1")}},
			[]string{"default via 10.9.0.1", "10.9.0.0/24"}},
		{"link-local peer and a gateway", Config{Address: []netip.Prefix{prefix("10.9.0.2/24")}, Gateway: addr("10.9.0.1"), Peers: []netip.Addr{addr("169.254.0.2")}},
			[]string{"default via 10.9.0.1", "10.9.0.0/24", "169.254.0.2/32"}},
		{"peer of the other family", Config{Address: []netip.Prefix{prefix("10.9.0.2/24")}, Peers: []netip.Addr{addr("2001:db8::1")}},
			[]string{"10.9.0.0/24"}},
		{"IPv6", Config{Address: []netip.Prefix{prefix("fd09::2/64")}, Gateway: addr("fd09::1"), Peers: []netip.Addr{addr("2001:db8::1")}},
			[]string{"fd09::/64", "default via fd09::1"}},
		{"IPv6, gateway outside", Config{Address: []netip.Prefix{prefix("fd09::2/128")}, Gateway: addr("fd09:1::1")},
			[]string{"fd09::2/128", "fd09:1::1/128", "default via fd09:1::1"}},
		{"IPv6, link-local gateway", Config{Address: []netip.Prefix{prefix("fd09::2/64")}, Gateway: addr("fe80::1")},
			[]string{"fd09::/64", "default via fe80::1"}},
		{"IPv6 peer, no gateway", Config{Address: []netip.Prefix{prefix("fd09::2/64")}, Peers: []netip.Addr{addr("2001:db8::1"), addr("fe80::1%near0")}},
			[]string{"2001:db8::1/128", "fd09::/64"}},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			inNamespace(t, func(t *testing.T, w *world) {
				test.cfg.Name = "near0"
				res := w.mustUp(test.cfg)
				if d := cmp.Diff(test.want, w.state().Routes); d != "" {
					t.Errorf("routes (-want +got):\n%s", d)
				}
				if res.Gateway != test.cfg.Gateway {
					t.Errorf("gateway %s, want %s", res.Gateway, test.cfg.Gateway)
				}
			})
		})
	}
}

// An IPv6 address can be used when Up returns: it is not tentative.
func TestIPv6AtOnce(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.mustUp(Config{Name: "near0", Address: []netip.Prefix{prefix("fd09::2/64")}})
		for _, a := range must(netlink.AddrList(must(netlink.LinkByName("near0")), netlink.FAMILY_V6)) {
			if a.IP.Equal(net.ParseIP("fd09::2")) && a.Flags&unix.IFA_F_TENTATIVE != 0 {
				t.Error("the address is tentative")
			}
		}
		ping(t, "fd09::1")
	})
}

// The default route of another NIC stays the first.
func TestOtherDefaultRouteStays(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.mustUp(Config{Name: "near0", Address: []netip.Prefix{prefix("10.9.0.2/24")}, Gateway: addr("10.9.0.1")})
		before := w.state()
		w.cable("near1", "far1", "52:54:00:00:00:02")
		w.far.do(func() { w.check(netlink.LinkSetUp(must(netlink.LinkByName("far1")))) })
		w.mustUp(Config{Name: "near1", Address: []netip.Prefix{prefix("10.9.1.2/24")}, Gateway: addr("10.9.1.1")})
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("first NIC (-before +after):\n%s", d)
		}
		if nic, via, err := RouteTo(addr("192.0.2.1")); nic != "near0" || via != addr("10.9.0.1") || err != nil {
			t.Errorf("192.0.2.1 is reached by %s via %s, %v", nic, via, err)
		}
	})
}

// What was done before a step that fails is taken back.
func TestFailureIsTakenBack(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		before := w.state()
		for _, cfg := range []Config{
			{Address: []netip.Prefix{prefix("10.9.0.2/24"), prefix("224.0.0.1/4")}},
			{Address: []netip.Prefix{prefix("10.9.0.2/24"), {}}},
			// The gateway is the NIC's own address, which the kernel refuses.
			{Address: []netip.Prefix{prefix("10.9.0.2/24"), prefix("fd09::2/64")}, Gateway: addr("fd09::2")},
		} {
			cfg.Name, cfg.MTU = "near0", 1400
			if _, err := w.up(cfg); err == nil {
				t.Errorf("no error for %+v", cfg)
			}
			if d := cmp.Diff(before, w.state()); d != "" {
				t.Errorf("NIC (-before +after):\n%s", d)
			}
			if w.log.said("not as it was") {
				t.Error("something could not be taken back")
			}
		}
	})
}

// A NIC that was up before, with another address, keeps both.
func TestFailureKeepsWhatWasThere(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.mustUp(Config{Name: "near0", Address: []netip.Prefix{prefix("10.9.0.9/24")}, Gateway: addr("10.9.0.1")})
		before := w.state()
		_, err := w.up(Config{Name: "near0", Address: []netip.Prefix{prefix("10.9.7.2/24"), prefix("fd09::2/64")}, Gateway: addr("fd09::2")})
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

// ping proves the way to an address and back: it is connected to by TCP and
// must refuse.
func ping(t *testing.T, to string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(to, "9"), 20*time.Second)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%s does not answer: %v", to, err)
	}
}

// Narrow, extra and on-link host routes.
func TestMoreRoutes(t *testing.T) {
	peers := []netip.Addr{addr("192.0.2.1"), addr("10.9.0.9"), addr("2001:db8::1"), addr("169.254.0.2")}
	for _, test := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"narrow", Config{Gateway: addr("10.9.0.1"), Narrow: true, Peers: peers},
			[]string{"10.9.0.0/24", "169.254.0.2/32", "192.0.2.1/32 via 10.9.0.1"}},
		{"narrow, gateway outside", Config{Gateway: addr("10.8.0.1"), Narrow: true, Peers: peers[:2]},
			[]string{"10.8.0.1/32", "10.9.0.0/24", "192.0.2.1/32 via 10.8.0.1"}},
		{"extra", Config{Routes: []Route{{prefix("198.51.100.0/24"), addr("10.9.0.7")}, {prefix("203.0.113.0/24"), addr("10.7.0.1")},
			{prefix("203.0.113.7/32"), netip.Addr{}}}},
			[]string{"10.9.0.0/24", "198.51.100.0/24 via 10.9.0.7", "203.0.113.7/32"}},
		{"loose", Config{Loose: true, Peers: peers[1:2]}, []string{"10.9.0.0/24", "10.9.0.9/32"}},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			inNamespace(t, func(t *testing.T, w *world) {
				test.cfg.Name, test.cfg.Address = "near0", []netip.Prefix{prefix("10.9.0.2/24")}
				res := w.mustUp(test.cfg)
				if d := cmp.Diff(test.want, w.state().Routes); d != "" {
					t.Errorf("routes (-want +got):\n%s", d)
				}
				if res.Gateway.IsValid() || len(res.Routes) != len(test.want)-1 {
					t.Errorf("gateway %s, routes %v", res.Gateway, res.Routes)
				}
			})
		})
	}
}

func TestDHCPNarrow(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-option=option:router,10.9.0.1")
		w.mustUp(Config{Name: "near0", DHCP: true, Narrow: true, Peers: []netip.Addr{addr("192.0.2.1")}})
		if d := cmp.Diff([]string{"10.9.0.0/24", "192.0.2.1/32 via 10.9.0.1"}, w.state().Routes); d != "" {
			t.Errorf("routes (-want +got):\n%s", d)
		}
	})
}

// The switches of a shared subnet are set, and set back on failure.
func TestLoose(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		read := func() string {
			s := ""
			for _, name := range []string{"rp_filter", "arp_ignore", "arp_announce"} {
				s += strings.TrimSpace(readFile("/proc/sys/net/ipv4/conf/near0/"+name)) + " "
			}
			return s
		}
		before := read()
		cfg := Config{Name: "near0", Loose: true, Address: []netip.Prefix{prefix("10.9.0.2/24"), prefix("fd09::2/64")}, Gateway: addr("fd09::2")}
		if _, err := w.up(cfg); err == nil {
			t.Error("no error")
		}
		if after := read(); after != before {
			t.Errorf("%s, before %s", after, before)
		}
		cfg.Gateway = netip.Addr{}
		w.mustUp(cfg)
		if after := read(); after != "2 1 2 " {
			t.Errorf("%s", after)
		}
	})
}
