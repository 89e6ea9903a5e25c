package qemutests

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// staticAttempt is an attempt by a NIC of the tests' own, with its address in a
// network where the host is number 2.
func staticAttempt(mac, address string, port uint16, target Target) Attempt {
	prefix := netip.MustParsePrefix(address)
	host := prefix.Masked().Addr().Next().Next()
	return Attempt{MAC: mac, Address: prefix, Gateway: host, Portal: netip.AddrPortFrom(host, port), Target: target}
}

func dhcpAttempt(mac string, port uint16, target Target) Attempt {
	return Attempt{MAC: mac, Portal: netip.AddrPortFrom(netip.MustParseAddr(HostAddress), port), Target: target}
}

// chap16 is chapTarget with secrets as short as EDK2 wants them. It is not for
// tgt, whose CHAP with SHA-256 is wrong, which EDK2 prefers.
func (s *scene) chap16(mutual bool) Target {
	target := s.chapTarget(mutual)
	target.Secret = "secret-of-16-oct"
	return target
}

// TestRecordTablesOVMF is TestRecordTables for OVMF's own iSCSI driver.
func TestRecordTablesOVMF(t *testing.T) {
	const first, second = GuestAddress + "/24", "10.0.3.15/24"
	for _, c := range []struct {
		name     string
		target   func(*scene) Target
		serve    func(*scene, Target) uint16
		attempts func(port uint16, target Target) []Attempt
		more     []string
		vlan     uint16 // with its priority; of the only NIC
	}{
		{name: "static", attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{staticAttempt(GuestMAC, first, port, target)}
		}},
		{name: "no-gateway", attempts: func(port uint16, target Target) []Attempt {
			a := staticAttempt(GuestMAC, first, port, target)
			a.Gateway = netip.Addr{}
			return []Attempt{a}
		}},
		{name: "dhcp", attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{dhcpAttempt(GuestMAC, port, target)}
		}},
		{name: "chap", target: func(s *scene) Target { return s.chap16(false) }, serve: (*scene).lio, attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{dhcpAttempt(GuestMAC, port, target)}
		}},
		{name: "mutual-chap", target: func(s *scene) Target { return s.chap16(true) }, serve: (*scene).lio, attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{dhcpAttempt(GuestMAC, port, target)}
		}},
		{name: "lun-flat", target: func(s *scene) Target {
			target := s.target()
			target.LUN = 300
			return target
		}, attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{dhcpAttempt(GuestMAC, port, target)}
		}},
		{name: "redirect", serve: (*scene).redirected, attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{dhcpAttempt(GuestMAC, port, target)}
		}},
		{name: "two-targets", attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{dhcpAttempt(GuestMAC, port, target), dhcpAttempt(GuestMAC, port, target.second())}
		}},
		{name: "multipath", more: secondNIC, attempts: func(port uint16, target Target) []Attempt {
			a, b := staticAttempt(GuestMAC, first, port, target), staticAttempt(secondMAC, second, port, target)
			a.Multi, b.Multi = true, true
			return []Attempt{a, b}
		}},
		{name: "multipath-broken", more: secondNIC, attempts: func(port uint16, target Target) []Attempt {
			a, b := staticAttempt(GuestMAC, first, port, target), staticAttempt(secondMAC, second, 1, target) // nothing listens there
			a.Multi, b.Multi = true, true
			return []Attempt{a, b}
		}},
		{name: "ipv6", attempts: func(port uint16, target Target) []Attempt {
			return []Attempt{{MAC: GuestMAC, Portal: netip.AddrPortFrom(netip.MustParseAddr("fec0::2"), port), Target: target}}
		}},
		{name: "vlan", vlan: 3<<13 | 5, attempts: func(port uint16, target Target) []Attempt {
			a := staticAttempt(secondMAC, "10.0.5.15/24", port, target)
			a.VLAN = 5
			return []Attempt{a}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newRecording(t)
			target := s.target()
			if c.target != nil {
				target = c.target(s)
			}
			if c.serve == nil {
				c.serve = (*scene).serveTwo
			}
			port := c.serve(s, target)
			o := OVMF{Initiator: initiatorName, Attempts: c.attempts(port, target)}
			m := Machine{Dir: s.dir, More: c.more}
			if c.vlan != 0 {
				o.VLANs = map[string]uint16{secondMAC: c.vlan}
				m.Net, m.More = "none", s.trunk(5)
			}
			var err error
			if m.UEFI, err = s.MakeOVMF(s.dir, s.image, o); err != nil {
				t.Fatal(err)
			}
			s.record("ovmf-"+c.name, m)
		})
	}
}

// trunk returns the second NIC, which leads to a VLAN.
func (s *scene) trunk(vlan uint16) []string {
	s.t.Helper()
	dir := filepath.Join(s.dir, "switch")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	netdev, m, err := s.StartSwitch(s.ctx, dir, vlan)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(m.Kill)
	return []string{"-netdev", netdev, "-device", "virtio-net-pci,netdev=trunk,mac=" + secondMAC + NoROM}
}

// ovmf returns a machine that boots the product's image by OVMF, which has
// logged in by one attempt.
func (s *scene) ovmf(a Attempt) Machine {
	s.t.Helper()
	o := OVMF{Initiator: initiatorName, Attempts: []Attempt{a}}
	uefi, err := s.MakeOVMF(s.dir, s.image, o, "rd.iscsi.firmware", "rd.emergency=poweroff")
	if err != nil {
		s.t.Fatal(err)
	}
	return Machine{Dir: s.dir, UEFI: uefi}
}

// TestIBFTFromOVMF boots by the table of OVMF's own iSCSI driver.
func TestIBFTFromOVMF(t *testing.T) {
	s := newScene(t)
	target := s.chap16(true)
	port := s.lio(target)
	report, console := s.boot(s.ovmf(dhcpAttempt(GuestMAC, port, target)))
	checkRoot(t, report, console, port, target)
	shows(t, console, "iBFT (ACPI)", "efi: EFI v2")
	noSecret(t, console, target)
}

// The table has the NIC's link-local address alone, or one of the router's
// prefix, as the firmware's timing has it; the root's connection has the latter.
func TestIBFTFromOVMFWithIPv6(t *testing.T) {
	s := newScene(t)
	if !hasIPv6() {
		t.Skip("this host has no IPv6 loopback")
	}
	target := s.target()
	portal := netip.AddrPortFrom(netip.MustParseAddr("fec0::2"), s.tgt(target))
	report, console := s.boot(s.ovmf(Attempt{MAC: GuestMAC, Portal: portal, Target: target}))
	shows(t, console, "iBFT (ACPI)", "network: eth0 (virtio_net, "+GuestMAC+") fec0::5054:ff:fe12:3456/64")
	for name, want := range map[string]string{
		"/etc/root-name": t.Name(),
		"/sys/class/iscsi_connection/connection*/persistent_address": "fec0::2",
		"/sys/class/iscsi_session/session*/recovery_tmo":             "86400",
	} {
		if got := report.Text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
