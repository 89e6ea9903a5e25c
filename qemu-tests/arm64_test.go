package qemutests

import (
	"strings"
	"testing"
)

// TestARM64 boots Debian's kernel for arm64, and an image for it: by a device
// tree, with the target on the command line, and by UEFI, whose ACPI has an iBFT.
func TestARM64(t *testing.T) {
	s := newSystem(t)
	lab, err := s.With(ARM64Kernel)
	if err != nil {
		t.Fatal(err)
	}
	image, err := lab.MakeImage(s.ctx, s.dir)
	if err != nil {
		t.Fatal(err)
	}
	row := func(name string, boot func(s *scene, port uint16, target Target) Machine, text ...string) {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			s.Lab, s.image = lab, image
			target := s.target()
			port := s.tgt(target)
			report, console := s.boot(boot(s, port, target))
			const ours = "/sys/class/iscsi_session/session1/initiatorname"
			if name == "device tree" { // has no UUID to make a name of
				if got := report.Text(ours); got != "iqn.2026-01.io.github.rootlun:"+strings.ReplaceAll(GuestMAC, ":", "") {
					t.Errorf("our name is %q", got)
				}
				report[ours] = initiatorName
			}
			checkRoot(t, report, console, port, target)
			shows(t, console, text...)
		})
	}
	row("device tree", func(s *scene, port uint16, target Target) Machine {
		return s.machine(netroot("", port, target), "ip=dhcp", "root=LABEL="+RootLabel, "rw")
	}, "Machine model: linux,dummy-virt")
	row("UEFI", func(s *scene, port uint16, target Target) Machine {
		// QEMU adds tables to those of x86 alone. The kernel takes one from an
		// initrd, if its signature is in capitals (Documentation/admin-guide/acpi/
		// initrd_table_override.rst).
		firmware := FirmwareTable(initiatorName, port, target)
		table, err := firmware.Marshal()
		if err != nil {
			s.t.Fatal(err)
		}
		table[0] = 'I'
		table[9] += 'i' - 'I' // the checksum
		m := s.machine("rd.iscsi.firmware")
		m.Initrd = s.beside("kernel/firmware/acpi/ibft.aml", string(table))
		m.More = []string{"-bios", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"}
		return m
	}, "efi: EFI v2", "from iBFT (ACPI)")
}
