package qemutests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/rootlun/rootlun/initramfs"
)

// compressedModules returns a folder /lib/modules/VERSION of these modules and what
// they depend on, each compressed as Fedora and Debian 13 have it.
func (s *scene) compressedModules(names ...string) string {
	s.t.Helper()
	release, root := filepath.Base(s.Modules), filepath.Dir(filepath.Dir(filepath.Dir(s.Modules)))
	out, err := exec.CommandContext(s.ctx, "modprobe", append([]string{"--dirname", root, "--set-version", release, "--show-depends", "--all"}, names...)...).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	tree := filepath.Join(s.dir, "tree")
	to := filepath.Join(tree, "lib/modules", release)
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line) // "insmod FILE [OPTION...]" or "builtin NAME"
		if f[0] != "insmod" {
			continue
		}
		_, below, _ := strings.Cut(f[1], "/"+release+"/")
		if err := compress(filepath.Join(to, below+".xz"), f[1]); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, name := range []string{"modules.builtin", "modules.order"} {
		if err := copyFile(filepath.Join(to, name), filepath.Join(s.Modules, name)); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := run(s.ctx, "depmod", "-b", tree, release); err != nil {
		s.t.Fatal(err)
	}
	return to
}

func compress(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	z, err := xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = z.Write(data)
	return errors.Join(err, z.Close(), f.Close())
}

// TestCompressedModules: Debian 12's kernel uncompresses none, and kmod's modprobe,
// which the images of such kernels have, does it in its place.
func TestCompressedModules(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	modules := s.compressedModules("iscsi_tcp", "sd_mod", "crc32c_generic", "virtio_net", "virtio_pci", "af_packet", "ext4")
	m := s.machine(netroot("", port, target), iname, static)
	m.Initrd = filepath.Join(s.dir, "initrd")
	files := append(s.linked("/", "/sbin/modprobe"), initramfs.File{Source: modules, Destination: "/lib/modules/" + filepath.Base(modules)})
	if err := writeImage(m.Initrd, initramfs.Config{Init: s.init, Files: files, Compress: "zstd"}); err != nil {
		t.Fatal(err)
	}
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	if strings.Contains(console, "warning: ") {
		t.Errorf("there is a warning:\n%s", console)
	}
}
