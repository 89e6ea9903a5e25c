package qemutests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/initramfs"
)

// sessionsInit is the /init of a machine that calls the verbs of sessions in the
// order of a session's life, and asks Debian's iscsiadm the same.
const sessionsInit = `#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /run /sbin /mnt /etc/iscsi /var/lib/iscsi /run/lock
/bin/busybox --install -s /bin
ln -sf /bin/modprobe /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_net ext4; do modprobe "$module"; done
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
echo InitiatorName=%[1]s >/etc/iscsi/initiatorname.iscsi
printf 'discovery.sendtargets.auth.username = lister\ndiscovery.sendtargets.auth.password = %[2]s\n' >/run/credentials
portal=10.0.2.2:%[3]d target=%[4]s
show() { echo "BEGIN $1"; shift; "$@" 2>&1; echo "END $?"; }
rootlun() { /usr/bin/rootlun "$@"; }

show none rootlun sessions
show open rootlun discover $portal
echo "discovery may be closed"
while rootlun discover $portal >/dev/null 2>&1; do :; done
show closed rootlun discover $portal
show chap rootlun discover $portal --credentials /run/credentials
show json rootlun discover $portal --credentials /run/credentials --json

show login rootlun login --target $target --portal $portal --initiator %[1]s --lun 1
show rescan rootlun rescan
for level in 0 1 2 3; do
    show "ours $level" rootlun sessions -P $level
    show "theirs $level" iscsiadm -m session -P $level
done
show sessions rootlun sessions --json
echo "a unit may come"
until rootlun rescan 2>&1 | grep -q 'LUN 3 '; do :; done
show links ls -l /dev/disk/by-path

disk=$(ls -d /dev/disk/by-path/*-lun-1)
mount $disk /mnt || mount -t ext4 $disk /mnt
show mounted rootlun logout $target
umount /mnt
other=$(readlink -f /dev/disk/by-path/*-lun-2)
mkswap $other >/dev/null && swapon $other
show swapped rootlun logout --all
swapoff $other
show elsewhere rootlun logout $target 10.0.2.3
show logout rootlun logout $target $portal
show gone rootlun sessions
echo "left:" /sys/class/iscsi_session/* /sys/block/sd*

rootlun login --target $target --portal $portal --initiator %[1]s --lun 1 2>/dev/null
mount -t ext4 /dev/disk/by-path/*-lun-1 /mnt
show forced rootlun logout --all --force
echo "left:" /sys/class/iscsi_session/* /sys/block/sd*
poweroff -f
`

func TestSessionVerbs(t *testing.T) {
	s := newScene(t)
	const secret = "secret-of-lister"
	target := s.target()
	tgt := s.startTGT(target)
	unit := func(lun int) {
		image := filepath.Join(s.dir, fmt.Sprintf("unit%d.img", lun))
		if err := os.WriteFile(image, make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tgt.Admin("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", strconv.Itoa(lun), "-b", image); err != nil {
			t.Fatal(err)
		}
	}
	unit(2)
	unit(16385)
	script := fmt.Sprintf(sessionsInit, initiatorName, secret, tgt.Port, target.Name)
	files := append(s.openISCSI("iscsiadm"), initramfs.File{Source: filepath.Join(filepath.Dir(s.image), "rootlun"), Destination: "/usr/bin/rootlun"})
	image, err := s.MakeGuest(s.dir, []byte(script), []string{"virtio_pci", "virtio_net", "ext4"}, files...)
	if err != nil {
		t.Fatal(err)
	}
	r := s.start(Machine{Dir: s.dir, Kernel: s.Kernel, Initrd: image, Cmdline: []string{"quiet"}})
	s.waitFor(r, "discovery may be closed")
	for _, args := range [][]string{
		{"--mode", "account", "--op", "new", "--user", "lister", "--password", secret},
		{"--mode", "account", "--op", "bind", "--user", "lister"},
	} {
		if err := tgt.Admin(args...); err != nil {
			t.Fatal(err)
		}
	}
	s.waitFor(r, "a unit may come")
	unit(3)
	if err := r.Wait(); err != nil {
		t.Fatalf("%v:\n%s", err, tail(r.Console.String(), 60))
	}
	console := strings.ReplaceAll(r.Console.String(), "\r", "")
	shown := func(what string, code int) string {
		t.Helper()
		m := regexp.MustCompile(`(?s)BEGIN ` + what + `\n(.*?)END (\d+)\n`).FindStringSubmatch(console)
		if m == nil {
			t.Fatalf("nothing of %s:\n%s", what, tail(console, 60))
		}
		if m[2] != strconv.Itoa(code) {
			t.Errorf("%s: exit code %s, want %d:\n%s", what, m[2], code, m[1])
		}
		return m[1]
	}
	holds := func(what string, code int, texts ...string) {
		t.Helper()
		got := shown(what, code)
		for _, text := range texts {
			if !strings.Contains(got, text) {
				t.Errorf("%s: no %q in\n%s", what, text, got)
			}
		}
	}
	holds("none", 21, "there is no such session")
	holds("open", 0, ":"+strconv.Itoa(tgt.Port)+",1 "+target.Name+"\n")
	holds("closed", 1, "authentication")
	holds("chap", 0, ":"+strconv.Itoa(tgt.Port)+",1 "+target.Name+"\n")
	holds("json", 0, `"name": "`+target.Name+`"`, `"tpgt": 1`)
	holds("login", 0, "/dev/sda\n")
	holds("rescan", 0, "LUN 1 (", "LUN 2 (", "LUN 16385 (")

	// The same as iscsiadm, but for what it asks its daemon, what it hides, the
	// timers that it leaves out, and the order of the units, which is by name there.
	differ := regexp.MustCompile(`(?m)^(iSCSI Transport Class version|version|iscsiadm:|\s+(iSCSI Connection State|password|password_in|NOP-Out \w+):|\s+scsi\d+ .* Lun: 16385\n).*\n`)
	for level := range 4 {
		ours, theirs := shown(fmt.Sprint("ours ", level), 0), shown(fmt.Sprint("theirs ", level), 0)
		if diff := cmp.Diff(differ.ReplaceAllString(theirs, ""), differ.ReplaceAllString(ours, "")); diff != "" {
			t.Errorf("-P %d (-iscsiadm +ours):\n%s", level, diff)
		}
	}
	holds("ours 3", 0, "Lun: 16385\n\t\t\tAttached scsi disk sd", "iSCSI Connection State: LOGGED IN", "NOP-Out Interval: 0")
	var list struct {
		Sessions []struct {
			Target string
			Units  []struct {
				LUN  uint64
				Disk string
			}
		}
	}
	if err := json.Unmarshal([]byte(shown("sessions", 0)), &list); err != nil || len(list.Sessions) != 1 || list.Sessions[0].Target != target.Name {
		t.Errorf("%v, %+v", err, list)
	}
	link := fmt.Sprintf("ip-10.0.2.2:%d-iscsi-%s-lun-", tgt.Port, target.Name)
	holds("links", 0, link+"1 -> ../../sda", link+"2 -> ../../sd", link+"3 -> ../../sd", link+"0x4001000000000000 -> ../../sd")
	holds("mounted", 1, "sda is mounted on /mnt")
	holds("swapped", 1, "is swap")
	holds("elsewhere", 21, "no such session")
	holds("logout", 0, "done")
	holds("gone", 21, "no such session")
	holds("forced", 0, "done")
	if n := strings.Count(console, "left: /sys/class/iscsi_session/* /sys/block/sd*\n"); n != 2 {
		t.Errorf("%d times nothing is left, want 2:\n%s", n, tail(console, 40))
	}
	if strings.Contains(console, secret) {
		t.Error("the console shows the secret")
	}
}

// TestTargetWithoutName boots from the only target that a portal lists, whose root
// is named by the link to its disk.
func TestTargetWithoutName(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	link := fmt.Sprintf("ip-10.0.2.2:%d-iscsi-%s-lun-1", port, target.Name)
	report, console := s.boot(s.machine(fmt.Sprintf("netroot=iscsi:%s::%d:1:", HostAddress, port), iname, static, "root=/dev/disk/by-path/"+link))
	checkRootOn(t, "/dev/disk/by-path/"+link+" / ext4 ", report, console, port, target)
	if links := report["$ ls -l /dev/disk/by-path"]; !strings.Contains(links, link+" -> ../../sda\n") {
		t.Errorf("the links are:\n%s", links)
	}
	shows(t, console, "target (the only one there) at 10.0.2.2:")
}

// TestTwoTargetsWithoutName does not choose.
func TestTwoTargetsWithoutName(t *testing.T) {
	s := newScene(t)
	one := s.target()
	two := one
	two.Name += "2"
	port := s.tgts(one, two)
	console := s.fail(s.machine(fmt.Sprintf("netroot=iscsi:%s::%d:1:", HostAddress, port), iname, static))
	shows(t, console, "no source names the target, and 10.0.2.2:", two.Name)
}

// TestNoLUN0 boots from a target that has no LUN 0, nor says anywhere which one it
// has.
func TestNoLUN0(t *testing.T) {
	s := newScene(t)
	target := s.target()
	target.LUN = 0x4005
	port := s.lio(target)
	report, console := s.boot(s.machine(fmt.Sprintf("netroot=iscsi:%s::%d::%s", HostAddress, port, target.Name), iname, static, "root=LABEL="+RootLabel))
	checkRoot(t, report, console, port, target)
	shows(t, console, "no LUN is named and LUN 0 is no disk: LUN 16389 is taken, of 1 disks")
}
