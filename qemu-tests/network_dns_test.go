package qemutests

import (
	"strings"
	"testing"
)

// TestPortalByName boots from a portal that is a name, which a real server knows.
func TestPortalByName(t *testing.T) {
	router6 := []string{"--enable-ra", "--dhcp-range=fd07::,ra-only,64"}
	for _, test := range []struct {
		name    string
		dnsmasq []string
		host    string
		ip      []string
		portal  string // where the login goes
		lost    int    // answers that are lost on the way
	}{
		{"nameserver", nil, "storage.example", []string{"ip=10.7.0.2::10.7.0.1:24::eth0:none", "nameserver=10.7.0.1"}, "10.7.0.1:3260", 0},
		{"searched-in-DHCPs-domain", []string{dhcpRange, "--domain=example"}, "storage", []string{"ip=dhcp"}, "10.7.0.1:3260", 0},
		{"first-answers-lost", []string{dhcpRange}, "storage.example", []string{"ip=dhcp"}, "10.7.0.1:3260", 3},
		{"alias", []string{dhcpRange}, "disk.example", []string{"ip=dhcp"}, "10.7.0.1:3260", 0},
		{"IPv6-only", router6, "storage.example", []string{"ip=auto6"}, "[fd07::1]:3260", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			far := s.far([]string{"10.7.0.1/24", "fe80::1/64", "fd07::1/64"})
			s.dnsmasq(far, append([]string{"--interface=net0", "--port=53", "--local=/example/",
				"--host-record=storage.example,10.7.0.1,fd07::1", "--cname=disk.example,storage.example"}, test.dnsmasq...)...)
			s.farTGT(far, s.target())
			cable := s.cable(far.Segments[0], nil)
			answers := 0
			cable.Filter(func(f Frame) bool {
				if from, _, _, ok := f.UDP(); !ok || from != 53 {
					return true
				}
				answers++
				return answers > test.lost
			})
			m := s.wired(cable, append(test.ip, "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:"+test.host+":::1:"+targetName)...)
			report, console := s.boot(m)
			if got := report.Text("/etc/root-name"); got != t.Name() {
				t.Errorf("root %q", got)
			}
			if !strings.Contains(console, targetName+" at "+test.portal) {
				t.Errorf("no login at %s in the console:\n%s", test.portal, tail(console, 30))
			}
			if answers <= test.lost {
				t.Errorf("%d answers of the name server", answers)
			}
		})
	}
}

// A name that no server knows fails with a line that says what to check.
func TestPortalByUnknownName(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	s.dnsmasq(far, "--interface=net0", "--port=53", "--local=/example/", dhcpRange)
	m := s.wired(s.cable(far.Segments[0], nil), "ip=dhcp", "rd.iscsi.initiator="+initiatorName, "rd.rootlun.timeout=5",
		"netroot=iscsi:storage.example:::1:"+targetName)
	if console := s.fail(m); !strings.Contains(console, "storage.example: the name has no address, all name servers say; check the name") {
		t.Error(tail(console, 30))
	}
}
