package qemutests

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/initramfs"
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

// TestFallback: a target that is not there in time, and a local disk instead,
// found by its label among two, whichever of them the kernel finds first.
func TestFallback(t *testing.T) {
	s := newScene(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(s.dir, "empty.img")
	if err := makeSparse(empty, 1<<20); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(s.dir, "initrd")
	cfg := initramfs.Config{Init: s.init, Modules: s.Modules, Drivers: []string{"virtio_blk"}, Compress: "zstd"}
	if err := writeImage(image, cfg); err != nil {
		t.Fatal(err)
	}
	m := s.machine(netroot("", uint16(port), Target{Name: targetName, LUN: 1}), iname, static, "rd.rootlun.timeout=5", "rd.rootlun.fallback=local:LABEL="+RootLabel)
	m.Initrd, m.Disks = image, []string{empty, s.root()}
	report, console := s.boot(m)
	shows(t, console, "refused", "LABEL="+RootLabel+" of this machine is booted INSTEAD")
	if name := report.Text("/etc/root-name"); name != t.Name() {
		t.Errorf("the root is %q", name)
	}
	var state handoff.State
	if err := json.Unmarshal([]byte(report.Text(handoff.StateFile)), &state); err != nil || state.Fallback == "" || !strings.HasPrefix(state.Root.Device, "/dev/vd") {
		t.Errorf("%v; state.json: %s", err, report.Text(handoff.StateFile))
	}
	shows(t, console, "root: "+state.Root.Device+" (ext4)")
}
