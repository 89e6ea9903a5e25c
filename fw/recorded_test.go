package fw

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestRecorded reads real firmware's tables (see package ibft's TestRecorded)
// by their bytes and as the kernel shows them: the plan is the same, and what
// the firmware was told.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sysfs")
	if err != nil {
		t.Fatal(err)
	}
	plans := recordedPlans()
	if len(files) != len(plans) {
		t.Errorf("%d trees, %d expectations", len(files), len(plans))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sysfs")
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("..", "ibft", "testdata", name+".ibft"))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tree := listed(string(text), ibftDir+"/")
			want, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: raw}}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Read(Sources{FS: tree})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Targets) == 0 || got.Targets[0].From != "iBFT (sysfs)" {
				t.Fatalf("the targets are %+v", got.Targets)
			}
			if diff := cmp.Diff(plans[name], brief(want)); diff != "" {
				t.Errorf("the plan (-want +got):\n%s", diff)
			}
			for i, w := range got.Warnings {
				got.Warnings[i] = strings.Replace(w, "(sysfs)", "(ACPI)", 1)
			}
			from := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.Last().String(), "From") }, cmp.Ignore())
			if diff := cmp.Diff(want, got, options(), from); diff != "" {
				t.Errorf("(-bytes +sysfs):\n%s", diff)
			}
		})
	}
}

// recordedPlans are the plans that TestRecorded expects, by the names of the
// tables; see brief.
func recordedPlans() map[string][]string {
	// What most of them have.
	const (
		nicDHCP   = "nic 0 52:54:00:12:34:56 dhcp 10.0.2.15/24 gateway 10.0.2.2 dns 10.0.2.3"
		nicStatic = "nic 0 52:54:00:12:34:56 static 10.0.2.15/24 gateway 10.0.2.2"
		disk      = "target 0 iqn.2025-01.test.rootlun:target at 10.0.2.2 lun 1 by nic 0"
		chap      = disk + " with chap"
		mutual    = disk + " with mutual"
		nic1DNS   = "nic 1 52:54:00:12:34:57 static 10.0.3.15/24 dns 10.0.2.3" // iPXE has one DNS for all NICs
		nic1      = "nic 1 52:54:00:12:34:57 static 10.0.3.15/24 gateway 10.0.3.2"
		path1     = "target 1 iqn.2025-01.test.rootlun:target at 10.0.3.2 lun 1 by nic 1"
	)
	return map[string][]string{
		"ipxe-dhcp":           {nicDHCP, disk},
		"ipxe-dhcp-hostname":  {nicDHCP + " host node1", disk},
		"ipxe-name":           {"nic 0 52:54:00:12:34:56 dhcp 10.0.2.15/24 gateway 10.0.2.2 dns 10.0.2.2", disk},
		"ipxe-redirect":       {nicDHCP, disk},
		"ipxe-static":         {"nic 0 52:54:00:12:34:56 static 10.0.2.77/24 gateway 10.0.2.2 dns 10.0.2.3 host node1", disk},
		"ipxe-no-gateway":     {"nic 0 52:54:00:12:34:56 static 10.0.2.77/24", disk},
		"ipxe-chap":           {nicDHCP, chap},
		"ipxe-mutual-chap":    {nicDHCP, mutual},
		"ipxe-lun-dashes":     {nicDHCP, "target 0 iqn.2025-01.test.rootlun:target at 10.0.2.2 lun 255 by nic 0"},
		"ipxe-lun-flat":       {nicDHCP, "target 0 iqn.2025-01.test.rootlun:target at 10.0.2.2 lun 16684 by nic 0"},
		"ipxe-two-targets":    {nicDHCP, disk, "target 1 iqn.2025-01.test.rootlun:target.second at 10.0.2.2 lun 1 by nic 0"},
		"ipxe-two-nics":       {nicDHCP, nic1DNS, disk, "target 1 iqn.2025-01.test.rootlun:target.second at 10.0.3.2 lun 1 by nic 1"},
		"ipxe-multipath":      {nicDHCP, nic1DNS, disk, path1},
		"ipxe-uefi":           {nicDHCP, disk},
		"ipxe-uefi-chap":      {nicDHCP, mutual},
		"ipxe-uefi-multipath": {nicDHCP, nic1DNS, disk, path1},
		"ipxe-ipv6": {"nic 0 52:54:00:12:34:56 dhcp", "target 0 iqn.2025-01.test.rootlun:target at 254.192.0.0 lun 1 by nic 0",
			"iBFT (ACPI): target 0: 254.192.0.0 is no machine's address: some firmware writes an IPv6 address like this, cut short"},

		"ovmf-dhcp":             {nicDHCP, disk},
		"ovmf-redirect":         {nicDHCP, disk},
		"ovmf-static":           {nicStatic, disk},
		"ovmf-no-gateway":       {"nic 0 52:54:00:12:34:56 static 10.0.2.15/24", disk},
		"ovmf-chap":             {nicDHCP, chap},
		"ovmf-mutual-chap":      {nicDHCP, mutual},
		"ovmf-lun-flat":         {nicDHCP, "target 0 iqn.2025-01.test.rootlun:target at 10.0.2.2 lun 16684 by nic 0"},
		"ovmf-two-targets":      {nicDHCP, "nic 1" + nicDHCP[5:], disk, "target 1 iqn.2025-01.test.rootlun:target.second at 10.0.2.2 lun 1 by nic 1"},
		"ovmf-multipath":        {nicStatic, nic1, disk, path1},
		"ovmf-multipath-broken": {nicStatic, nic1, disk, path1},
		"ovmf-ipv6":             {"nic 0 52:54:00:12:34:56 static fe80::5054:ff:fe12:3456/64", "target 0 iqn.2025-01.test.rootlun:target at fec0::2 lun 1 by nic 0"},
		"ovmf-vlan":             {"nic 0 52:54:00:12:34:57 vlan 5 static 10.0.5.15/24 gateway 10.0.5.2", "target 0 iqn.2025-01.test.rootlun:target at 10.0.5.2 lun 1 by nic 0"},
	}
}

// brief tells the NICs, the targets and the warnings of a plan, one a line. It
// leaves out what is empty, and the ports, which are those of one run.
func brief(p *Plan) (lines []string) {
	for _, n := range p.NICs {
		line := fmt.Sprint("nic ", n.Index, " ", n.MAC)
		if n.VLAN != 0 {
			line += fmt.Sprint(" vlan ", n.VLAN)
		}
		line += " " + n.Origin
		for _, a := range n.Address {
			line += " " + a.String()
		}
		if n.Gateway.IsValid() {
			line += " gateway " + n.Gateway.String()
		}
		for _, a := range n.DNS {
			line += " dns " + a.String()
		}
		if n.Hostname != "" {
			line += " host " + n.Hostname
		}
		lines = append(lines, line)
	}
	for _, t := range p.Targets {
		line := fmt.Sprintf("target %d %s at %s lun %d by nic %d", t.Index, t.Name, t.Host, t.LUN.Uint64(), t.NIC)
		if t.CHAP != nil {
			line += " with " + t.Auth()
		}
		lines = append(lines, line)
	}
	return append(lines, p.Warnings...)
}

// listed makes a tree of lines, NAME TEXT each; the text of a link is where it
// leads.
func listed(text, below string) fstest.MapFS {
	tree := fstest.MapFS{}
	for line := range strings.Lines(text) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		entry := &fstest.MapFile{Data: []byte(text + "\n")}
		if strings.HasSuffix(name, "/device") {
			entry = &fstest.MapFile{Data: []byte(text), Mode: fs.ModeSymlink}
		}
		tree[below+name] = entry
	}
	return tree
}
