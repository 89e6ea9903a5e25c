package qemutests

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/ibft"
)

var update = flag.Bool("update", false, "record the tables of real firmware below ibft/testdata and fw/testdata")

// secondNIC is a network beside the first one, whose host is the loopback too.
var secondNIC = []string{"-netdev", "user,id=net2,net=10.0.3.0/24", "-device", "virtio-net-pci,netdev=net2,mac=" + secondMAC + NoROM}

const secondMAC = "52:54:00:12:34:57"

// uefi is a machine whose UEFI firmware starts iPXE, which goes on as it does on
// a BIOS machine.
var uefi = []string{"-bios", "/usr/share/ovmf/OVMF.fd", "-kernel", "/usr/lib/ipxe/ipxe.efi"}

// TestRecordTables keeps, with -update, the tables that iPXE makes of many
// settings: their bytes and the kernel's view of them, for the tests of packages
// ibft and fw.
func TestRecordTables(t *testing.T) {
	multipath := func(port uint16, target Target) []string {
		return []string{"ifconf net0", "set net1/ip 10.0.3.15", "set net1/netmask 255.255.255.0", "ifopen net1", "set initiator-iqn " + initiatorName,
			fmt.Sprintf("sanhook iscsi:%s::%d:1:%s iscsi:10.0.3.2::%[2]d:1:%[3]s", HostAddress, port, target.Name)}
	}
	for _, c := range []struct {
		name     string
		target   func(*scene) Target
		serve    func(*scene, Target) uint16
		commands func(port uint16, target Target) []string
		net      string // more settings of the first network
		more     []string
		dns      bool // DNS by the host, where target.test is the host
		static   bool // a second iPXE, which has not asked DHCP
		uefi     bool
	}{
		{name: "uefi", commands: dhcpAndHook, uefi: true},
		{name: "uefi-chap", target: func(s *scene) Target { return s.chapTarget(true) }, commands: dhcpAndHook, uefi: true},
		{name: "uefi-multipath", commands: multipath, more: secondNIC, uefi: true},
		{name: "dhcp", commands: dhcpAndHook},
		{name: "dhcp-hostname", commands: dhcpAndHook, net: ",hostname=node1"},
		{name: "chap", target: func(s *scene) Target { return s.chapTarget(false) }, commands: dhcpAndHook},
		{name: "mutual-chap", target: func(s *scene) Target { return s.chapTarget(true) }, commands: dhcpAndHook},
		{name: "static", static: true, commands: func(port uint16, target Target) []string {
			return append([]string{"set net0/ip 10.0.2.77", "set net0/netmask 255.255.255.0", "set net0/gateway 10.0.2.2",
				"set net0/dns 10.0.2.3", "set net0/hostname node1", "ifopen net0"}, IPXEHook(initiatorName, port, target)...)
		}},
		{name: "no-gateway", static: true, commands: func(port uint16, target Target) []string {
			return append([]string{"set net0/ip 10.0.2.77", "set net0/netmask 255.255.255.0", "ifopen net0"}, IPXEHook(initiatorName, port, target)...)
		}},
		{name: "ipv6", static: true, commands: func(port uint16, target Target) []string {
			return []string{"ifconf --configurator ipv6 net0", "set initiator-iqn " + initiatorName,
				fmt.Sprintf("sanhook iscsi:[fec0::2]::%d:1:%s", port, target.Name),
				"ifconf --configurator dhcp net0"} // for the kernel, by TFTP
		}},
		{name: "name", dns: true, commands: func(port uint16, target Target) []string {
			return []string{"dhcp", "set net0/dns " + HostAddress, "set initiator-iqn " + initiatorName,
				fmt.Sprintf("sanhook iscsi:target.test::%d:1:%s", port, target.Name)}
		}},
		{name: "redirect", serve: (*scene).redirected, commands: dhcpAndHook},
		{name: "two-targets", commands: func(port uint16, target Target) []string {
			return append(dhcpAndHook(port, target), fmt.Sprintf("sanhook --drive 0x81 iscsi:%s::%d:1:%s", HostAddress, port, target.second().Name))
		}},
		{name: "two-nics", more: secondNIC, static: true, commands: func(port uint16, target Target) []string {
			return append(append([]string{"set net1/ip 10.0.3.15", "set net1/netmask 255.255.255.0", "ifopen net1", "ifconf net0"}, IPXEHook(initiatorName, port, target)...),
				fmt.Sprintf("sanhook --drive 0x81 iscsi:10.0.3.2::%d:1:%s", port, target.second().Name))
		}},
		{name: "multipath", more: secondNIC, static: true, commands: multipath},
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
		// Debian's iPXE is built without VLANs.
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
			if c.dns {
				s.dns("target.test", HostAddress)
			}
			net, err := s.MakeIPXE(s.dir, s.image, c.commands(port, target))
			if err != nil {
				t.Fatal(err)
			}
			m := Machine{Dir: s.dir, Net: net + c.net, More: c.more}
			if c.uefi {
				m.More = append(slices.Clone(m.More), uefi...)
			}
			if c.static {
				s.chainIPXE()
			}
			s.record("ipxe-"+c.name, m)
		})
	}
}

//go:embed guest/table-init
var tableInit []byte

// newRecording is a scene whose image only shows the table.
func newRecording(t *testing.T) *scene {
	t.Helper()
	if !*update {
		t.Skip("records with -update")
	}
	s := newScene(t)
	image, err := s.MakeGuest(s.dir, tableInit, []string{"virtio_pci", "virtio_net", "iscsi_ibft"})
	if err != nil {
		t.Fatal(err)
	}
	s.image = image
	ctx, cancel := context.WithTimeout(s.ctx, 90*time.Second) // iPXE waits where its script fails
	t.Cleanup(cancel)
	s.ctx = ctx
	return s
}

// serveTwo serves a target and its second.
func (s *scene) serveTwo(target Target) uint16 { return s.tgts(target, target.second()) }

// redirected serves a target behind a portal that sends to another one.
func (s *scene) redirected(target Target) uint16 {
	s.t.Helper()
	moved := target
	moved.Redirect = fmt.Sprintf("%s:%d", HostAddress, s.tgt(target))
	return newRedirector(s, moved)
}

// dns answers for one name at the host's port 53, which only root may.
func (s *scene) dns(name, address string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.ctx, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--address=/"+name+"/"+address)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// second is another target with the same disk, and no CHAP.
func (t Target) second() Target { return Target{Name: t.Name + ".second", Image: t.Image, LUN: t.LUN} }

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

// record boots a machine and writes the table that it has to
// ibft/testdata/NAME.ibft, and to fw/testdata/NAME.sysfs as the kernel shows it.
func (s *scene) record(name string, m Machine) {
	s.t.Helper()
	report, _ := s.boot(m)
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
