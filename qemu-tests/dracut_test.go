package qemutests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// dracut makes an image in a builder, with the module as its package installs it.
// It returns a machine that boots it by the builder's kernel.
func (b *builder) dracut(options string) Machine {
	b.s.t.Helper()
	dir := filepath.Dir(b.s.init)
	for source, to := range map[string]string{
		filepath.Join(dir, "rootlun"): "/usr/sbin", filepath.Join(dir, "rootlun-initramfs"): "/usr/sbin",
		"initramfs/dracut/90rootlun/*": "/usr/lib/dracut/modules.d/90rootlun", "initramfs/systemd/*": "/usr/lib/systemd/system",
	} {
		if !filepath.IsAbs(source) {
			source = filepath.Join(b.s.Repo, source)
		}
		files, err := filepath.Glob(source)
		if err != nil || len(files) == 0 {
			b.s.t.Fatalf("%s: %v", source, err)
		}
		for _, f := range files {
			to := filepath.Join(to, filepath.Base(f))
			if _, err := os.Stat(filepath.Join(b.dir, "upper", to)); err != nil { // a test's own is there first
				b.put(f, to)
			}
		}
	}
	b.run("dracut --quiet --force --compress 'zstd -1' " + options + " /initrd $(ls /lib/modules)")
	return b.machine("/initrd")
}

// machine returns a machine that boots an image of the tree by its kernel.
func (b *builder) machine(image string) Machine {
	b.s.t.Helper()
	kernel, err := only(filepath.Join(b.dir, "lower", "boot", "vmlinuz-*"))
	if err != nil {
		b.s.t.Fatal(err)
	}
	return Machine{Kernel: kernel, Initrd: b.get(image, "initrd")}
}

// noSystemd has dracut make an image without, and without what Debian 12's package
// of dracut's network modules adds to every image, which needs it.
const noSystemd = `--omit "systemd systemd-initrd dracut-systemd ifcfg"`

// with returns a scene's machine that boots the kernel and image of another.
func (s *scene) with(image Machine, parameters ...string) Machine {
	m := s.machine(parameters...)
	m.Kernel, m.Initrd, m.Cmdline = image.Kernel, image.Initrd, parameters
	return m
}

// anyTarget is target, with what systemd wants to see before it switches to a root.
func (s *scene) anyTarget() Target {
	s.t.Helper()
	release := filepath.Join(s.dir, "os-release")
	if err := os.WriteFile(release, []byte("ID=report\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return s.target(initramfs.File{Source: release, Destination: "/etc/os-release"})
}

// noShell has dracut end a machine that does not boot.
const noShell = "rd.shell=0"

// TestDracut059: Debian 12's dracut, with systemd in the image.
func TestDracut059(t *testing.T) {
	s := newSystem(t)
	b := s.builder("debian12-builder")
	image := b.dracut(`--no-hostonly --add "rootlun iscsi"`)
	if list := string(b.run("lsinitrd -m /initrd")); !strings.Contains(list, "\nrootlun\n") || strings.Contains(list, "\niscsi\n") {
		t.Errorf("the module rootlun does not take the place of iscsi:\n%s", list)
	}
	t.Run("firmware alone", func(t *testing.T) {
		s := newSystem(t)
		target := s.anyTarget()
		port := s.tgt(target)
		m := s.with(image, noShell)
		m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
		report, console := s.boot(m)
		checkAttached(t, "/dev/sda / ext4 ro", report, console, port, target)
	})
	t.Run("nothing asks", func(t *testing.T) {
		s := newSystem(t)
		m := s.with(image, noShell, "root=LABEL="+RootLabel, "rw")
		m.Disks = []string{s.anyTarget().Image}
		report, console := s.boot(m)
		if !strings.Contains(report["/proc/mounts"], "/dev/vda / ext4 rw") {
			t.Errorf("the root is not the disk of the machine:\n%s", report["/proc/mounts"])
		}
		if strings.Contains(console, "rootlun[") || strings.Contains(report["/proc/modules"], "iscsi_tcp") || strings.Contains(report["$ ls -laR /run"], "/run/rootlun") {
			t.Errorf("something was done though nothing asks for iSCSI:\n%s", tail(console, 100))
		}
	})
	t.Run("no target", func(t *testing.T) {
		s := newSystem(t)
		r := s.start(s.with(image, netroot("", 1, Target{Name: targetName}), iname, "ip=dhcp", "root=LABEL="+RootLabel, "rd.rootlun.timeout=3"))
		s.waitFor(r, "Entering emergency mode")
		console := strings.ReplaceAll(r.Console.String(), "\r", "")
		screen := regexp.MustCompile(`\n-+\nrootlun could not boot this machine\.\n(  [a-z: ].*\n)+-+\n`) // in one piece
		_, after, _ := strings.Cut(console, "Emergency Shell")
		if !screen.MatchString(after) {
			t.Errorf("above the shell there is:\n%s", tail(console, 60))
		}
		shows(t, after, "failed:   reach the root's disk", targetName, "of 3 s")
	})
}

// TestDracutHostonly: Debian 12's dracut, without systemd, makes an image of its own
// for a machine that has its root on a target; that is a tree of files here. The
// command line does not tell of the target.
func TestDracutHostonly(t *testing.T) {
	s := newSystem(t)
	target := s.anyTarget()
	target.Username, target.Secret, target.UsernameIn, target.SecretIn = "node", "secret-of-the-node", "target", "secret-of-the-target"
	port := s.tgt(target)
	b := s.builder("debian12-builder")
	disk := fmt.Sprintf("/sys/devices/platform/host1/session1/target1:0:0/1:0:0:%d/block/sda", target.LUN)
	tree := "#!/bin/sh\nset -e\n"
	for name, text := range map[string]string{
		"/proc/self/mountinfo":                                         "22 1 8:0 / / rw - ext4 /dev/sda rw",
		disk + "/dev":                                                  "8:0",
		"/sys/class/scsi_host/host1/proc_name":                         "iscsi_tcp",
		"/sys/class/iscsi_session/session1/targetname":                 target.Name,
		"/sys/class/iscsi_session/session1/initiatorname":              initiatorName,
		"/sys/class/iscsi_session/session1/username":                   target.Username,
		"/sys/class/iscsi_session/session1/password":                   target.Secret,
		"/sys/class/iscsi_session/session1/username_in":                target.UsernameIn,
		"/sys/class/iscsi_session/session1/password_in":                target.SecretIn,
		"/sys/class/iscsi_connection/connection1:0/persistent_address": HostAddress,
		"/sys/class/iscsi_connection/connection1:0/persistent_port":    fmt.Sprint(port),
	} {
		tree += fmt.Sprintf("mkdir -p /running%s\necho '%s' >/running%s\n", filepath.Dir(name), text, name)
	}
	for name, text := range map[string]string{
		"tree":              tree + "mkdir -p /running/sys/dev/block\nln -s ../../.." + disk + " /running/sys/dev/block/8:0\n",
		"rootlun-initramfs": "#!/bin/sh\nexec /usr/sbin/rootlun-initramfs.real \"$@\" --root /running\n",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.put(filepath.Join(s.dir, "tree"), "/tree")
	b.put(filepath.Join(s.dir, "rootlun-initramfs"), "/usr/sbin/rootlun-initramfs")
	b.put(filepath.Join(filepath.Dir(s.init), "rootlun-initramfs"), "/usr/sbin/rootlun-initramfs.real")
	b.run("/tree")
	m := s.with(b.dracut(`--hostonly --add-drivers "virtio_pci virtio_net ext4" `+noSystemd), noShell, "root=LABEL="+RootLabel, "rw", "rootflags=relatime") // those of the tree, which dracut sees, are of no use
	for file, want := range map[string]string{
		"/initrd": "-rw------- 1", "etc/rootlun/credentials": "-rw-------   1",
	} {
		if list := string(b.run("ls -l /initrd; lsinitrd /initrd")); !regexp.MustCompile(`(?m)^` + want + ` .* ` + file + `$`).MatchString(list) {
			t.Errorf("%s can be read by others, or is not there:\n%s", file, list)
		}
	}
	if words := string(b.run("lsinitrd -f etc/cmdline.d/90rootlun.conf /initrd")); strings.Contains(words, "secret") || !strings.Contains(words, netroot("", port, target)) {
		t.Errorf("the image's command line is %q", words)
	}
	report, console := s.boot(m)
	checkAttached(t, "/dev/sda / ext4 rw", report, console, port, target)
	checkProcess(t, report)
	if !strings.Contains(report["$ ps"], "rootlun keep --own-root") {
		t.Errorf("nobody keeps the session:\n%s", report["$ ps"])
	}
}

// TestDracut106: Debian 13's dracut, with systemd, and with the modules iscsi and
// network (systemd-networkd), which somebody insists on.
func TestDracut106(t *testing.T) {
	s := newSystem(t)
	b := s.builder("debian13-builder")
	image := b.dracut(`--no-hostonly --add rootlun --force-add "iscsi network"`)
	for module := range strings.FieldsSeq("rootlun iscsi systemd-networkd") {
		if list := string(b.run("lsinitrd -m /initrd")); !strings.Contains(list, "\n"+module+"\n") {
			t.Errorf("the image does not have the module %s:\n%s", module, list)
		}
	}
	t.Run("late", func(t *testing.T) { // later than dracut's own patience
		s := newSystem(t)
		target := s.anyTarget()
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		r := s.start(s.with(image, noShell, netroot("", uint16(port), target), iname, "ip=dhcp", "rd.neednet=1", "root=UUID="+RootUUID, "rw",
			"rd.timeout=1", "rd.retry=1", "rd.iscsi.param=node.session.iscsi.MaxBurstLength=65536"))
		s.waitFor(r, "trying again")
		tgt, err := startTGT(s.ctx, exec.CommandContext, port, portals(port), s.dir, target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tgt.Close)
		report, console := s.booted(r)
		checkAttached(t, "/dev/sda / ext4 rw", report, console, uint16(port), target)
		if burst := report.Text("/sys/class/iscsi_session/session*/max_burst_len"); burst != "65536" {
			t.Errorf("max_burst_len is %s", burst)
		}
		for _, unit := range []string{"systemd-networkd.service", "systemd-networkd-wait-online.service", "iscsid.service"} {
			if strings.Contains(console, "[0;1;39m"+unit) { // as systemd tells what it starts
				t.Errorf("%s was started", unit)
			}
		}
	})
	t.Run("Debian 13", func(t *testing.T) {
		s := newSystem(t)
		m := s.systemMachine("debian13-networkd", "static")
		m.Kernel, m.Initrd = image.Kernel, image.Initrd
		m.Cmdline = append(m.Cmdline[1:], noShell)
		s.checkSystem(m, "debian13-networkd", "10.7.0.50", "enp0s1", "reboot: Power down") // the network module brings udev's names
	})
}

// TestDracut106Shell: Debian 13's dracut, without systemd.
func TestDracut106Shell(t *testing.T) {
	s := newSystem(t)
	image := s.builder("debian13-builder").dracut("--no-hostonly --add rootlun " + noSystemd)
	target := s.anyTarget()
	port := s.tgt(target)
	root := "root" + strings.TrimPrefix(netroot("", port, target), "netroot")
	report, console := s.boot(s.with(image, noShell, root, iname, "ip=dhcp"))
	checkAttached(t, "/dev/sda / ext4 rw", report, console, port, target)
	checkProcess(t, report)
}

// TestSystemdInitrd: systemd alone, with nothing of dracut's running in the image, as
// mkosi makes it. root= is what dracut calls a root that the network brings.
func TestSystemdInitrd(t *testing.T) {
	s := newSystem(t)
	const modules = "bash systemd systemd-initrd systemd-udevd systemd-journald systemd-tmpfiles kernel-modules udev-rules rootlun"
	image := s.builder("debian13-builder").dracut("--no-hostonly --modules '" + modules + "'")
	target := s.anyTarget()
	port := s.tgt(target)
	report, console := s.boot(s.with(image, netroot("", port, target), iname, "ip=dhcp", "root=/dev/root", "rootfstype=ext4", "rootflags=noatime,data=journal", "rw"))
	checkAttached(t, "/dev/sda / ext4 rw,noatime", report, console, port, target)
	if !strings.Contains(report["/proc/mounts"], ",data=journal ") {
		t.Errorf("rootflags= is not heeded:\n%s", report["/proc/mounts"])
	}
	if strings.Contains(console, "dracut") {
		t.Error("there is something of dracut's")
	}
}
