package qemutests

import (
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// Secrets come by the firmware's table in these tests: the kernel prints its
// command line on the console.

func (s *scene) chapTarget(mutual bool, files ...initramfs.File) Target {
	target := s.target(files...)
	target.Username, target.Secret = "initiator-user", "secret-of-initiator"
	if mutual {
		target.UsernameIn, target.SecretIn = "target-user", "secret-of-target"
	}
	return target
}

func TestCHAP(t *testing.T) {
	for _, c := range []struct {
		name   string
		mutual bool
		start  func(*scene, Target) uint16
	}{
		{"tgt", false, (*scene).tgt},
		{"tgt mutual", true, (*scene).tgt},
		{"LIO", false, (*scene).lio},
		{"LIO mutual", true, (*scene).lio},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s := newScene(t)
			target := s.chapTarget(c.mutual)
			port := c.start(s, target)
			m := s.machine("rd.iscsi.firmware")
			m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
			report, console := s.boot(m)
			checkRoot(t, report, console, port, target)
			noSecret(t, console, target)
		})
	}
}

func TestCHAPOnCommandLine(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(true)
	port := s.tgt(target)
	credentials := strings.Join([]string{target.Username, target.Secret, target.UsernameIn, target.SecretIn}, ":") + "@"
	report, console := s.boot(s.machine(netroot(credentials, port, target), iname, static))
	checkRoot(t, report, console, port, target)
}

func TestCHAPFromIPXE(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(true)
	port := s.tgt(target)
	report, console := s.boot(s.ipxeDHCP(port, target))
	checkRoot(t, report, console, port, target)
}

func TestWrongSecret(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Target)
	}{
		{"of-initiator", func(target *Target) { target.Secret = "not-the-right-one" }},
		{"of-target", func(target *Target) { target.SecretIn = "not-the-right-one" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			target := s.chapTarget(true)
			port := s.tgt(target)
			known := target
			c.spoil(&known)
			m := s.machine("rd.iscsi.firmware", "rd.rootlun.timeout=20")
			m.ACPI = s.acpi(FirmwareTable(initiatorName, port, known))
			console := s.fail(m)
			shows(t, console, target.Name, "authentication", "reboot: Power down")
			noSecret(t, console, target)
			noSecret(t, console, known)
		})
	}
}

func noSecret(t *testing.T, console string, target Target) {
	t.Helper()
	for _, secret := range []string{target.Secret, target.SecretIn} {
		if secret != "" && strings.Contains(console, secret) {
			t.Errorf("the console shows the secret %q", secret)
		}
	}
}

// shows asserts that the console has each of the texts, in any case.
func shows(t *testing.T, console string, texts ...string) {
	t.Helper()
	lower := strings.ToLower(console)
	for _, text := range texts {
		if !strings.Contains(lower, strings.ToLower(text)) {
			t.Errorf("the console does not show %q", text)
		}
	}
	if t.Failed() {
		t.Logf("its last lines:\n%s", tail(console, 40))
	}
}
