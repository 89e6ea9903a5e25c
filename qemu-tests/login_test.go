package qemutests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// loginInit is the /init of a machine that has its NIC up and calls rootlun as
// another initramfs would. The secret comes in a file, not in an argument.
const loginInit = `#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /run /sbin
/bin/busybox --install -s /bin
ln -sf /bin/modprobe /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_net; do modprobe "$module"; done
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
printf 'node.session.auth.username = %%s\nnode.session.auth.password = %%s\n' %[1]s %[2]s >/run/credentials
rootlun() { disk=$(/usr/bin/rootlun login --portal 10.0.2.2:%[3]d --initiator %[4]s --lun 1 "$@"); echo "code $? $disk"; }
rootlun --target %[5]s
rootlun --target %[5]s --credentials /run/credentials
echo "sessions:" /sys/class/iscsi_session/*
poweroff -f
`

func TestLoginAlone(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(false)
	port := s.tgt(target)
	script := fmt.Sprintf(loginInit, target.Username, target.Secret, port, initiatorName, target.Name)
	image, err := s.MakeGuest(s.dir, []byte(script), []string{"virtio_pci", "virtio_net"},
		initramfs.File{Source: filepath.Join(filepath.Dir(s.image), "rootlun"), Destination: "/usr/bin/rootlun"})
	if err != nil {
		t.Fatal(err)
	}
	_, console := s.run(Machine{Dir: s.dir, Kernel: s.Kernel, Initrd: image, Cmdline: []string{"quiet"}})
	// The drivers are loaded on the way; a refused login leaves no session, a
	// good one prints its disk.
	shows(t, console, "it wants authentication", "code 1 ", "code 0 /dev/sda", "sessions: /sys/class/iscsi_session/session")
	if n := strings.Count(console, "/sys/class/iscsi_session/session"); n != 1 {
		t.Errorf("%d sessions are left, want that of the good login", n)
	}
	noSecret(t, console, target)
}
