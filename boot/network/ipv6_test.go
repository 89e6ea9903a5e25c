package network

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const slaac = "fd09::5054:ff:fe00:1"

var near0MAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

// A real router: an address that is checked, its default route, its name server.
func TestRouterAdvertisement(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--enable-ra", "--dhcp-range=fd09::,ra-only,64", "--dhcp-option=option6:dns-server,[fd09::53]")
		res := w.mustUp(Config{Name: "near0", RA: true, Peers: []netip.Addr{addr("2001:db8::1")}})
		want := &Result{Name: "near0", Index: res.Index, MAC: near0MAC, Driver: "virtio_net", MTU: 1500,
			Address: []netip.Prefix{prefix(slaac + "/64")}, Gateway6: addr("fe80::1"), RA: true, DNS: []netip.Addr{addr("fd09::53")}}
		if d := cmp.Diff(want, res, compareAddr); d != "" {
			t.Errorf("result (-want +got):\n%s", d)
		}
		if d := cmp.Diff(state{Up: true, MTU: 1500, Addresses: []string{slaac + "/64"},
			Routes: []string{"fd09::/64", "default via fe80::1"}}, w.state()); d != "" {
			t.Errorf("NIC (-want +got):\n%s", d)
		}
		if a := w.address(slaac); a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC) != 0 || a.Flags&unix.IFA_F_PERMANENT != 0 || a.ValidLft == 0 {
			t.Errorf("flags %#x, valid for %d s", a.Flags, a.ValidLft)
		}
		ping(t, "fd09::1")
		for name, want := range map[string]string{"optimistic_dad": "0", "router_solicitation_delay": "1", "accept_ra": "1"} {
			if got := w.sysctl(name, ""); got != want {
				t.Errorf("%s is %s after Up, not %s", name, got, want)
			}
		}

		// Again: what is there is kept, and nobody is asked.
		waits := len(w.log.waits)
		res = w.mustUp(Config{Name: "near0", RA: true})
		if len(w.log.waits) != waits || !slices.Equal(res.Address, want.Address) || res.Gateway6 != want.Gateway6 {
			t.Errorf("second time: waits %v, result %+v", w.log.waits[waits:], res)
		}
	})
}

// The O flag: the rest is to be asked of DHCPv6.
func TestRouterSaysOther(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--enable-ra", "--dhcp-range=fd09::,ra-stateless,64", "--dhcp-option=option6:domain-search,example.org",
			"--dhcp-option=option6:59,iscsi:[fd09::1]::::iqn.2026-01.org.example:root")
		w.host.retransmit = time.Second // a slow answer is one too
		res := w.mustUp(Config{Name: "near0", RA: true})
		if l := res.Lease6; l == nil || l.Domain != "example.org" || l.Address.IsValid() || l.BootFileURL != "iscsi:[fd09::1]::::iqn.2026-01.org.example:root" {
			t.Errorf("lease %+v", l)
		}
		if !slices.Equal(res.Address, []netip.Prefix{prefix(slaac + "/64")}) {
			t.Errorf("addresses %v", res.Address)
		}
	})
}

// The M flag: the address is to be had of DHCPv6. It stays for ever, and says
// nothing of what is on the link.
func TestRouterSaysManaged(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--enable-ra", "--dhcp-range=fd09::50,fd09::59,64,1h", "--dhcp-option=option6:dns-server,[fd09::53]",
			"--dhcp-option=option6:59,iscsi:[fd09::1]::::iqn.2026-01.org.example:root", "--dhcp-host=id:00:03:00:01:52:54:00:00:00:01,[fd09::55]")
		res := w.mustUp(Config{Name: "near0", RA: true})
		if l := res.Lease6; l == nil || l.Address != addr("fd09::55") || l.Valid != time.Hour ||
			l.BootFileURL != "iscsi:[fd09::1]::::iqn.2026-01.org.example:root" || len(l.Server) == 0 || len(l.Client) == 0 || l.IAID != checksum32(near0MAC) {
			t.Errorf("lease %+v", l)
		}
		if !slices.Equal(res.Address, []netip.Prefix{prefix("fd09::55/128")}) || res.Gateway6 != addr("fe80::1") || !slices.Equal(res.DNS, []netip.Addr{addr("fd09::53")}) {
			t.Errorf("result %+v", res)
		}
		if a := w.address("fd09::55"); a.Flags&unix.IFA_F_PERMANENT == 0 || a.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("flags %#x", a.Flags)
		}
		ping(t, "fd09::1")
	})
}

// DHCPv6 where there is no router: the portal is taken to be on the link.
func TestDHCP6Alone(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--dhcp-range=fd09::50,fd09::59,64,1h")
		res := w.mustUp(Config{Name: "near0", DHCP6: true, Peers: []netip.Addr{addr("fd09::1")}})
		if len(res.Address) != 1 || res.Address[0].Bits() != 128 || res.Gateway6.IsValid() {
			t.Errorf("result %+v", res)
		}
		if !slices.Contains(w.state().Routes, "fd09::1/128") {
			t.Errorf("routes %q", w.state().Routes)
		}
		ping(t, "fd09::1")
	})
}

// either6: the router gives a prefix, and DHCPv6 is not asked.
func TestEitherByRouter(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--enable-ra", "--dhcp-range=fd09::,ra-only,64")
		res := w.mustUp(Config{Name: "near0", RA: true, DHCP6: true})
		if !slices.Equal(res.Address, []netip.Prefix{prefix(slaac + "/64")}) || res.Lease6 != nil || slices.Contains(w.log.waits, "DHCPv6 on near0") {
			t.Errorf("result %+v, waits %q", res, w.log.waits)
		}
	})
}

// either6: the router gives no prefix; no router says anything.
func TestEitherByDHCP(t *testing.T) {
	for name, router := range map[string]bool{"router_without_prefix": true, "no_router": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t *testing.T, w *world) {
				if router {
					w.router(advertisement(0, 1800))
				}
				w.dnsmasq("--dhcp-range=fd09::50,fd09::59,64,1h")
				res := w.mustUp(Config{Name: "near0", RA: true, DHCP6: true})
				if res.Lease6 == nil || len(res.Address) != 1 || res.Gateway6.IsValid() != router {
					t.Errorf("result %+v", res)
				}
			})
		})
	}
}

// M, a prefix, and nobody who serves DHCPv6.
func TestManagedByNobody(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.router(advertisement(raFlagManaged, 1800, "fd09::/64"))
		res := w.mustUp(Config{Name: "near0", RA: true, DHCPTimeout: 300 * time.Millisecond})
		if !slices.Equal(res.Address, []netip.Prefix{prefix(slaac + "/64")}) || !w.log.said("no address by DHCPv6 within") {
			t.Errorf("result %+v, lines %q", res, w.log.lines)
		}
	})
}

// A router that is none: its lifetime is 0. A portal elsewhere is taken to be on
// the link.
func TestRouterLifetimeZero(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.router(advertisement(0, 0, "fd09::/64"))
		res := w.mustUp(Config{Name: "near0", RA: true, Peers: []netip.Addr{addr("2001:db8::1")}})
		if d := cmp.Diff([]string{"2001:db8::1/128", "fd09::/64"}, w.state().Routes); d != "" || res.Gateway6.IsValid() {
			t.Errorf("gateway %s, routes (-want +got):\n%s", res.Gateway6, d)
		}
	})
}

func TestTwoPrefixes(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.router(advertisement(0, 1800, "fd09::/64", "2001:db8:1::/64"))
		res := w.mustUp(Config{Name: "near0", RA: true})
		slices.SortFunc(res.Address, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		if !slices.Equal(res.Address, []netip.Prefix{prefix("2001:db8:1:0:5054:ff:fe00:1/64"), prefix(slaac + "/64")}) {
			t.Errorf("addresses %v", res.Address)
		}
	})
}

// The link was up, and nobody listened when the router spoke.
func TestRouterIsAsked(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.sysctl("accept_ra", "0")
		w.check(netlink.LinkSetUp(must(netlink.LinkByName("near0"))))
		w.router(advertisement(0, 1800, "fd09::/64"))
		if res := w.mustUp(Config{Name: "near0", RA: true}); !slices.Equal(res.Address, []netip.Prefix{prefix(slaac + "/64")}) {
			t.Errorf("addresses %v", res.Address)
		}
	})
}

func TestIPv6WasOff(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.sysctl("disable_ipv6", "1")
		w.sysctl("forwarding", "1")
		w.router(advertisement(0, 1800, "fd09::/64"))
		if res := w.mustUp(Config{Name: "near0", RA: true}); !slices.Equal(res.Address, []netip.Prefix{prefix(slaac + "/64")}) || w.sysctl("accept_ra", "") != "2" {
			t.Errorf("addresses %v, accept_ra %s", res.Address, w.sysctl("accept_ra", ""))
		}
	})
}

func TestNoRouter(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.sysctl("accept_ra", "0")
		before := w.state()
		_, err := w.up(Config{Name: "near0", RA: true, AutoTimeout: 300 * time.Millisecond})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no IPv6 address by router advertisements after 0 s; check") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" || w.sysctl("accept_ra", "") != "0" || w.sysctl("optimistic_dad", "") != "0" {
			t.Errorf("accept_ra %s, NIC (-before +after):\n%s", w.sysctl("accept_ra", ""), d)
		}
	})
}

// A router without a prefix and without DHCPv6: the error says so.
func TestRouterWithoutPrefix(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.router(advertisement(0, 1800))
		_, err := w.up(Config{Name: "near0", RA: true, AutoTimeout: 3 * time.Second})
		if err == nil || !strings.Contains(err.Error(), "(router fe80::1 gives none)") {
			t.Errorf("error %v", err)
		}
	})
}

// Another machine has the address.
func TestDuplicateAddress(t *testing.T) {
	for name, theirs := range map[string]string{"of_a_prefix": slaac, "link-local": "fe80::5054:ff:fe00:1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t *testing.T, w *world) {
				var before state
				var err error
				for range 10 { // far0 does not answer for some time after its carrier came: the kernel may see none
					w.farAddress(theirs)
					w.router(advertisement(0, 1800, "fd09::/64"))
					before = w.state()
					// Where the address of the prefix is free it may be used without the other.
					_, err = w.up(Config{Name: "near0", RA: theirs == slaac, LinkLocal: theirs != slaac})
					if err != nil || w.address(theirs).Flags&unix.IFA_F_DADFAILED != 0 {
						break
					}
					w.check(netlink.LinkDel(must(netlink.LinkByName("near0"))))
					w = newWorld(t)
				}
				if err == nil || !strings.Contains(err.Error(), theirs+" is in use by another machine") {
					t.Errorf("error %v", err)
				}
				if d := cmp.Diff(before, w.state()); d != "" {
					t.Errorf("NIC (-before +after):\n%s", d)
				}
			})
		})
	}
}

// One of two addresses is another machine's, and the other is used.
func TestDuplicateOfTwo(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.farAddress(slaac)
		w.router(advertisement(0, 1800, "fd09::/64", "2001:db8:1::/64"))
		if res := w.mustUp(Config{Name: "near0", RA: true}); !slices.Equal(res.Address, []netip.Prefix{prefix("2001:db8:1:0:5054:ff:fe00:1/64")}) {
			t.Errorf("addresses %v", res.Address)
		}
	})
}

// The link-local address is enough, and can be used when Up returns.
func TestLinkLocal(t *testing.T) {
	for name, cfg := range map[string]Config{
		"link6":            {LinkLocal: true},
		"portal_by_zone":   {Address: []netip.Prefix{prefix("10.9.0.2/24")}, Peers: []netip.Addr{addr("fe80::1%near0")}},
		"portal_of_a_NIC":  {LinkLocal: true, Peers: []netip.Addr{addr("fe80::1")}},
		"portal_elsewhere": {LinkLocal: true, Peers: []netip.Addr{addr("fe80::1%other0")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t *testing.T, w *world) {
				cfg.Name = "near0"
				res := w.mustUp(cfg)
				if cfg.LinkLocal && !slices.Equal(res.Address, []netip.Prefix{prefix("fe80::5054:ff:fe00:1/64")}) {
					t.Errorf("addresses %v", res.Address)
				}
				if a := w.address("fe80::5054:ff:fe00:1"); a.Flags&unix.IFA_F_TENTATIVE != 0 {
					t.Errorf("flags %#x", a.Flags)
				}
				ping(t, "fe80::1%near0")
			})
		})
	}
}

// Both IP versions are asked for, and the one that no portal needs is not there.
func TestSpareIPVersion(t *testing.T) {
	for name, test := range map[string]struct {
		peer    string
		options []string
		want    string
	}{
		"no_DHCPv4": {"fd09::1", []string{"--enable-ra", "--dhcp-range=fd09::,ra-only,64"}, slaac + "/64"},
		"no_router": {"10.9.0.1", []string{dhcpRange, "--dhcp-host=52:54:00:00:00:01,10.9.0.55"}, "10.9.0.55/24"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t *testing.T, w *world) {
				w.dnsmasq(test.options...)
				res := w.mustUp(Config{Name: "near0", DHCP: true, RA: true, Peers: []netip.Addr{addr(test.peer)},
					DHCPTimeout: 3 * time.Second, AutoTimeout: 3 * time.Second})
				if !slices.Equal(res.Address, []netip.Prefix{prefix(test.want)}) || !w.log.said("no portal needs it") {
					t.Errorf("addresses %v, lines %q", res.Address, w.log.lines)
				}
				ping(t, test.peer)
			})
		})
	}
}

func TestDHCP6NobodyAnswers(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		before := w.state()
		_, err := w.up(Config{Name: "near0", DHCP6: true, DHCPTimeout: 300 * time.Millisecond})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no address by DHCPv6 within 0 s (no server answered); check") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

// Messages are lost, and the exchange has all four of them.
func TestDHCP6LostMessages(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		var solicits, requests int
		w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message {
			if m.MessageType == dhcpv6.MessageTypeSolicit {
				if solicits++; solicits <= 2 {
					return nil
				}
			} else if requests++; requests <= 2 {
				return nil
			}
			return []*dhcpv6.Message{answer6To(m, "fd09::50")}
		})
		res := w.mustUp(Config{Name: "near0", DHCP6: true})
		if res.Address[0] != prefix("fd09::50/128") || !w.log.said("no DHCPv6 advertisement") || !w.log.said("no DHCPv6 reply") {
			t.Errorf("address %v, lines %q", res.Address, w.log.lines)
		}
	})
}

// Nonsense is passed over for what makes sense.
func TestDHCP6Nonsense(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message {
			stranger, other, wrong, nameless, cut, unasked := answer6To(m, "fd09::51"), answer6To(m, "fd09::52"), answer6To(m, "ff02::1"),
				answer6To(m, "fd09::53"), answer6To(m, "fd09::54"), answer6To(m, "fd09::55")
			stranger.TransactionID[0]++
			other.UpdateOption(dhcpv6.OptClientID(testServer))
			nameless.Options.Del(dhcpv6.OptionServerID)
			cut.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionIANA, OptionData: []byte{1, 2, 3}})
			unasked.MessageType = dhcpv6.MessageTypeReply
			if m.MessageType == dhcpv6.MessageTypeRequest {
				unasked.MessageType = dhcpv6.MessageTypeAdvertise
			}
			return []*dhcpv6.Message{stranger, other, wrong, nameless, cut, unasked, answer6To(m, "fd09::50")}
		})
		res := w.mustUp(Config{Name: "near0", DHCP6: true})
		if res.Address[0] != prefix("fd09::50/128") || !w.log.said("names no server") || !w.log.said("of 3 bytes") {
			t.Errorf("address %v, lines %q", res.Address, w.log.lines)
		}
	})
}

// A server without addresses: the error has its words. Where there is an
// address already they are an answer.
func TestDHCP6NoAddresses(t *testing.T) {
	refuse := func(m *dhcpv6.Message) []*dhcpv6.Message {
		a := answer6To(m, "")
		a.UpdateOption(iana6(binary.BigEndian.Uint32(m.Options.OneIANA().IaId[:]), "", status6(iana.StatusNoAddrsAvail, "none left")))
		return []*dhcpv6.Message{a}
	}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		inNamespace(t, func(t *testing.T, w *world) {
			w.server6(refuse)
			_, err := w.up(Config{Name: "near0", DHCP6: true, DHCPTimeout: 3 * time.Second})
			if err == nil || !strings.Contains(err.Error(), "(the server says NoAddrsAvail: none left)") {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("with_a_prefix", func(t *testing.T) {
		t.Parallel()
		inNamespace(t, func(t *testing.T, w *world) {
			w.router(advertisement(raFlagManaged, 1800, "fd09::/64"))
			w.server6(refuse)
			res := w.mustUp(Config{Name: "near0", RA: true})
			if !slices.Equal(res.Address, []netip.Prefix{prefix(slaac + "/64")}) || w.log.said("within") {
				t.Errorf("addresses %v, lines %q", res.Address, w.log.lines)
			}
		})
	})
}

// The server takes its word back once.
func TestDHCP6RequestRefused(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		var refused atomic.Bool
		w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message {
			a := answer6To(m, "fd09::50")
			if m.MessageType == dhcpv6.MessageTypeRequest && !refused.Swap(true) {
				a = answer6To(m, "")
				a.AddOption(status6(iana.StatusNotOnLink, ""))
			}
			return []*dhcpv6.Message{a}
		})
		if res := w.mustUp(Config{Name: "near0", DHCP6: true}); res.Address[0] != prefix("fd09::50/128") || !w.log.said("NotOnLink") {
			t.Errorf("address %v, lines %q", res.Address, w.log.lines)
		}
	})
}

// The address that the server gives is another machine's: it is declined, and
// the next one is taken.
func TestDHCP6Declined(t *testing.T) {
	t.Parallel()
	inNamespace(t, func(t *testing.T, w *world) {
		w.farAddress("fd09::50")
		var declined atomic.Bool
		w.server6(func(m *dhcpv6.Message) []*dhcpv6.Message {
			if m.MessageType == dhcpv6.MessageTypeDecline {
				declined.Store(m.Options.OneIANA().Options.OneAddress().IPv6Addr.Equal(net.ParseIP("fd09::50")))
				return nil
			}
			if declined.Load() {
				return []*dhcpv6.Message{answer6To(m, "fd09::51")}
			}
			return []*dhcpv6.Message{answer6To(m, "fd09::50")}
		})
		res := w.mustUp(Config{Name: "near0", DHCP6: true})
		if !slices.Equal(res.Address, []netip.Prefix{prefix("fd09::51/128")}) || res.Lease6.Address != addr("fd09::51") || !w.log.said("fd09::50 is in use") {
			t.Errorf("result %+v, lines %q", res, w.log.lines)
		}
	})
}

const raFlagManaged = 0x80 // RFC 4861, 4.2
