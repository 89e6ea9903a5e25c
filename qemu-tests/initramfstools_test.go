package qemutests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/boot/handoff"
)

// initramfsTools makes an image as an administrator of that Debian does who has
// installed rootlun beside open-iscsi, and has done before what those commands do, and
// returns it with that system's kernel. It has that credential file.
func (s *scene) initramfsTools(name, credentials, before string) (kernel, image string) {
	s.t.Helper()
	b := s.builder(name)
	b.put(s.deb(), "/root/rootlun.deb")
	file := filepath.Join(s.dir, "credentials")
	if err := os.WriteFile(file, []byte(credentials), 0o600); err != nil {
		s.t.Fatal(err)
	}
	b.put(file, "/etc/rootlun/credentials")
	b.run(before + "\nchmod 600 /etc/rootlun/credentials; echo ISCSI_TARGET_GROUP=1 >/etc/iscsi/iscsi.initramfs; dpkg --no-triggers -i /root/rootlun.deb; update-initramfs -u -k all")
	files := string(b.run("stat -c %a /boot/initrd.img-*; lsinitramfs -l /boot/initrd.img-* | grep -e credentials -e iscsistart -e iscsi.initramfs -e etc/iscsi/"))
	if !strings.HasPrefix(files, "600\n") || !strings.Contains(files, "\n-rw-------") || !strings.Contains(files, "etc/iscsi.initramfs") || strings.Count(files, "\n") != 3 {
		s.t.Errorf("the image's mode, and of what is in it:\n%s", files)
	}
	return b.get("/boot/vmlinuz-*", "vmlinuz"), b.get("/boot/initrd.img-*", "image")
}

// TestInitramfsTools boots by images of Debian's initramfs-tools, by way of the
// package. open-iscsi's scripts are asked to log in, too.
func TestInitramfsTools(t *testing.T) {
	const (
		chapName = "iqn.2025-01.test.rootlun:chap"
		nobody   = "netroot=iscsi:" + HostAddress + "::1:1:" + targetName
	)
	credentials := "[" + chapName + `]
node.session.auth.username = initiator-user
node.session.auth.password = secret-of-initiator
node.session.auth.username_in = target-user
node.session.auth.password_in = secret-of-target
`
	// boots are the machines that boot by an image, which machine returns.
	type boots map[string]func(s *scene, machine func(parameters ...string) Machine)
	for name, rows := range map[string]boots{
		"debian12-builder": {
			"iBFT": func(s *scene, machine func(parameters ...string) Machine) {
				target := s.target()
				port := s.tgt(target)
				m := machine("iscsi_auto")
				m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
				report, console := s.boot(m)
				checkRoot(s.t, report, console, port, target)
			},
			"CHAP": func(s *scene, machine func(parameters ...string) Machine) {
				target := s.chapTarget(true)
				target.Name = chapName
				port := s.tgt(target)
				report, console := s.boot(machine("root=UUID="+RootUUID, strings.Replace(static, "eth0", "enp0s1", 1), iname, "quiet",
					"iscsi_target_name="+chapName, "iscsi_target_ip="+HostAddress, fmt.Sprint("iscsi_target_port=", port)))
				checkRoot(s.t, report, console, port, target)
				noSecret(s.t, console, target)
			},
			"failure": func(s *scene, machine func(parameters ...string) Machine) {
				console := s.fail(machine("root=UUID="+RootUUID, "ip=dhcp", iname, "rd.rootlun.timeout=3", "quiet", nobody))
				shows(s.t, console, "failed:   reach the root's disk", "connection refused", "ALERT! The root's iSCSI disk is not there.", "Rebooting automatically")
			},
		},
		"debian13-builder": {
			"DHCP": func(s *scene, machine func(parameters ...string) Machine) {
				target := s.target()
				port := s.tgt(target)
				report, console := s.boot(machine("root=LABEL="+RootLabel, "ip=dhcp", iname, netroot("", port, target)))
				checkRoot(s.t, report, console, port, target)
				if strings.Contains(console, "IP-Config") || strings.Contains(console, "iscsistart") {
					s.t.Error("the initramfs's own scripts have been at it, too")
				}
			},
			"nothing asked for": func(s *scene, machine func(parameters ...string) Machine) {
				m := machine("root=LABEL=" + RootLabel)
				m.Disks = []string{s.root()}
				report, console := s.boot(m)
				if report.Text("/etc/root-name") != s.t.Name() || strings.Contains(console, "rootlun  ") || strings.Contains(console, "rootlun attach") ||
					strings.Contains(report["/proc/modules"], "iscsi_tcp") || strings.Contains(report["$ ls -laR /run"], "/run/rootlun") {
					s.t.Errorf("something was done for iSCSI:\n%s", tail(console, 30))
				}
			},
			// rootfstype= is that of the target's, and ip= is not for ipconfig.
			"fallback": func(s *scene, machine func(parameters ...string) Machine) {
				m := machine("root=UUID=11111111-2222-3333-4444-555555555555", "rootfstype=xfs", "ip=dhcp", iname, "rd.rootlun.timeout=3", nobody, "rd.rootlun.fallback=local:LABEL="+RootLabel)
				m.Disks = []string{s.root()}
				report, console := s.boot(m)
				shows(s.t, console, "is booted INSTEAD")
				if report.Text("/etc/root-name") != s.t.Name() || strings.Contains(console, "IP-Config") {
					s.t.Errorf("the disk of the machine was not booted:\n%s", tail(console, 30))
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			kernel, image := s.initramfsTools(name, credentials, "")
			for name, boot := range rows {
				t.Run(name, func(t *testing.T) {
					s := newSystem(t)
					boot(s, func(parameters ...string) Machine {
						m := s.machine(parameters...)
						m.Kernel, m.Initrd = kernel, image
						return m
					})
				})
			}
		})
	}
}

// TestInitramfsToolsMultipath has two ways to the root, which the image puts together.
func TestInitramfsToolsMultipath(t *testing.T) {
	s := newSystem(t)
	kernel, image := s.initramfsTools("debian13-builder", "", `dpkg --no-triggers -i /root/later/*.deb
printf 'defaults {\n find_multipaths greedy\n}\n' >/etc/multipath.conf`)
	far := s.far([]string{"10.7.0.1/24"}, []string{"10.8.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	table := s.twoPaths(target, [2]string{"10.7.0.9/24", "10.8.0.9/24"}, [2]string{"10.7.0.1", "10.8.0.1"})
	m := s.byTable(s.cable(far.Segments[0], nil), table, "root=UUID="+RootUUID)
	m.Plugs = append(m.Plugs, Plug{Cable: s.cable(far.Segments[1], nil), MAC: plugMACs[1]})
	m.Kernel, m.Initrd = kernel, image
	report, console := s.boot(m)
	shows(t, console, "the initramfs mounts UUID="+RootUUID)
	if mounts := report["/proc/mounts"]; !strings.Contains(mounts, "\n/dev/mapper/") {
		t.Errorf("the root is not dm-multipath's:\n%s", mounts)
	}
	var state handoff.State // multipath sets the kernel's timers to its own
	if err := json.Unmarshal([]byte(report.Text(handoff.StateFile)), &state); err != nil || len(state.Paths) != 2 || state.Session.Timers != "multipath" {
		t.Errorf("%v; state.json: %s", err, report.Text(handoff.StateFile))
	}
	for _, path := range state.Paths {
		if path.Disk == "" {
			t.Errorf("path %+v", path)
		}
	}
	timeouts := report.Match("/sys/class/iscsi_session/*/recovery_tmo")
	if len(timeouts) != 2 {
		t.Errorf("%d sessions", len(timeouts))
	}
	for _, name := range timeouts {
		if timeout := report.Text(name); timeout != "5" {
			t.Errorf("%s is %s", name, timeout)
		}
	}
}
