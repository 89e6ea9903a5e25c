package qemutests

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/initramfs"
)

// linksInit is the /init of a machine that runs tests of boot/network, with a
// kernel that has what the host's may lack.
const linksInit = `#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /sbin
/bin/busybox --install -s /bin
ln -sf /bin/modprobe /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in veth bridge 8021q af_packet ipv6; do modprobe "$module"; done
modprobe bonding max_bonds=0
ROOTLUN_TEST_ALL_LINKS=1 /network.test -test.v -test.run 'VLAN|Bond'
echo "tests ended: $?"
poweroff -f
`

// TestLinks runs boot/network's tests of VLANs and bonds.
func TestLinks(t *testing.T) {
	s := newScene(t)
	program := filepath.Join(s.dir, "network.test")
	if err := run(s.ctx, "env", "-C", s.Repo, "CGO_ENABLED=0", "go", "test", "-c", "-o", program, "./boot/network"); err != nil {
		t.Fatal(err)
	}
	image, err := s.MakeGuest(s.dir, []byte(linksInit), []string{"veth", "bridge", "8021q", "bonding", "af_packet", "ipv6"},
		initramfs.File{Source: program, Destination: "/network.test"})
	if err != nil {
		t.Fatal(err)
	}
	_, console := s.run(Machine{Dir: s.dir, Kernel: s.Kernel, Initrd: image, Cmdline: []string{"quiet"}})
	if !strings.Contains(console, "tests ended: 0") || !strings.Contains(console, "--- PASS: TestBondFailure") || strings.Contains(console, "SKIP") {
		t.Error(tail(console, 60))
	}
}

// The firmware's VLAN, with a NIC that the table names by its PCI address alone,
// beside another.
func TestVLANStatic(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	table := s.wireTable(target, ibft.OriginStatic, "10.7.0.9/24")
	table.NICs[0].MAC, table.NICs[0].PCI, table.NICs[0].VLAN = [6]byte{}, 9<<3, 5
	m := s.byTable(s.cable(nil, map[uint16]*Segment{5: far.Segments[0]}), table)
	m.Plugs[0].NIC, m.Decoys = "virtio-net-pci,addr=9", []string{"virtio-net-pci"}
	report, console := s.boot(m)
	shows(t, console, "VLAN 5 over eth")
	if len(report.Match("/sys/class/net/eth*.5/address")) != 1 {
		t.Errorf("no VLAN:\n%s", report["$ ip address"])
	}
	s.has(report, "$ ip address", "inet 10.7.0.9/24 scope global eth")
}

// The firmware's VLAN by DHCP; another VLAN and untagged frames have servers
// too, which must not be heard.
func TestVLANByDHCP(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"}, []string{"10.8.0.1/24"}, []string{"10.9.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	s.dnsmasq(far, dhcpRange, "--dhcp-range=10.8.0.100,10.8.0.200,255.255.255.0", "--dhcp-range=10.9.0.100,10.9.0.200,255.255.255.0")
	table := s.wireTable(target, ibft.OriginDHCP, "")
	table.NICs[0].VLAN = 5
	seg := far.Segments
	report, _ := s.boot(s.byTable(s.cable(seg[1], map[uint16]*Segment{5: seg[0], 6: seg[2]}), table))
	s.has(report, "$ ip address", "scope global eth0.5")
	if text := report["$ ip address"]; strings.Contains(text, "10.8.0.") || strings.Contains(text, "10.9.0.") {
		t.Errorf("addresses of other networks:\n%s", text)
	}
}

// ip= names the NIC as udev would.
func TestPredictableName(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	s.farTGT(far, s.target())
	m := s.wired(s.cable(far.Segments[0], nil), "ip=10.7.0.9:::255.255.255.0::enp0s9:none",
		"rd.iscsi.initiator="+initiatorName, "netroot=iscsi:10.7.0.1:::1:"+targetName)
	m.Plugs[0].NIC, m.Decoys = "virtio-net-pci,addr=9", []string{"virtio-net-pci"}
	_, console := s.boot(m)
	shows(t, console, "enp0s9 is named eth")
}
