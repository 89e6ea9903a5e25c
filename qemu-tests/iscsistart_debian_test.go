package qemutests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// debianImage makes an initramfs by Debian's own hooks and scripts, those of its
// open-iscsi with them, in which only iscsistart is not Debian's: it is a link, as the
// package rootlun-iscsistart has it.
func (s *scene) debianImage(tree string) (kernel, image string) {
	s.t.Helper()
	b := s.builder(tree)
	b.put(s.init, "usr/sbin/rootlun")
	b.run("ln -sf rootlun /usr/sbin/iscsistart; echo InitiatorName=" + initiatorName + " >/etc/iscsi/initiatorname.iscsi; update-initramfs -c -k all")
	return b.get("/boot/vmlinuz-*", "vmlinuz"), b.get("/boot/initrd.img-*", "initrd.img")
}

// TestISCSIStartInDebian boots by Debian's open-iscsi for initramfs-tools, with
// our iscsistart.
func TestISCSIStartInDebian(t *testing.T) {
	for _, tree := range []string{"debian12-builder", "debian13-builder"} {
		t.Run(strings.TrimSuffix(tree, "-builder"), func(t *testing.T) {
			s := newSystem(t)
			kernel, image := s.debianImage(tree)
			for _, boot := range []struct {
				name string
				run  func(s *scene, m Machine) Report
			}{
				{"table", debianTable}, {"static", debianStatic}, {"DHCP", debianDHCP},
			} {
				if tree != "debian12-builder" && boot.name != "static" {
					continue
				}
				t.Run(boot.name, func(t *testing.T) {
					s := newSystem(t)
					s.image = image
					report := boot.run(s, Machine{
						Dir: s.dir, Kernel: kernel, Initrd: image,
						Cmdline: []string{"root=LABEL=" + RootLabel, "quiet"},
					})
					const session, connection = "/sys/class/iscsi_session/session1/", "/sys/class/iscsi_connection/connection1:0/"
					want := map[string]string{
						"/etc/root-name":          t.Name(),
						session + "initiatorname": initiatorName,
						session + "recovery_tmo":  "86400",
						session + "username_in":   "target-user",
						connection + "ping_tmo":   "0",
						connection + "recv_tmo":   "0",
						"/written":                "yes",
					}
					got := map[string]string{}
					for name := range want {
						got[name] = report.Text(name)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("the report differs (-want +got):\n%s", diff)
					}
				})
			}
		})
	}
}

// debianTable boots by the firmware's table (iscsi_auto), with mutual CHAP.
func debianTable(s *scene, m Machine) Report {
	target := s.chapTarget(true)
	m.ACPI = s.acpi(FirmwareTable(initiatorName, s.tgt(target), target))
	m.Cmdline = append(m.Cmdline, "iscsi_auto")
	report, console := s.boot(m)
	noSecret(s.t, console, target)
	return report
}

// debianDHCP has all of it on the kernel command line.
func debianDHCP(s *scene, m Machine) Report {
	target := s.chapTarget(true)
	m.Cmdline = append(m.Cmdline, "ip=dhcp", "iscsi_initiator="+initiatorName, "iscsi_target_name="+target.Name,
		"iscsi_target_ip="+HostAddress, fmt.Sprint("iscsi_target_port=", s.tgt(target)),
		"iscsi_username="+target.Username, "iscsi_password="+target.Secret, "iscsi_in_username="+target.UsernameIn, "iscsi_in_password="+target.SecretIn)
	report, _ := s.boot(m)
	return report
}

// debianStatic has the target in /etc/iscsi/iscsi.initramfs, behind two portals, so
// that the scripts call iscsistart three times. Both sessions are broken and
// repaired, each by its own keeper.
func debianStatic(s *scene, m Machine) Report {
	far := s.far([]string{"10.7.0.1/24", "10.7.0.2/24"})
	target := s.chapTarget(true)
	tgt := s.farTGT(far, target)
	m.Initrd = s.beside("etc/iscsi.initramfs", fmt.Sprintf("ISCSI_INITIATOR=%s\nISCSI_TARGET_NAME=%s\nISCSI_TARGET_IP='10.7.0.1 10.7.0.2'\n"+
		"ISCSI_USERNAME=%s\nISCSI_PASSWORD=%s\nISCSI_IN_USERNAME=%s\nISCSI_IN_PASSWORD=%s\n",
		initiatorName, target.Name, target.Username, target.Secret, target.UsernameIn, target.SecretIn))
	m.Net, m.Plugs = "none", []Plug{{Cable: s.cable(far.Segments[0], nil), MAC: nearMAC}}
	m.Cmdline = append(m.Cmdline, "ip=10.7.0.9::10.7.0.1:255.255.255.0:::none", "init=/sbin/keep-init", "keep.repairs=2")
	r := s.start(m)
	s.waitFor(r, "the load begins")
	tgt.Close()
	s.farTGT(far, target)
	report, console := s.booted(r)
	s.has(report, "/run/load", " failed 0 bad 0\n")
	noSecret(s.t, console, target)
	if n := len(strings.Fields(report["/run/keepers"])); n != 2 {
		s.t.Errorf("%d keepers, want 2:\n%s", n, report["$ ps"])
	}
	for name, portal := range map[string]string{"1": "10.7.0.1", "2": "10.7.0.2"} {
		s.has(report, "/sys/class/iscsi_session/session"+name+"/state", "LOGGED_IN\n")
		s.has(report, "/sys/class/iscsi_connection/connection"+name+":0/persistent_address", portal+"\n")
	}
	return report
}
