package ibft

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The tables below testdata are real firmware's: iPXE's as Debian 12 has it
// (1.0.0+git-20190125) and those of the iSCSI driver of its OVMF (2022.11). They
// are recorded by `go test ./qemu-tests -run TestRecordTables -update`, as is
// what they were made of here; the ports of the targets are those of one run.

// recorded is what iPXE's tables of that test have in common.
func recorded() *Table {
	return &Table{
		Signature: "iBFT", OEMID: "FENSYS", OEMTableID: "iPXE",
		Initiator: &Initiator{Valid: true, Boot: true, Name: "iqn.2025-01.test.rootlun:initiator"},
		NICs: []NIC{{
			Valid: true, Boot: true, Origin: OriginDHCP,
			IP: netip.MustParseAddr("10.0.2.15"), PrefixLen: 24, Gateway: netip.MustParseAddr("10.0.2.2"),
			DNS: [2]netip.Addr{netip.MustParseAddr("10.0.2.3")}, DHCP: netip.MustParseAddr("10.0.2.2"),
			MAC: [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}, PCI: 1 << 3,
		}},
		Targets: []Target{{
			Valid: true, Boot: true, IP: netip.MustParseAddr("10.0.2.2"),
			LUN: LUNFromUint64(1), Name: "iqn.2025-01.test.rootlun:target",
		}},
	}
}

// recordedOVMF is what OVMF's tables of that test have in common.
func recordedOVMF() *Table {
	t := recorded()
	t.OEMID, t.OEMTableID = "BOCHS ", "BXPC    "
	n := &t.NICs[0]
	n.Global, n.PCI = true, 2<<3
	return t
}

// static makes a NIC's address one that was set by hand.
func static(n *NIC) {
	n.Origin, n.DHCP, n.DNS = OriginStatic, netip.Addr{}, [2]netip.Addr{}
}

// secondPath adds another NIC with a target of the same name; the NIC is static.
func secondPath(t *Table) {
	g, n := t.Targets[0], t.NICs[0]
	g.Index, g.IP, g.NIC = 1, netip.MustParseAddr("10.0.3.2"), 1
	n.Index, n.IP, n.MAC[5], n.PCI = 1, netip.MustParseAddr("10.0.3.15"), 0x57, n.PCI+1<<3
	dns := n.DNS
	static(&n)
	n.DNS, n.Gateway = dns, netip.Addr{} // iPXE gives it the DNS of the other
	t.Targets, t.NICs = append(t.Targets, g), append(t.NICs, n)
}

func TestRecorded(t *testing.T) {
	ovmfPaths := func(t *Table) {
		static(&t.NICs[0])
		secondPath(t)
		n, g := &t.NICs[1], &t.Targets[1]
		n.Gateway, n.Boot, g.Boot = netip.MustParseAddr("10.0.3.2"), false, false
	}
	want := map[string]func(*Table){
		"ipxe-dhcp": func(*Table) {},
		"ipxe-chap": func(t *Table) {
			g := &t.Targets[0]
			g.CHAPType, g.CHAPName, g.CHAPSecret = CHAPOneWay, "initiator-user", "secret-of-initiator"
		},
		"ipxe-mutual-chap": func(t *Table) {
			g := &t.Targets[0]
			g.CHAPType, g.CHAPName, g.CHAPSecret = CHAPMutual, "initiator-user", "secret-of-initiator"
			g.ReverseCHAPName, g.ReverseCHAPSecret = "target-user", "secret-of-target"
		},
		"ipxe-static": func(t *Table) {
			n := &t.NICs[0]
			n.Origin, n.IP, n.DHCP, n.Hostname = OriginStatic, netip.MustParseAddr("10.0.2.77"), netip.Addr{}, "node1"
		},
		"ipxe-lun-flat":   func(t *Table) { t.Targets[0].LUN = LUN{0x41, 0x2c} },
		"ipxe-lun-dashes": func(t *Table) { t.Targets[0].LUN = LUN{0, 0xff} },
		"ipxe-two-targets": func(t *Table) {
			g := t.Targets[0]
			g.Index, g.Name = 1, g.Name+".second"
			t.Targets = append(t.Targets, g)
		},
		"ipxe-two-nics": func(t *Table) {
			secondPath(t)
			t.Targets[1].Name += ".second"
		},
		"ipxe-multipath":     secondPath,
		"ipxe-redirect":      func(*Table) {}, // the portal that sends to another
		"ipxe-name":          func(t *Table) { t.NICs[0].DNS[0] = netip.MustParseAddr("10.0.2.2") },
		"ipxe-dhcp-hostname": func(t *Table) { t.NICs[0].Hostname = "node1" },
		"ipxe-no-gateway": func(t *Table) {
			n := &t.NICs[0]
			static(n)
			n.IP, n.Gateway = netip.MustParseAddr("10.0.2.77"), netip.Addr{}
		},
		"ipxe-ipv6": func(t *Table) {
			n := &t.NICs[0] // nothing is left of its addresses but where they came from
			t.NICs[0] = NIC{Valid: n.Valid, Boot: n.Boot, Origin: OriginDHCP, MAC: n.MAC, PCI: n.PCI}
			t.Targets[0].IP = netip.MustParseAddr("254.192.0.0") // of fec0::2
		},
		"ipxe-uefi": func(*Table) {},
		"ipxe-uefi-chap": func(t *Table) {
			g := &t.Targets[0]
			g.CHAPType, g.CHAPName, g.CHAPSecret = CHAPMutual, "initiator-user", "secret-of-initiator"
			g.ReverseCHAPName, g.ReverseCHAPSecret = "target-user", "secret-of-target"
		},
		"ipxe-uefi-multipath": secondPath,

		"ovmf-dhcp":     func(*Table) {},
		"ovmf-redirect": func(*Table) {},
		"ovmf-static":   func(t *Table) { static(&t.NICs[0]) },
		"ovmf-no-gateway": func(t *Table) {
			static(&t.NICs[0])
			t.NICs[0].Gateway = netip.Addr{}
		},
		"ovmf-chap": func(t *Table) {
			g := &t.Targets[0]
			g.CHAPType, g.CHAPName, g.CHAPSecret = CHAPOneWay, "initiator-user", "secret-of-16-oct"
		},
		"ovmf-mutual-chap": func(t *Table) {
			g := &t.Targets[0]
			g.CHAPType, g.CHAPName, g.CHAPSecret = CHAPMutual, "initiator-user", "secret-of-16-oct"
			g.ReverseCHAPName, g.ReverseCHAPSecret = "target-user", "secret-of-target"
		},
		"ovmf-lun-flat": func(t *Table) { t.Targets[0].LUN = LUN{0x41, 0x2c} },
		"ovmf-two-targets": func(t *Table) {
			g, n := t.Targets[0], t.NICs[0] // the same NIC once more
			g.Index, g.NIC, g.Boot, g.Name = 1, 1, false, g.Name+".second"
			n.Index, n.Boot = 1, false
			t.Targets, t.NICs = append(t.Targets, g), append(t.NICs, n)
		},
		"ovmf-multipath":        ovmfPaths,
		"ovmf-multipath-broken": ovmfPaths, // the login to the second failed
		"ovmf-ipv6": func(t *Table) {
			n := &t.NICs[0] // its link-local address, although it has another
			static(n)
			n.IP, n.PrefixLen, n.Gateway = netip.MustParseAddr("fe80::5054:ff:fe12:3456"), 64, netip.Addr{}
			t.Targets[0].IP = netip.MustParseAddr("fec0::2")
		},
		"ovmf-vlan": func(t *Table) {
			n := &t.NICs[0]
			static(n)
			n.IP, n.Gateway = netip.MustParseAddr("10.0.5.15"), netip.MustParseAddr("10.0.5.2")
			n.MAC[5], n.VLAN = 0x57, 5 // the priority, 3, is left out
			t.Targets[0].IP = netip.MustParseAddr("10.0.5.2")
		},
	}
	files, err := filepath.Glob("testdata/*.ibft")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, %d expectations, %v", len(files), len(want), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".ibft")
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			table := recorded()
			if strings.HasPrefix(name, "ovmf-") {
				table = recordedOVMF()
			}
			want[name](table)
			port := cmpopts.IgnoreFields(Target{}, "Port")
			if diff := cmp.Diff(table, got, port, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
