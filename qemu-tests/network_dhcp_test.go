package qemutests

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootlun/rootlun/ibft"
)

const dhcpRange = "--dhcp-range=10.7.0.100,10.7.0.200,255.255.255.0"

// wireTable is a firmware's table for the target on the far side, at 10.7.0.1.
// Without an address its NIC asks DHCP, else it once did if the origin says so.
func (s *scene) wireTable(target Target, origin ibft.Origin, address string) ibft.Table {
	mac, _ := net.ParseMAC(nearMAC)
	table := FirmwareTable(initiatorName, 3260, target)
	nic := &table.NICs[0]
	nic.MAC, nic.Origin, nic.Gateway, nic.IP, nic.PrefixLen = [6]byte(mac), origin, netip.Addr{}, netip.Addr{}, 0
	if address != "" {
		p := netip.MustParsePrefix(address)
		nic.IP, nic.PrefixLen = p.Addr(), p.Bits()
	}
	table.Targets[0].IP = netip.MustParseAddr("10.7.0.1")
	return table
}

// wired returns a machine with one NIC, at the end of a cable.
func (s *scene) wired(cable *Cable, parameters ...string) Machine {
	m := s.machine(parameters...)
	m.Net, m.Plugs = "none", []Plug{{Cable: cable, MAC: nearMAC}}
	return m
}

// byTable returns a machine that boots by a table over that cable.
func (s *scene) byTable(cable *Cable, table ibft.Table, parameters ...string) Machine {
	m := s.wired(cable, append([]string{"rd.iscsi.firmware"}, parameters...)...)
	m.ACPI = s.acpi(table)
	return m
}

// start is Start that does not fail.
func (s *scene) start(m Machine) *Running {
	s.t.Helper()
	r, err := s.Start(s.ctx, m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Kill)
	return r
}

// waitFor waits for the console.
func (s *scene) waitFor(r *Running, text string) {
	s.t.Helper()
	if err := r.WaitFor(s.ctx, text); err != nil {
		s.t.Fatalf("%v; its last lines:\n%s", err, tail(r.Console.String(), 30))
	}
}

// booted waits for the end of a machine that is to reach its root.
func (s *scene) booted(r *Running) (Report, string) {
	s.t.Helper()
	if err := r.Wait(); err != nil {
		s.t.Fatal(err)
	}
	report, err := r.Report()
	if err != nil {
		s.t.Fatalf("%v; the last lines of the console:\n%s", err, tail(r.Console.String(), 30))
	}
	return report, r.Console.String()
}

// has checks that an entry of the report shows a text.
func (s *scene) has(report Report, entry, text string) {
	s.t.Helper()
	if !strings.Contains(report[entry], text) {
		s.t.Errorf("%s does not show %q:\n%s", entry, text, report[entry])
	}
}

// dhcpType returns the type of a DHCPv4 message in a frame, and its fixed part;
// 0: it is none.
func dhcpType(f Frame) (kind byte, message []byte) {
	_, to, message, ok := f.UDP()
	if !ok || to != 67 && to != 68 || len(message) < 244 || message[240] != 53 {
		return 0, nil
	}
	return message[242], message
}

const dhcpOffer = 2

// The carrier comes after 20 s, by when two attempts have given up.
func TestCarrierAfter20Seconds(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	m := s.byTable(s.cable(far.Segments[0], nil), s.wireTable(target, ibft.OriginStatic, "10.7.0.9/24"), "rd.net.timeout.carrier=8")
	m.Plugs[0].Down = true
	r := s.start(m)
	s.waitFor(r, "no link within 8 s")
	timer := time.AfterFunc(12*time.Second, func() { r.SetLink(0, true) })
	defer timer.Stop()
	_, console := s.booted(r)
	shows(t, console, "eth0 (virtio_net): no link within 8 s; check the cable", "trying again")
}

// The DHCP server starts after 20 s.
func TestDHCPServerAfter20Seconds(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	r := s.start(s.byTable(s.cable(far.Segments[0], nil), s.wireTable(target, ibft.OriginDHCP, "")))
	s.waitFor(r, "no DHCP offer")
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.dnsmasq(far, "--interface=net0", dhcpRange)
	case <-s.ctx.Done():
	}
	report, _ := s.booted(r)
	s.has(report, "$ ip address", "inet 10.7.0.1")
}

// Two offers are lost, and two are nonsense.
func TestDHCPOffersLostAndSpoilt(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	s.dnsmasq(far, "--interface=net0", dhcpRange)
	cable := s.cable(far.Segments[0], nil)
	offers := 0
	cable.Filter(func(f Frame) bool {
		kind, message := dhcpType(f)
		if kind != dhcpOffer || !f.ToGuest {
			return true
		}
		offers++
		switch offers {
		case 1, 2:
			return false
		case 3:
			copy(message[16:], []byte{224, 0, 0, 1}) // yiaddr
		case 4:
			for i := 243; i < len(message); i++ { // all options behind the type
				message[i] = 0xff
			}
		}
		return true
	})
	report, console := s.boot(s.byTable(cable, s.wireTable(target, ibft.OriginDHCP, "")))
	s.has(report, "$ ip address", "inet 10.7.0.1")
	shows(t, console, "no DHCP offer", "gives the address 224.0.0.1", "it names no server")
}

// The address that firmware had is kept, without a DISCOVER.
func TestDHCPKeepsFirmwareAddress(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	s.dnsmasq(far, "--interface=net0", "--dhcp-authoritative", dhcpRange)
	report, _ := s.boot(s.byTable(s.cable(far.Segments[0], nil), s.wireTable(target, ibft.OriginDHCP, "10.7.0.177/24")))
	s.has(report, "$ ip address", "inet 10.7.0.177/24")
	log, err := os.ReadFile(filepath.Join(s.dir, "dnsmasq.log"))
	if err != nil || strings.Contains(string(log), "DHCPDISCOVER") || !strings.Contains(string(log), "DHCPACK(net0) 10.7.0.177") {
		t.Errorf("%v\n%s", err, log)
	}
}

// The network is another than firmware's lease was of: the server says NAK.
func TestDHCPNAK(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	s.dnsmasq(far, "--interface=net0", "--dhcp-authoritative", dhcpRange)
	report, console := s.boot(s.byTable(s.cable(far.Segments[0], nil), s.wireTable(target, ibft.OriginDHCP, "10.99.0.7/24")))
	s.has(report, "$ ip address", "inet 10.7.0.1")
	shows(t, console, "does not let it keep 10.99.0.7")
}

// Frames of 9000 bytes, as DHCP says.
func TestJumboFrames(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	if out, err := far.Command(s.ctx, "ip", "link", "set", "net0", "mtu", "9000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	target := s.target()
	s.farTGT(far, target)
	s.dnsmasq(far, "--interface=net0", dhcpRange, "--dhcp-option=option:mtu,9000")
	cable := s.cable(far.Segments[0], nil)
	var jumbo atomic.Bool
	cable.Filter(func(f Frame) bool {
		if f.ToGuest && len(f.Data) == 9014 {
			jumbo.Store(true)
		}
		return true
	})
	m := s.byTable(cable, s.wireTable(target, ibft.OriginDHCP, ""))
	// Without offloads a frame is what is on the wire.
	m.Plugs[0].NIC = "virtio-net-pci,host_mtu=9000,guest_tso4=off,guest_tso6=off,guest_ufo=off"
	report, _ := s.boot(m)
	if mtu := report.Text("/sys/class/net/eth0/mtu"); mtu != "9000" {
		t.Errorf("MTU %s", mtu)
	}
	if !jumbo.Load() {
		t.Error("no frame of 9014 bytes went to the machine")
	}
}
