package qemutests

import (
	"strings"
	"testing"
	"time"
	"os"
)
type stamped struct {
	began time.Time
	line  []byte
}

func (s *stamped) Write(p []byte) (int, error) {
	for _, b := range p {
		s.line = append(s.line, b)
		if b == '\n' {
			os.Stderr.WriteString(time.Since(s.began).Round(100*time.Millisecond).String() + " " + string(s.line))
			s.line = s.line[:0]
		}
	}
	return len(p), nil
}
func TestTmpAutoboot(t *testing.T) {
	s, b := newNode(t)
	disk := strings.SplitAfter(s.commands("quickstart-ipxe.md"), "\n")[:6]
	far := b.serve(strings.Replace(strings.Join(disk, ""), "ro console", "ro rd.rootlun.keep=0 console", 1) + s.commands("pxe-fleet.md") + "cat >/etc/dnsmasq.d/nodes.conf <<'END'\n" + s.block("pxe-fleet.md", "dnsmasq") + "END\n" +
		"dnsmasq --no-daemon --conf-file=/dev/null --conf-dir=/etc/dnsmasq.d\n")
	m := s.node(far, "52:54:00:00:01:01", NoROM)
	m.Copy = &stamped{began: time.Now()}
	m.More = []string{"-bios", "/usr/share/ovmf/OVMF.fd"}
	o := s.powerOn(m)
	o.sees("Press Ctrl-B")
	o.types("\x02")
	o.sees("iPXE>")
	o.types("autoboot")
	o.logIn("node1")
	o.types("mount /dev/sda1 /mnt && grub-install --target=x86_64-efi --efi-directory=/mnt --removable --no-nvram && umount /mnt && node-report first && poweroff")
	checkNode(t, o.end(), "first", "iBFT (ACPI)", "1")
	// and again by that
	o = s.powerOn(m)
	o.logIn("node1")
	o.types("node-report second && poweroff")
	checkNode(t, o.end(), "second", "iBFT (ACPI)", "1")
}
