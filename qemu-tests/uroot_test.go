package qemutests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// TestURoot runs what initramfs/u-root/README.md says as it is written there, and
// boots what that makes.
func TestURoot(t *testing.T) {
	s := newSystem(t)
	blocks := shellBlocks(t, filepath.Join(s.Repo, "initramfs/u-root/README.md"))
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of commands; want how it is built, with which modules, and what it runs", len(blocks))
	}
	script := filepath.Join(s.dir, "boot.sh")
	if err := os.WriteFile(script, []byte(blocks[2]), 0o644); err != nil {
		t.Fatal(err)
	}
	commands := strings.NewReplacer(
		"make build", filepath.Join(s.Repo, "scripts/build")+" "+s.dir,
		"$PWD/bin/", s.dir+"/", "bin/", s.dir+"/",
		`"/lib/modules/$(uname -r)"`, s.Modules,
		"-o ", "-uinitcmd='gosh /etc/boot.sh' -files "+script+":etc/boot.sh -o ",
	).Replace(blocks[0] + blocks[1])
	build := exec.CommandContext(s.ctx, "bash", "-ec", commands)
	build.Dir = s.Repo
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	image := filepath.Join(s.dir, "u-root.img")

	t.Run("as-the-boot-program", func(t *testing.T) {
		s := newSystem(t)
		const end = "guest/return-to-initramfs"
		target := s.chapTarget(true, initramfs.File{Source: end, Destination: "/bin/return-to-initramfs"},
			initramfs.File{Source: end, Destination: "/lib/systemd/systemd"}) // whatever that is
		port := s.tgt(target)
		m := s.machine("rdinit=/bbin/rootlun", "test.end=return-to-initramfs")
		m.Initrd, m.ACPI = image, s.acpi(FirmwareTable(initiatorName, port, target))
		report, console := s.boot(m)
		checkRoot(t, report, console, port, target)
		noSecret(t, console, target)
		shows(t, console, "session 1 is logged out")
		if !strings.Contains(report["$ ps"], "@rootlun/rootlun keep") {
			t.Errorf("nothing keeps the session:\n%s", report["$ ps"])
		}
	})
	t.Run("as-a-command", func(t *testing.T) {
		s := newSystem(t)
		target := s.chapTarget(true, initramfs.File{Source: s.Kernel, Destination: "/boot/vmlinuz"},
			initramfs.File{Source: s.image, Destination: "/boot/initrd.img"})
		port := s.tgt(target)
		m := s.machine()
		m.Initrd, m.ACPI = image, s.acpi(FirmwareTable(initiatorName, port, target))
		report, console := s.boot(m)
		checkRoot(t, report, console, port, target)
		noSecret(t, console, target)
		shows(t, console, "Welcome to u-root!")
		if strings.Contains(console, "warning: ") {
			t.Errorf("there is a warning:\n%s", console)
		}
	})
}

// shellBlocks returns the commands that a guide shows. What stands behind ```sh is
// package docs' business.
func shellBlocks(t *testing.T, guide string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "```sh")[1:] {
		_, part, _ = strings.Cut(part, "\n")
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	return blocks
}
