package qemutests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// networkInit is the /init of a machine that calls rootlun's steps as another
// initramfs would: the network once where nothing asks for it, then until it is
// there, once more, and the login.
const networkInit = `#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /run /sbin
/bin/busybox --install -s /bin
ln -sf /bin/modprobe /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_net; do modprobe "$module"; done
echo quiet >/run/cmdline
mount -o bind /run/cmdline /proc/cmdline
/usr/bin/rootlun network --json
echo "nothing asked: $?"
umount /proc/cmdline
/usr/bin/rootlun network --usage
echo "asked wrongly: $?"
until /usr/bin/rootlun network --json >/run/json; do
    echo "not there: $(cat /sys/class/net/eth0/flags) $(echo /run/*)"
done
sed 's/^/json: /' /run/json
/usr/bin/rootlun network
echo "again: $?"
grep -H . /run/net-eth0.conf /run/systemd/network/05-rootlun-eth0.network
/usr/bin/rootlun login --portal 10.7.0.1 --initiator %s --target %s --lun 1
echo "login: $?"
poweroff -f
`

// TestNetworkAlone calls rootlun network in an initramfs that is not ours. The
// DHCP server starts when an attempt has failed.
func TestNetworkAlone(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	s.farTGT(far, s.target())
	image, err := s.MakeGuest(s.dir, fmt.Appendf(nil, networkInit, initiatorName, targetName), []string{"virtio_pci", "virtio_net"},
		initramfs.File{Source: filepath.Join(filepath.Dir(s.image), "rootlun"), Destination: "/usr/bin/rootlun"})
	if err != nil {
		t.Fatal(err)
	}
	m := s.wired(s.cable(far.Segments[0], nil), "ip=eth0:dhcp", "rd.net.timeout.dhcp=3", "rd.rootlun.timeout=5", "rd.iscsi.initiator="+initiatorName,
		"netroot=iscsi:10.7.0.1:::1:"+targetName, "quiet")
	m.Initrd = image
	r := s.start(m)
	s.waitFor(r, "not there: ")
	s.dnsmasq(far, "--interface=net0", dhcpRange)
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	console := r.Console.String()
	shows(t, console, "nothing asked: 21", "asked wrongly: 2", "no DHCP offer", "not there: 0x1002 /run/cmdline /run/json", // neither IFF_UP nor a file
		`json: `+"\t\t\t"+`"name": "eth0",`, "lease of 1 h from 10.7.0.1", "is left as it is", "again: 0", "PROTO='dhcp'", "KeepConfiguration=yes", "login: 0")
	if n := strings.Count(console, "network: eth0 (virtio_net, "+nearMAC+") 10.7.0.1"); n != 2 {
		t.Errorf("%d lines say that eth0 is up, want 2:\n%s", n, tail(console, 60))
	}
}
