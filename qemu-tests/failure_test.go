package qemutests

import (
	"fmt"
	"testing"
)

// Each of these boots cannot reach its root: it must say why, and end within
// the time that rd.rootlun.timeout= gives.

const deadline = "rd.rootlun.timeout=15"

func TestTargetRefuses(t *testing.T) {
	s := newScene(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Name: targetName, LUN: 1}
	console := s.fail(s.machine(netroot("", uint16(port), target), iname, static, deadline))
	shows(t, console, target.Name, fmt.Sprintf("%s:%d", HostAddress, port), "refused", "reboot: Power down")
}

func TestTargetAbsent(t *testing.T) {
	for name, start := range map[string]func(*scene, Target) uint16{"tgt": (*scene).tgt, "LIO": (*scene).lio} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			port := start(s, s.target())
			other := Target{Name: targetName + ".other", LUN: 1}
			console := s.fail(s.machine(netroot("", port, other), iname, static, deadline))
			shows(t, console, other.Name, "target", "reboot: Power down")
			if name == "tgt" { // LIO says "target error" of a target that it does not know
				shows(t, console, "no such target")
			}
		})
	}
}

func TestLUNAbsent(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	target.LUN = 7
	console := s.fail(s.machine(netroot("", port, target), iname, static, deadline))
	shows(t, console, target.Name, "LUN 7", "reboot: Power down")
}

func TestNoSuchNIC(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	wrong := FirmwareTable(initiatorName, port, target)
	wrong.NICs[0].MAC = [6]byte{0x02, 0, 0, 0xab, 0xcd, 0xef}
	m := s.machine("rd.iscsi.firmware", deadline)
	m.ACPI = s.acpi(wrong)
	console := s.fail(m)
	shows(t, console, "02:00:00:ab:cd:ef", GuestMAC, "reboot: Power down")
}
