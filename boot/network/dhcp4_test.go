package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const dhcpRange = "--dhcp-range=10.9.0.50,10.9.0.59,255.255.255.0,1h"

// A real server, all that it can say.
func TestDHCP(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-host=52:54:00:00:00:01,10.9.0.55,node5", "--domain=example.org",
			"--dhcp-option=option:router,10.9.0.1", "--dhcp-option=option:dns-server,10.9.0.1,10.9.0.3",
			"--dhcp-option=option:mtu,1420", "--dhcp-option=option:root-path,iscsi:10.9.0.1::::iqn.2026-01.org.example:root",
			"--dhcp-option=203,iqn.2026-01.org.example:node5")
		res := w.mustUp(Config{MAC: must(net.ParseMAC("52:54:00:00:00:01")), DHCP: true, Peers: []netip.Addr{addr("192.0.2.1")}})
		want := &Result{Name: "near0", Index: res.Index, MAC: must(net.ParseMAC("52:54:00:00:00:01")), Driver: "virtio_net",
			MTU: 1420, Address: []netip.Prefix{prefix("10.9.0.55/24")}, Gateway: addr("10.9.0.1"),
			Routes: []Route{{prefix("0.0.0.0/0"), addr("10.9.0.1")}},
			DNS:    []netip.Addr{addr("10.9.0.1"), addr("10.9.0.3")}, DHCP: true, Hostname: "node5",
			Lease: &Lease{Server: addr("10.9.0.1"), Duration: time.Hour, Renew: 30 * time.Minute, Rebind: 52*time.Minute + 30*time.Second,
				Acquired: res.Lease.Acquired, ClientID: []byte{1, 0x52, 0x54, 0, 0, 0, 1}, Domain: "example.org",
				RootPath: "iscsi:10.9.0.1::::iqn.2026-01.org.example:root", InitiatorName: "iqn.2026-01.org.example:node5"}}
		if d := cmp.Diff(want, res, compareAddr); d != "" {
			t.Errorf("result (-want +got):\n%s", d)
		}
		if res.Lease.Acquired.IsZero() {
			t.Error("the lease has no beginning")
		}
		if d := cmp.Diff(state{Up: true, MTU: 1420, Addresses: []string{"10.9.0.55/24"},
			Routes: []string{"default via 10.9.0.1", "10.9.0.0/24"}}, w.state()); d != "" {
			t.Errorf("NIC (-want +got):\n%s", d)
		}
		ping(t, "10.9.0.1")

		// Again: the address that is there is kept, and nobody is asked.
		before, waits := w.state(), len(w.log.waits)
		res = w.mustUp(Config{Name: "near0", DHCP: true})
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC after a second time (-before +after):\n%s", d)
		}
		if len(w.log.waits) != waits || res.Lease != nil || len(res.Address) != 1 || res.Address[0] != prefix("10.9.0.55/24") {
			t.Errorf("second time: waits %v, result %+v", w.log.waits[waits:], res)
		}
	})
}

// The server knows the client by type and MAC, as firmware sends it.
func TestDHCPClientIdentifier(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-host=id:01:52:54:00:00:00:01,10.9.0.58")
		if res := w.mustUp(Config{Name: "near0", DHCP: true}); res.Address[0] != prefix("10.9.0.58/24") {
			t.Errorf("address %s", res.Address[0])
		}
	})
}

// Static values join what DHCP says; MTU and gateway replace it.
func TestDHCPAndStatic(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-host=52:54:00:00:00:01,10.9.0.55", "--dhcp-option=option:mtu,1420", "--dhcp-option=option:router,10.9.0.1", "--dhcp-option=option:dns-server,10.9.0.3")
		res := w.mustUp(Config{Name: "near0", DHCP: true, Address: []netip.Prefix{prefix("10.9.3.3/24")},
			Gateway: addr("10.9.0.7"), MTU: 1440, Hostname: "mine", DNS: []netip.Addr{addr("10.9.0.53")}})
		if d := cmp.Diff(state{Up: true, MTU: 1440, Addresses: []string{"10.9.0.55/24", "10.9.3.3/24"},
			Routes: []string{"default via 10.9.0.7", "10.9.0.0/24", "10.9.3.0/24"}}, w.state()); d != "" {
			t.Errorf("NIC (-want +got):\n%s", d)
		}
		if res.Gateway != addr("10.9.0.7") || res.MTU != 1440 || res.Hostname != "mine" || !slices.Equal(res.DNS, []netip.Addr{addr("10.9.0.53"), addr("10.9.0.3")}) {
			t.Errorf("result %+v", res)
		}
	})
}

// Only its own name servers count.
func TestDHCPNoPeerDNS(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-option=option:dns-server,10.9.0.3")
		own := []netip.Addr{addr("10.9.0.53")}
		if res := w.mustUp(Config{Name: "near0", DHCP: true, DNS: own, NoPeerDNS: true}); !slices.Equal(res.DNS, own) {
			t.Errorf("servers %v", res.DNS)
		}
	})
}

func TestDHCPSmallMTU(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-option=option:mtu,576")
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		if res.MTU != 1500 || w.state().MTU != 1500 || !w.log.said("too small") {
			t.Errorf("MTU %d, lines %q", res.MTU, w.log.lines)
		}
	})
}

// RFC 3442: the classless routes are taken and the router is not, the gateway
// lies on a route of the list, and the default route is among them.
func TestDHCPClasslessRoutes(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-host=52:54:00:00:00:01,10.9.0.55", "--dhcp-option-force=option:router,10.9.0.9",
			"--dhcp-option=option:classless-static-route,192.0.2.0/24,10.9.0.4,0.0.0.0/0,10.8.0.1,10.8.0.0/24,0.0.0.0,198.51.100.7/32,10.7.0.1")
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		want := []string{"default via 10.8.0.1", "10.7.0.1/32", "10.8.0.0/24", "10.9.0.0/24",
			"192.0.2.0/24 via 10.9.0.4", "198.51.100.7/32 via 10.7.0.1"}
		if d := cmp.Diff(want, w.state().Routes); d != "" {
			t.Errorf("routes (-want +got):\n%s", d)
		}
		if res.Gateway != addr("10.8.0.1") {
			t.Errorf("gateway %s", res.Gateway)
		}
	})
}

func TestDHCPServerComesLate(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.log.onLine = func(line string) {
			if strings.Contains(line, "(try 3)") {
				w.dnsmasq(dhcpRange)
			}
		}
		w.mustUp(Config{Name: "near0", DHCP: true})
		if !w.log.said("no DHCP offer in") {
			t.Errorf("lines %q", w.log.lines)
		}
		if !slices.Contains(w.log.waits, "DHCP on near0") {
			t.Errorf("waits %q", w.log.waits)
		}
	})
}

// The link goes down and comes back while the server is awaited.
func TestDHCPLinkFlaps(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		near := must(netlink.LinkByName("near0"))
		w.log.onLine = func(line string) {
			switch {
			case strings.Contains(line, "(try 1)"):
				w.check(netlink.LinkSetDown(near))
			case strings.Contains(line, "(try 2)"):
				w.check(netlink.LinkSetUp(near))
				w.dnsmasq(dhcpRange)
			}
		}
		w.mustUp(Config{Name: "near0", DHCP: true})
		if !w.log.said("not sent: ") {
			t.Errorf("the link was not down while a message was to be sent: %q", w.log.lines)
		}
	})
}

func TestDHCPNobodyAnswers(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		before := w.state()
		_, err := w.up(Config{Name: "near0", DHCP: true, DHCPTimeout: 200 * time.Millisecond})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no address by DHCP within 0 s (no server answered); check") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

func TestDHCPCallerGivesUp(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		w.log.onLine = func(string) { cancel() }
		_, err := w.host.up(ctx, Config{Name: "near0", DHCP: true}, w.log)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestDHCPLostMessages(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		var discovers, requests int
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeDiscover {
				if discovers++; discovers <= 2 {
					return nil
				}
			} else if requests++; requests <= 2 {
				return nil
			}
			return []*dhcpv4.DHCPv4{reply(m)}
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		if res.Address[0] != prefix("10.9.0.50/24") || !w.log.said("no DHCP offer") || !w.log.said("no DHCP acknowledgement") {
			t.Errorf("address %s, lines %q", res.Address[0], w.log.lines)
		}
	})
}

// The server that made the offer is not there any more; another one is.
func TestDHCPServerDies(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		dead := false
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			answer := reply(m)
			switch {
			case m.ServerIdentifier().Equal(net.IP{10, 9, 0, 66}):
				dead = true
				return nil
			case m.MessageType() == dhcpv4.MessageTypeDiscover && !dead:
				answer.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{10, 9, 0, 66}))
			}
			return []*dhcpv4.DHCPv4{answer}
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		if res.Lease.Server != addr("10.9.0.1") || !w.log.said("server 10.9.0.66 does not answer any more") {
			t.Errorf("lease %+v, lines %q", res.Lease, w.log.lines)
		}
	})
}

func TestDHCPNak(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		var naks atomic.Int32 // the server is a goroutine of its own
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			answer := reply(m)
			if m.MessageType() == dhcpv4.MessageTypeRequest && naks.Load() < 3 {
				naks.Add(1)
				answer.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
				answer.YourIPAddr = net.IPv4zero
			}
			return []*dhcpv4.DHCPv4{answer}
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		if naks.Load() != 3 || res.Address[0] != prefix("10.9.0.50/24") || !w.log.said("refused the address") {
			t.Errorf("%d NAKs, address %s, lines %q", naks.Load(), res.Address[0], w.log.lines)
		}
	})
}

// Offers and acknowledgements that make no sense are passed over for one that does.
func TestDHCPNonsense(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			var answers []*dhcpv4.DHCPv4
			for _, spoil := range nonsense {
				bad := reply(m)
				spoil.spoil(bad)
				answers = append(answers, bad)
			}
			return append(answers, reply(m))
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		if res.Address[0] != prefix("10.9.0.50/24") || !w.log.said("DHCP offer ignored: server 10.9.0.1 gives the address 0.0.0.0") {
			t.Errorf("address %s, lines %q", res.Address[0], w.log.lines)
		}
	})
}

// Nothing but nonsense comes, and the error says that something came.
func TestDHCPOnlyNonsense(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		before := w.state()
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			bad := reply(m)
			bad.YourIPAddr = net.IP{224, 0, 0, 1}
			return []*dhcpv4.DHCPv4{bad}
		})
		_, err := w.up(Config{Name: "near0", DHCP: true, DHCPTimeout: 300 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "messages ignored") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

// What fails after the lease is taken back with it.
func TestDHCPFailureAfterLease(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-option=option:mtu,1420")
		before := w.state()
		_, err := w.up(Config{Name: "near0", DHCP: true, Address: []netip.Prefix{prefix("fd09::2/64")}, Gateway: addr("fd09::2")})
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

// reply is a good answer: an OFFER to a DISCOVER, an ACK to a REQUEST.
func reply(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	kind := dhcpv4.MessageTypeOffer
	if m.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
	}
	return must(dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(net.IP{10, 9, 0, 50}), dhcpv4.WithNetmask(net.IPMask{255, 255, 255, 0}),
		dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 9, 0, 1}))))
}

// server answers at far0 as a test says; only for what no real server does.
func (w *world) server(answer func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4) {
	w.t.Helper()
	var conn net.PacketConn
	var err error
	w.far.do(func() {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				must(0, unix.BindToDevice(int(fd), "far0"))
				must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
			})
		}}
		conn, err = config.ListenPacket(context.Background(), "udp4", ":67")
	})
	w.check(err)
	w.serve(conn, func(b []byte, _ net.Addr) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			w.t.Errorf("the client's message: %v", err)
			return
		}
		for _, a := range answer(m) {
			w.send(conn, a.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
	})
}

// The address that firmware had is asked for, and nothing else (RFC 2131, 3.2).
func TestDHCPReboot(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		var kinds []string
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			kinds = append(kinds, m.MessageType().String()+" "+m.RequestedIPAddress().String()+" "+m.ClassIdentifier())
			if m.ServerIdentifier() != nil {
				t.Errorf("it names the server %s", m.ServerIdentifier())
			}
			return []*dhcpv4.DHCPv4{reply(m)}
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true, Requested: addr("10.9.0.50"), VendorClass: "anaconda"})
		if d := cmp.Diff([]string{"REQUEST 10.9.0.50 anaconda"}, kinds); d != "" || res.Address[0] != prefix("10.9.0.50/24") {
			t.Errorf("address %s, messages (-want +got):\n%s", res.Address[0], d)
		}
	})
}

// A server that does not know of the address says nothing, and is asked for any;
// each second message asks for an answer by broadcast.
func TestDHCPRebootUnanswered(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		var messages []string
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			messages = append(messages, m.MessageType().String()+" "+m.RequestedIPAddress().String()+" "+m.FlagsToString())
			if len(messages) < 3 {
				return nil
			}
			return []*dhcpv4.DHCPv4{reply(m)}
		})
		w.mustUp(Config{Name: "near0", DHCP: true, Requested: addr("10.9.0.57")})
		if d := cmp.Diff([]string{"REQUEST 10.9.0.57 Unicast", "REQUEST 10.9.0.57 Broadcast", "DISCOVER 10.9.0.57 Unicast", "REQUEST 10.9.0.50 Unicast"}, messages); d != "" {
			t.Errorf("messages (-want +got):\n%s", d)
		}
		if !w.log.said("no DHCP server says that it may keep 10.9.0.57") {
			t.Errorf("lines %q", w.log.lines)
		}
	})
}

// A real server refuses an address of another network.
func TestDHCPRebootRefused(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-host=52:54:00:00:00:01,10.9.0.55")
		res := w.mustUp(Config{Name: "near0", DHCP: true, Requested: addr("192.0.2.7")})
		if res.Address[0] != prefix("10.9.0.55/24") || !w.log.said("does not let it keep 192.0.2.7") {
			t.Errorf("address %s, lines %q", res.Address[0], w.log.lines)
		}
	})
}

func TestTimers(t *testing.T) {
	seconds := func(n byte) []byte { return []byte{0, 0, 0, n} }
	for _, test := range []struct {
		name          string
		t1, t2        []byte
		renew, rebind time.Duration
	}{
		{"none", nil, nil, 40 * time.Second, 70 * time.Second},
		{"both", seconds(10), seconds(20), 10 * time.Second, 20 * time.Second},
		{"the wrong way round", seconds(20), seconds(10), 40 * time.Second, 70 * time.Second},
		{"after the lease", seconds(10), seconds(90), 40 * time.Second, 70 * time.Second},
		{"zero", seconds(0), seconds(0), 40 * time.Second, 70 * time.Second},
		{"cut short", seconds(10)[:3], seconds(20), 40 * time.Second, 70 * time.Second},
	} {
		if renew, rebind := timers(80*time.Second, test.t1, test.t2); renew != test.renew || rebind != test.rebind {
			t.Errorf("%s: %s, %s", test.name, renew, rebind)
		}
	}
}
