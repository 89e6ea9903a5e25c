package qemutests

import (
	"path/filepath"
	"strings"
	"testing"

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
