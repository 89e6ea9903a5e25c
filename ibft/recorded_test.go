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

// The tables below testdata are real firmware's. They are recorded by
// `go test ./qemu-tests -run TestRecordTables -update`, as is what they were
// made of here; the ports of the targets are those of one run.

// recorded is what the tables of that test have in common.
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

func TestRecorded(t *testing.T) {
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
			g, n := t.Targets[0], t.NICs[0]
			g.Index, g.Name, g.IP, g.NIC = 1, g.Name+".second", netip.MustParseAddr("10.0.3.2"), 1
			n.Index, n.IP, n.MAC[5], n.PCI = 1, netip.MustParseAddr("10.0.3.15"), 0x57, 2<<3
			n.Origin, n.Gateway, n.DHCP = OriginStatic, netip.Addr{}, netip.Addr{} // and the DNS of the other
			t.Targets, t.NICs = append(t.Targets, g), append(t.NICs, n)
		},
		"ipxe-uefi": func(*Table) {},
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
			want[name](table)
			port := cmpopts.IgnoreFields(Target{}, "Port")
			if diff := cmp.Diff(table, got, port, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
