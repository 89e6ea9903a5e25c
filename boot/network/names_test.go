package network

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pciNIC makes sysfs say that an interface is a NIC at a PCI address; below is
// the device under the function, "virtio0", or "". It returns the function's
// folder.
func pciNIC(t *testing.T, sysfs, name, address, below string) string {
	t.Helper()
	dev := filepath.Join(sysfs, "devices/pci", address)
	class := filepath.Join(sysfs, "class/net", name)
	for _, dir := range []string{filepath.Join(dev, below), class, filepath.Join(sysfs, "bus/pci/devices")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dev, below), filepath.Join(class, "device")); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink(dev, filepath.Join(sysfs, "bus/pci/devices", address)) // two may be one function's
	return dev
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Names that systemd 252 gives such NICs.
func TestUdevNames(t *testing.T) {
	h := host{sysfs: t.TempDir()}
	pciNIC(t, h.sysfs, "plain", "0000:00:03.0", "virtio0")
	slot := pciNIC(t, h.sysfs, "slot", "0000:0b:00.0", "")
	writeFile(t, filepath.Join(slot, "config"), strings.Repeat("\x00", 14)+"\x80\x00")
	writeFile(t, filepath.Join(h.sysfs, "bus/pci/slots/192/address"), "0000:0b:00\n")
	writeFile(t, filepath.Join(h.sysfs, "bus/pci/slots/A-1/address"), "0000:0b:00\n")
	onboard := pciNIC(t, h.sysfs, "onboard", "10000:41:1f.1", "")
	writeFile(t, filepath.Join(onboard, "index"), "2\n")
	writeFile(t, filepath.Join(h.sysfs, "class/net/onboard/phys_port_name"), "p1\n")
	dual := pciNIC(t, h.sysfs, "dual", "0000:05:00.0", "")
	writeFile(t, filepath.Join(dual, "acpi_index"), "1\n")
	writeFile(t, filepath.Join(dual, "index"), "7\n")
	writeFile(t, filepath.Join(h.sysfs, "class/net/dual/dev_port"), "1\n")
	pciNIC(t, h.sysfs, "usb", "0000:00:14.0", "1-1:1.0")
	pciNIC(t, h.sysfs, "xen", "0000:00:00.0", "vif-3")

	for name, want := range map[string][]string{
		"plain":   {"enp0s3"},
		"slot":    {"ens192f0", "enp11s0f0"},
		"onboard": {"eno2np1", "enP65536p65s31f1np1"},
		"dual":    {"eno1d1", "enp5s0d1"},
		"usb":     nil,
		"xen":     {"enX3"},
		"none":    nil,
	} {
		l := link{name: name, mac: net.HardwareAddr{2, 0, 0, 0, 0, 9}, permanent: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}}
		if d := cmp.Diff(append([]string{"enx525400000001"}, want...), h.udevNames(&l)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestParsePCI(t *testing.T) {
	for s, want := range map[string]pciAddress{
		"0000:00:03.0":  {0, 0, 3, 0},
		"10000:e1:1f.7": {0x10000, 0xe1, 0x1f, 7},
	} {
		if got, ok := parsePCI(s); !ok || got != want {
			t.Errorf("%s: %v %t", s, got, ok)
		}
	}
	for _, s := range []string{"", "virtio0", "0000:00:03", "00:03.0", "0000:00:03.g", "1-1:1.0", "0.0.0.0", "0:0:0:0.0"} {
		if got, ok := parsePCI(s); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestChooseByPCIAndName(t *testing.T) {
	mac := func(s string) net.HardwareAddr { return must(net.ParseMAC(s)) }
	h := host{sysfs: t.TempDir()}
	pciNIC(t, h.sysfs, "eth0", "0000:00:03.0", "virtio0")
	pciNIC(t, h.sysfs, "eth1", "0000:00:04.0", "virtio1")
	pciNIC(t, h.sysfs, "eth2", "0001:05:00.0", "")
	pciNIC(t, h.sysfs, "eth3", "0002:06:00.0", "") // two ports of one function
	pciNIC(t, h.sysfs, "eth4", "0002:06:00.0", "")
	eth := func(i int, m string) link {
		return link{name: "eth" + string(rune('0'+i)), index: i + 2, mac: mac(m), ethernet: true}
	}
	eth0, eth1 := eth(0, "52:54:00:00:00:01"), eth(1, "52:54:00:00:00:01")
	eth2, eth3, eth4 := eth(2, "52:54:00:00:00:03"), eth(3, "52:54:00:00:00:04"), eth(4, "52:54:00:00:00:05")
	eth2.alt = []string{"storage"}
	all := []link{eth0, eth1, eth2, eth3, eth4}
	renamed := eth3
	renamed.name = "enp0s3"
	bond := link{name: "bond0", index: 20, mac: eth2.mac, ethernet: true}
	port2, port3 := eth2, eth3
	port2.master, port2.permanent = 20, eth2.mac
	port3.master, port3.permanent, port3.mac = 20, eth3.mac, eth2.mac
	bonds := []Bond{{Name: "bond0", Ports: []string{"eth2", "eth3"}}}

	for _, test := range []struct {
		name  string
		cfg   Config
		links []link
		want  string // name, or part of the error
	}{
		{"PCI alone", Config{PCI: "0000:00:04.0"}, all, "eth1"},
		{"PCI of a MAC that two have", Config{MAC: eth0.mac, PCI: "0000:00:04.0"}, all, "eth1"},
		{"PCI of nothing, and a MAC that two have", Config{MAC: eth0.mac, PCI: "0000:09:04.0"}, all, "more than one: eth0"},
		{"another MAC at the address", Config{MAC: mac("52:54:00:00:00:99"), PCI: "0000:00:03.0"}, all, "eth0"},
		{"the MAC is elsewhere", Config{MAC: eth2.mac, PCI: "0000:00:03.0"}, all, "eth2"},
		{"another domain", Config{PCI: "0000:05:00.0"}, all, "eth2"},
		{"another function", Config{PCI: "0000:05:00.1"}, all, ""},
		{"two at one address", Config{PCI: "0000:06:00.0"}, all, "more than one: eth3"},
		{"two at one address, by MAC", Config{MAC: eth4.mac, PCI: "0000:06:00.0"}, all, "eth4"},
		{"two at one address, no such MAC", Config{MAC: mac("52:54:00:00:00:99"), PCI: "0000:06:00.0"}, all, ""},
		{"nonsense", Config{PCI: "nonsense"}, all, ""},
		{"name that udev gives", Config{Name: "enp0s3"}, all, "eth0"},
		{"its own name wins", Config{Name: "enp0s3"}, []link{eth0, renamed}, "enp0s3"},
		{"alternative name", Config{Name: "storage"}, all, "eth2"},
		{"name by MAC", Config{Name: "enx525400000003"}, all, "eth2"},
		{"name by a MAC that two have", Config{Name: "enx525400000001"}, all, "NIC enx525400000001: there is more than one"},
		{"name of none", Config{Name: "enp9s9"}, all, ""},
		{"port of a bond", Config{MAC: eth2.mac}, []link{port2, port3, bond}, ""},
		{"port of our bond", Config{MAC: eth2.mac, Bonds: bonds}, []link{port2, port3, bond}, "eth2"},
		{"port that has another's MAC", Config{MAC: eth3.mac, Bonds: bonds}, []link{port2, port3, bond}, "eth3"},
	} {
		got, err := h.choose(&test.cfg, pointers(test.links))
		switch {
		case err != nil:
			if !strings.Contains(test.want, "more than one") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v, want %q", test.name, err, test.want)
			}
		case got == nil:
			if test.want != "" {
				t.Errorf("%s: nothing chosen, want %s", test.name, test.want)
			}
		case got.name != test.want:
			t.Errorf("%s: chose %s, want %q", test.name, got.name, test.want)
		}
	}
}
