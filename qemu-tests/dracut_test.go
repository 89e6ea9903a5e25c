package qemutests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
	"github.com/rootlun/rootlun/qemu-tests/cache"
)

// dracut makes an image in a builder, with the dracut module as its package will
// install it, and returns a machine that boots it by the builder's kernel.
func (s *scene) dracut(b *builder, options string) Machine {
	s.t.Helper()
	m := s.machine()
	m.Cmdline = nil
	var err error
	if m.Kernel, err = only(filepath.Join(b.dir, "lower", "boot", "vmlinuz-*")); err != nil {
		s.t.Fatal(err)
	}
	if file := os.Getenv("TRYIMAGE"); file != "" {
		m.Initrd = file
		return m
	}
	b.rootlun()
	for _, dir := range []string{"initramfs/dracut/90rootlun", "initramfs/systemd"} {
		to := map[string]string{"90rootlun": "/usr/lib/dracut/modules.d/90rootlun", "systemd": "/usr/lib/systemd/system"}[filepath.Base(dir)]
		files, err := os.ReadDir(filepath.Join(s.Repo, dir))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range files {
			b.put(filepath.Join(s.Repo, dir, f.Name()), filepath.Join(to, f.Name()))
		}
	}
	b.run("dracut --force --compress zstd " + options + " --kver $(ls /lib/modules) /initrd && ls -l /initrd && lsinitrd -m /initrd")
	m.Initrd = b.get("/initrd", "initrd")
	return m
}

// rootlun puts the programs into the tree.
func (b *builder) rootlun() {
	b.s.t.Helper()
	for _, name := range []string{"rootlun", "rootlun-initramfs"} {
		b.put(filepath.Join(filepath.Dir(b.s.init), name), "/usr/sbin/"+name)
	}
}

var _ = cache.Dir
var _ = initramfs.File{}

func TestDracut(t *testing.T) {
	s := newSystem(t)
	dir := s.dir
	_ = os.WriteFile(filepath.Join(dir, "os-release"), []byte("ID=report\n"), 0o644)
	rel := initramfs.File{Source: filepath.Join(dir, "os-release"), Destination: "/etc/os-release"}
	target := s.target(rel)
	port := s.tgt(target)
	m := s.dracut(s.builder(os.Getenv("TRYBUILDER")), os.Getenv("TRYOPTS"))
	m.Cmdline = strings.Fields(strings.NewReplacer("root=NETROOT", "root"+strings.TrimPrefix(netroot("", port, target), "netroot"), "NETROOT", netroot("", port, target), "INAME", iname).Replace(os.Getenv("TRYCMD")))
	if os.Getenv("TRYIBFT") != "" {
		m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
	}
	report, console := s.boot(m)
	t.Log(console)
	for n, v := range report {
		if strings.Contains(n, "fd") || strings.Contains(n, "environ") || strings.Contains(n, "limits") || strings.Contains(n, "status") || n == "$ ps" || n=="/proc/mounts" {
			t.Log(n, v)
		}
	}
	checkRoot(t, report, console, port, target)
}
