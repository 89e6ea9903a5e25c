package qemutests

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// bondImage makes the product's image with the driver of bonds.
func (s *scene) bondImage() string {
	s.t.Helper()
	image := filepath.Join(s.dir, "initrd")
	if err := writeImage(image, initramfs.Config{Init: filepath.Join(filepath.Dir(s.image), "rootlun"),
		Modules: s.Modules, Drivers: []string{"bonding"}, Compress: "zstd"}); err != nil {
		s.t.Fatal(err)
	}
	return image
}

// TestBondLosesALeg boots over a bond with a VLAN on it, and the leg in use is
// lost while the root is read.
func TestBondLosesALeg(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	s.farTGT(far, s.target())
	s.dnsmasq(far, "--interface=net0", dhcpRange)
	vlans := map[uint16]*Segment{5: far.Segments[0]}
	legs := []*Cable{s.cable(nil, vlans), s.cable(nil, vlans)}
	var sent [2]atomic.Int64
	busy := make(chan int, len(legs))
	for i, c := range legs {
		tell := sync.OnceFunc(func() { busy <- i })
		c.Filter(func(f Frame) bool {
			if sent[i].Add(int64(len(f.Data))) > 300<<10 {
				tell() // the root is being read
			}
			return true
		})
	}
	m := s.machine("ip=storage.5:dhcp", "vlan=storage.5:bond0", "bond=bond0:eth0,eth1:mode=active-backup,miimon=50,primary=eth0",
		"rd.iscsi.initiator="+initiatorName, "netroot=iscsi:10.7.0.1:::1:"+targetName)
	m.Initrd, m.Net = s.bondImage(), "none"
	m.Plugs = []Plug{{Cable: legs[0], MAC: plugMACs[0]}, {Cable: legs[1], MAC: plugMACs[1]}}
	r := s.start(m)
	first := 0
	select {
	case first = <-busy:
		r.SetLink(first, false)
	case <-r.done:
	}
	other := &sent[1-first]
	before := other.Load()
	report, console := s.booted(r)
	shows(t, console, "storage.5 (VLAN 5 over bond0, bond of eth0 and eth1, "+strings.TrimRight(nearMAC, "0"))
	s.has(report, "$ ip address", "scope global storage.5")
	if state := report.Text("/sys/class/net/eth0/operstate"); state == "up" {
		t.Errorf("eth0, the primary, is %s at the end", state)
	}
	if after := other.Load(); after-before < 10<<10 {
		t.Errorf("%d bytes by the other leg", after-before)
	}
}
