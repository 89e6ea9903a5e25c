package qemutests

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/ibft"
)

var update = flag.Bool("update", false, "record the tables of real firmware below ibft/testdata and fw/testdata")

// secondNIC is a network beside the first one, whose host is the loopback too.
var secondNIC = []string{"-netdev", "user,id=net2,net=10.0.3.0/24",
	"-device", "virtio-net-pci,netdev=net2,mac=52:54:00:12:34:57"}

// uefi is a machine whose UEFI firmware starts iPXE, which goes on as it does on
// a BIOS machine.
var uefi = []string{"-bios", "/usr/share/ovmf/OVMF.fd", "-kernel", "/usr/lib/ipxe/ipxe.efi"}

// TestRecordTables boots by the tables that iPXE makes of many settings. With
// -update it keeps their bytes and the kernel's view of them, for the tests of
// packages ibft and fw.
func TestRecordTables(t *testing.T) {
	if !*update {
		t.Skip("records with -update")
	}
	for _, c := range []struct {
		name     string
		target   func(*scene) Target
		commands func(port uint16, target Target) []string
		more     []string
		static   bool // a second iPXE, which has not asked DHCP
		uefi     bool
	}{
		{name: "uefi", target: (*scene).target, commands: dhcpAndHook, uefi: true},
		{name: "dhcp", target: (*scene).target, commands: dhcpAndHook},
		{name: "chap", target: func(s *scene) Target { return s.chapTarget(false) }, commands: dhcpAndHook},
		{name: "mutual-chap", target: func(s *scene) Target { return s.chapTarget(true) }, commands: dhcpAndHook},
		{name: "static", target: (*scene).target, static: true, commands: func(port uint16, target Target) []string {
			return append([]string{"set net0/ip 10.0.2.77", "set net0/netmask 255.255.255.0", "set net0/gateway 10.0.2.2",
				"set net0/dns 10.0.2.3", "set net0/hostname node1", "ifopen net0"}, IPXEHook(initiatorName, port, target)...)
		}},
		{name: "two-targets", target: (*scene).target, commands: func(port uint16, target Target) []string {
			return append(dhcpAndHook(port, target), fmt.Sprintf("sanhook --drive 0x81 iscsi:%s::%d:1:%s", HostAddress, port, target.second().Name))
		}},
		{name: "two-nics", target: (*scene).target, more: secondNIC, static: true, commands: func(port uint16, target Target) []string {
			return append(append([]string{"set net1/ip 10.0.3.15", "set net1/netmask 255.255.255.0", "ifopen net1", "ifconf net0"}, IPXEHook(initiatorName, port, target)...),
				fmt.Sprintf("sanhook --drive 0x81 iscsi:10.0.3.2::%d:1:%s", port, target.second().Name))
		}},
		{name: "lun-flat", target: func(s *scene) Target {
			target := s.target()
			target.LUN = 300
			return target
		}, commands: func(port uint16, target Target) []string {
			return []string{"dhcp", "set initiator-iqn " + initiatorName,
				fmt.Sprintf("sanhook iscsi:%s:6:%d:412c-0000-0000-0000:%s", HostAddress, port, target.Name)}
		}},
		{name: "lun-dashes", target: func(s *scene) Target {
			target := s.target()
			target.LUN = 255
			return target
		}, commands: func(port uint16, target Target) []string {
			return []string{"dhcp", "set initiator-iqn " + initiatorName,
				fmt.Sprintf("sanhook iscsi:%s:6:%d:ff-0-0-0:%s", HostAddress, port, target.Name)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			target := c.target(s)
			port := s.tgts(target, target.second())
			ctx, cancel := context.WithTimeout(s.ctx, time.Minute) // iPXE waits where its script fails
			defer cancel()
			s.ctx = ctx
			m := s.ipxe(c.commands(port, target))
			m.More = c.more
			if c.uefi {
				m.More = append(m.More, uefi...)
			}
			if c.static {
				s.chainIPXE()
			}
			report, console := s.boot(m)
			for line := range strings.Lines(console) {
				if strings.Contains(line, "rootlun") {
					t.Log(strings.TrimSpace(line))
				}
			}
			s.record("ipxe-"+c.name, report)
		})
	}
}

// second is another target with the same disk.
func (t Target) second() Target {
	t.Name += ".second"
	return t
}

func dhcpAndHook(port uint16, target Target) []string {
	return append([]string{"dhcp"}, IPXEHook(initiatorName, port, target)...)
}

// chainIPXE puts a second iPXE before the script: it knows nothing of what the
// first one got from DHCP.
func (s *scene) chainIPXE() {
	s.t.Helper()
	tftp := filepath.Join(s.dir, "tftp")
	for _, err := range []error{
		os.Rename(filepath.Join(tftp, "boot.ipxe"), filepath.Join(tftp, "second.ipxe")),
		copyFile(filepath.Join(tftp, "ipxe.lkrn"), "/usr/lib/ipxe/ipxe.lkrn"),
		os.WriteFile(filepath.Join(tftp, "boot.ipxe"), []byte("#!ipxe\nkernel ipxe.lkrn\ninitrd second.ipxe\nboot\n"), 0o644),
	} {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// record writes ibft/testdata/NAME.ibft, and fw/testdata/NAME.sysfs where the
// kernel shows the table in /sys/firmware/ibft.
func (s *scene) record(name string, report Report) {
	s.t.Helper()
	mem, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(report["iBFT in memory"]+report["/sys/firmware/acpi/tables/iBFT"], "\n", ""))
	if err != nil {
		s.t.Fatal(err)
	}
	if found := ibft.Find(mem); len(found) == 0 || found[0] != 0 {
		s.t.Fatalf("no table in %d bytes of memory", len(mem))
	}
	table := mem[:binary.LittleEndian.Uint32(mem[4:])]
	if err := os.WriteFile(filepath.Join(s.Repo, "ibft", "testdata", name+".ibft"), table, 0o644); err != nil {
		s.t.Fatal(err)
	}
	const sysfs = "/sys/firmware/ibft/"
	var tree strings.Builder
	for _, file := range report.Match(sysfs + "*/*") {
		fmt.Fprintf(&tree, "%s %s\n", strings.TrimPrefix(file, sysfs), strings.TrimSuffix(report[file], "\n"))
	}
	if tree.Len() == 0 {
		return
	}
	if err := os.WriteFile(filepath.Join(s.Repo, "fw", "testdata", name+".sysfs"), []byte(tree.String()), 0o644); err != nil {
		s.t.Fatal(err)
	}
}
