package qemutests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// imageWith builds an image of its own, with the product as its /init.
func (s *scene) imageWith(cfg initramfs.Config) string {
	s.t.Helper()
	cfg.Init, cfg.Compress = filepath.Join(filepath.Dir(s.image), "rootlun"), "zstd"
	if cfg.Modules == "" {
		cfg.Modules = s.Modules
	}
	image := filepath.Join(s.dir, "initrd")
	if err := writeImage(image, cfg); err != nil {
		s.t.Fatal(err)
	}
	return image
}

// A boot that fails leaves no session, connection or host in the kernel, and
// rd.emergency=shell runs the image's shell on the console.
func TestNothingLeftBehind(t *testing.T) {
	for name, spoil := range map[string]func(*Target){
		"refused login": func(t *Target) { t.Name += ".other" },
		"no such LUN":   func(t *Target) { t.LUN = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			target := s.target()
			port := s.tgt(target)
			spoil(&target)
			m := s.machine(netroot("", port, target), iname, static, deadline)
			m.Cmdline[0] = "rd.emergency=shell"
			m.Initrd = s.imageWith(initramfs.Config{Files: []initramfs.File{
				{Source: filepath.Join(s.Repo, "qemu-tests", "guest", "emergency-sh"), Destination: "/bin/sh"},
				{Source: s.Busybox, Destination: "/bin/busybox"},
			}})
			console := s.fail(m)
			shows(t, console, "next:     a shell", "shell: /sys/class/iscsi_session holds .",
				"shell: /sys/class/iscsi_connection holds .", "shell: /sys/class/iscsi_host holds .",
				"\n/dev/console\r", "reboot: Restarting system")
		})
	}
}

// A target that appears while the machine waits is booted from.
func TestTargetLate(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Start(s.ctx, s.machine(netroot("", uint16(port), target), iname, static))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WaitFor(s.ctx, "trying again"); err != nil {
		t.Fatalf("%v:\n%s", err, tail(r.Console.String(), 30))
	}
	tgt, err := startTGT(s.ctx, exec.CommandContext, port, portals(port), s.dir, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tgt.Close)
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	report, err := r.Report()
	if err != nil {
		t.Fatal(err)
	}
	checkRoot(t, report, r.Console.String(), uint16(port), target)
}

// A portal that takes the connection and never answers is given up in time,
// and tried again.
func TestTargetSilent(t *testing.T) {
	s := newScene(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for conns := []net.Conn{}; ; {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c) // kept, as a closed one is an answer
		}
	}()
	target := Target{Name: targetName, LUN: 1}
	console := s.fail(s.machine(netroot("", uint16(l.Addr().(*net.TCPAddr).Port), target), iname, static,
		"rd.rootlun.timeout=12", "rd.iscsi.param=node.conn[0].timeo.login_timeout=3"))
	shows(t, console, target.Name, "no answer", "trying again", "of 12 s", "reboot: Power down")
	if strings.Contains(console, "once, ") {
		t.Error("it was not tried again")
	}
}

func TestNoDHCPServer(t *testing.T) {
	s := newScene(t)
	m := s.machine(netroot("", 3260, Target{Name: targetName}), iname, "ip=dhcp", "rd.net.timeout.dhcp=3", "rd.rootlun.timeout=8")
	m.Net = "ipv4=off"
	shows(t, s.fail(m), "eth0", "no address by DHCP within 3 s (no server answered)", "that a DHCP server serves this network", "reboot: Power down")
}

func TestModulesOfAnotherKernel(t *testing.T) {
	s := newScene(t)
	const other = "9.9.9-other"
	if err := os.Symlink(s.Modules, filepath.Join(s.dir, other)); err != nil {
		t.Fatal(err)
	}
	m := s.machine(netroot("", 3260, Target{Name: targetName}), iname, static)
	m.Initrd = s.imageWith(initramfs.Config{Modules: filepath.Join(s.dir, other)})
	shows(t, s.fail(m), fmt.Sprintf("the kernel is %s", filepath.Base(s.Modules)), other, "reboot: Power down")
}
