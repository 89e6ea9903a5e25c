package qemutests

import (
	"testing"

	"github.com/rootlun/rootlun/ibft"
)

// A kernel in which nearly all are modules, on a machine with another NIC and
// with the root in a partition.
func TestFullKernel(t *testing.T) {
	s := newScene(t)
	var err error
	if s.Lab, err = s.With(FullKernel); err != nil {
		t.Fatal(err)
	}
	if s.image, err = s.MakeImage(s.ctx, s.dir); err != nil {
		t.Fatal(err)
	}
	target := Target{Name: targetName, LUN: 1}
	if target.Image, err = s.MakeDisk(s.ctx, s.dir, t.Name()); err != nil {
		t.Fatal(err)
	}
	port := s.tgt(target)
	m := s.machine(netroot("", port, target), iname, static, "root=PARTLABEL="+RootLabel, "rootflags=subvolid=5,compress=zstd", "rw")
	m.NIC = "e1000e"
	report, console := s.boot(m)
	checkRootOn(t, "/dev/sda2 / btrfs rw,relatime,compress=zstd", report, console, port, target)
}

// The table's NIC is one of three, and seldom the first: its MAC finds it, and
// the others are left alone.
func TestThreeNICs(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	m := s.machine("rd.iscsi.firmware")
	m.Decoys = []string{"virtio-net-pci", "virtio-net-pci"}
	m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	for _, nic := range []string{"eth0", "eth1", "eth2"} {
		mac, state := report.Text("/sys/class/net/"+nic+"/address"), report.Text("/sys/class/net/"+nic+"/operstate")
		if (mac == GuestMAC) != (state == "up") {
			t.Errorf("%s, %s, is %q", nic, mac, state)
		}
	}
}

// LUNs from 256 on may stand in another format, the flat space of SAM-5.
func TestLUN300(t *testing.T) {
	s := newScene(t)
	target := s.target()
	target.LUN = 300
	port := s.tgt(target)
	target.LUN |= 0x4000 // as tgt numbers it on the wire, and the kernel
	m := s.machine("rd.iscsi.firmware")
	m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
}

// Of the table's two targets the first can't be reached.
func TestSecondTarget(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	table := FirmwareTable(initiatorName, port, target)
	dead, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	first := table.Targets[0]
	first.Name, first.Port = targetName+".first", uint16(dead)
	table.Targets[0].Index = 1
	table.Targets = append([]ibft.Target{first}, table.Targets...)
	m := s.machine("rd.iscsi.firmware")
	m.ACPI = s.acpi(table)
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	shows(t, console, first.Name)
}
