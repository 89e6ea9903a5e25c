package qemutests

import (
	"fmt"
	"testing"
)

// TestInitramfsFile boots as Debian's initramfs would: the target and the
// secrets stand in /etc/iscsi.initramfs, the network in the kernel's dialect,
// and the root comes by its label. Such a file can't name a LUN, and tgt's LUN 0
// is no disk.
func TestInitramfsFile(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(true)
	port := s.tgt(target)
	m := s.machine("ip=:::::eth0:dhcp", "root=LABEL="+RootLabel, "rw")
	m.Initrd = s.beside("etc/iscsi.initramfs", fmt.Sprintf(`# written by hand
ISCSI_INITIATOR="%s"
export ISCSI_TARGET_NAME=%s
ISCSI_TARGET_IP='%s' ISCSI_TARGET_PORT=%d
ISCSI_USERNAME=%s ; ISCSI_PASSWORD="%s"
ISCSI_IN_USERNAME=%s
ISCSI_IN_PASSWORD='%s'
`, initiatorName, target.Name, HostAddress, port, target.Username, target.Secret, target.UsernameIn, target.SecretIn))
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	noSecret(t, console, target)
	shows(t, console, "plan: initiator "+initiatorName+", from /etc/iscsi.initramfs", "mutual CHAP as "+target.Username+", from /etc/iscsi.initramfs",
		"LUN 0 is no disk: LUN 1 is taken, of 1 disks")
}
