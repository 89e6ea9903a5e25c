package qemutests

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/ibft"
)

// slaac6 is what a router's prefix fd07:: makes of nearMAC.
const slaac6 = "fd07::5054:ff:fe00:100"

// TestIPv6Only boots where nobody speaks IPv4, by each of the ways to an address.
func TestIPv6Only(t *testing.T) {
	router := []string{"--interface=net0", "--enable-ra", "--dhcp-range=fd07::,ra-only,64"}
	managed := []string{"--interface=net0", "--enable-ra", "--dhcp-range=fd07::100,fd07::1ff,64", "--dhcp-host=" + nearMAC + ",[fd07::177]"}
	for _, test := range []struct {
		name    string
		dnsmasq []string
		portal  string
		ip      string
		address string // the root's connection comes from there
	}{
		{"auto6", router, "fd07::1", "ip=auto6", slaac6},
		{"auto6-managed", managed, "fd07::1", "ip=eth0:auto6", "fd07::177"},
		{"dhcp6", managed, "fd07::1", "ip=dhcp6", "fd07::177"},
		{"behind-the-router", router, "2001:db8::1", "ip=either6", slaac6},
		{"nothing-said", router, "fd07::1", "", slaac6},
		{"link6", nil, "fe80::1%eth0", "ip=eth0:link6", "fe80::5054:ff:fe00:100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			far := s.far([]string{"fe80::1/64", "fd07::1/64", "2001:db8::1/128"})
			if test.dnsmasq != nil {
				s.dnsmasq(far, test.dnsmasq...)
			}
			s.farTGT(far, s.target())
			cable := s.cable(far.Segments[0], nil)
			cable.Filter(func(f Frame) bool {
				if typ := f.EtherType(); !f.ToGuest && (typ == unix.ETH_P_IP || typ == unix.ETH_P_ARP) {
					t.Errorf("the machine speaks IPv4: % x", f.Data[:min(len(f.Data), 42)])
				}
				return true
			})
			m := s.wired(cable, test.ip, "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:["+test.portal+"]:::1:"+targetName)
			report, console := s.boot(m)
			if got := report.Text("/etc/root-name"); got != t.Name() {
				t.Errorf("root %q", got)
			}
			if !strings.Contains(console, " "+test.address+"/") {
				t.Errorf("no address %s in the console:\n%s", test.address, tail(console, 30))
			}
		})
	}
}

// A link-local portal in the firmware's table has no zone: it is on the link of
// the NIC that the table names. That NIC's addresses are a router's to give, and
// no router is there: the one that firmware had is used.
func TestTableIPv6(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"fe80::1/64"})
	target := s.target()
	s.farTGT(far, target)
	table := s.wireTable(target, ibft.OriginRA, "fd07::2/64")
	table.Targets[0].IP = netip.MustParseAddr("fe80::1")
	m := s.byTable(s.cable(far.Segments[0], nil), table, "rd.net.timeout.ipv6auto=3")
	if _, console := s.boot(m); !strings.Contains(console, "going on with the firmware's own address") {
		t.Error(tail(console, 30))
	}
}

// A table with no more than a link-local address for a target beyond the link:
// the router is asked.
func TestTableLinkLocal(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"fe80::1/64", "fd07::1/64", "2001:db8::1/128"})
	target := s.target()
	s.farTGT(far, target)
	s.dnsmasq(far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::,ra-only,64")
	table := s.wireTable(target, ibft.OriginStatic, "fe80::5054:ff:fe00:100/64")
	table.Targets[0].IP = netip.MustParseAddr("2001:db8::1")
	_, console := s.boot(s.byTable(s.cable(far.Segments[0], nil), table))
	shows(t, console, "DHCPv6 RA fe80::5054:ff:fe00:100/64, from iBFT", ") "+slaac6+"/64 via fe80::")
}

// The wire tells that another machine has the machine's address: the boot ends
// with a line that names it.
func TestDuplicateIPv6(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"fe80::1/64", "fd07::1/64", slaac6 + "/64"})
	s.dnsmasq(far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::,ra-only,64")
	m := s.wired(s.cable(far.Segments[0], nil), "ip=auto6", "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:[fd07::1]:::1:"+targetName)
	if console := s.fail(m); !strings.Contains(console, slaac6+" is in use by another machine on this link") {
		t.Error(tail(console, 30))
	}
}

// The server's first answers are lost.
func TestDHCP6Lost(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"fe80::1/64", "fd07::1/64"})
	s.dnsmasq(far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::100,fd07::1ff,64")
	s.farTGT(far, s.target())
	cable := s.cable(far.Segments[0], nil)
	lost := map[uint32]int{}
	cable.Filter(func(f Frame) bool {
		_, to, payload, ok := f.UDP()
		if !ok || to != 546 || len(payload) < 4 {
			return true
		}
		lost[binary.BigEndian.Uint32(payload)]++ // type and transaction
		return lost[binary.BigEndian.Uint32(payload)] > 2
	})
	m := s.wired(cable, "ip=dhcp6", "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:[fd07::1]:::1:"+targetName)
	if _, console := s.boot(m); !strings.Contains(console, "no DHCPv6 advertisement in") {
		t.Error(tail(console, 30))
	}
}
