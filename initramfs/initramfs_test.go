package initramfs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

const base = "lib/modules/6.1.0-test/"

func TestBuild(t *testing.T) {
	names, records, contents := build(t, Config{
		Init:    fakeInit(t),
		Modules: fakeKernel(t, strings.Compare),
		Drivers: []string{"ext4"}, // built in
		ModTime: time.Unix(42, 0),
	})
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}
	var files []string
	for i, name := range names {
		r := records[name]
		if r.UID != 0 || r.GID != 0 || r.MTime != 42 || r.Ino != uint64(i+1) {
			t.Errorf("/%s: %+v: want root's, time 42, inode %d", name, r, i+1)
		}
		if r.Mode&cpio.S_IFMT != cpio.S_IFDIR {
			files = append(files, name)
		} else if r.Mode != cpio.S_IFDIR|0o755 {
			t.Errorf("/%s: mode %o, want 755", name, r.Mode)
		}
	}
	// dummy by btrfs's soft dependency; no unused; everything uncompressed.
	want := []string{
		"bin/rootlun", "dev/console", "dev/null", "init",
		base + "kernel/arch/x86/crypto/crc32c-intel.ko",
		base + "kernel/crypto/xxhash_generic.ko",
		base + "kernel/drivers/net/dummy.ko",
		base + "kernel/drivers/net/ethernet/intel/igb/igb.ko",
		base + "kernel/drivers/net/virtio_net.ko",
		base + "kernel/drivers/scsi/iscsi_tcp.ko",
		base + "kernel/drivers/scsi/libiscsi.ko",
		base + "kernel/drivers/scsi/libiscsi_tcp.ko",
		base + "kernel/drivers/scsi/scsi_transport_iscsi.ko",
		base + "kernel/fs/btrfs/btrfs.ko",
		base + "modules.alias", base + "modules.builtin", base + "modules.builtin.modinfo",
		base + "modules.dep", base + "modules.softdep",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for path, data := range fakeModules() {
		plain, _, _ := strings.Cut(path, ".ko")
		if got, ok := contents[base+plain+".ko"]; ok && got != string(data) {
			t.Errorf("%s: not the module's content", path)
		}
	}
	if records["init"].Mode != cpio.S_IFREG|0o755 || contents["init"] != "program" {
		t.Errorf("/init: mode %o, content %q", records["init"].Mode, contents["init"])
	}
	if contents["bin/rootlun"] != "/init" {
		t.Errorf("/bin/rootlun leads to %q", contents["bin/rootlun"])
	}
	if r := records["dev/console"]; r.Mode != cpio.S_IFCHR|0o600 || r.Rmajor != 5 || r.Rminor != 1 {
		t.Errorf("/dev/console: %+v", r)
	}
	for name, want := range map[string]string{
		"modules.dep": `kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/crypto/xxhash_generic.ko:
kernel/drivers/net/dummy.ko:
kernel/drivers/net/ethernet/intel/igb/igb.ko:
kernel/drivers/net/virtio_net.ko:
kernel/drivers/scsi/iscsi_tcp.ko: kernel/drivers/scsi/libiscsi_tcp.ko kernel/drivers/scsi/libiscsi.ko kernel/drivers/scsi/scsi_transport_iscsi.ko
kernel/drivers/scsi/libiscsi.ko: kernel/drivers/scsi/scsi_transport_iscsi.ko
kernel/drivers/scsi/libiscsi_tcp.ko: kernel/drivers/scsi/libiscsi.ko kernel/drivers/scsi/scsi_transport_iscsi.ko
kernel/drivers/scsi/scsi_transport_iscsi.ko:
kernel/fs/btrfs/btrfs.ko:
`,
		"modules.alias": `alias crypto-crc32c crc32c_intel
alias xxhash64 xxhash_generic
alias pci:v00008086d00001521sv*sd*bc*sc*i* igb
alias virtio:d00000001v* virtio_net
alias net-pf-16-proto-8 scsi_transport_iscsi
`,
		"modules.softdep": `softdep iscsi_tcp pre: crypto-crc32c
softdep btrfs pre: xxhash64
softdep btrfs pre: absent
softdep btrfs post: dummy
`,
		"modules.builtin":         "kernel/drivers/scsi/scsi_mod.ko\nkernel/fs/ext4/ext4.ko\n",
		"modules.builtin.modinfo": "ext4.alias=fs-ext4\x00",
	} {
		if diff := cmp.Diff(want, contents[base+name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The same modules and files, written in another order and at another time,
// give the same bytes, in every compression; and these uncompress to the same.
func TestBuildIsReproducible(t *testing.T) {
	program := fakeInit(t)
	first := fakeKernel(t, strings.Compare)
	second := fakeKernel(t, func(a, b string) int { return strings.Compare(b, a) })
	old := time.Unix(1e9, 0)
	err := filepath.WalkDir(second, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large") // several blocks of zstd
	writeFile(t, large, bytes.Repeat([]byte("rootlun and its kernel modules\n"), 10000))
	cfg := Config{Init: program, Files: []File{{large, "/large"}}}
	image := func(modules, compress string) []byte {
		cfg.Modules, cfg.Compress = modules, compress
		var b bytes.Buffer
		if err := Build(&b, cfg); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	plain := image(first, "none")
	for _, compress := range []string{"none", "gzip", "zstd"} {
		one, two := image(first, compress), image(second, compress)
		if !bytes.Equal(one, two) {
			t.Errorf("%s: two builds differ", compress)
		}
		var r io.Reader = bytes.NewReader(one)
		switch compress {
		case "gzip":
			r, err = gzip.NewReader(r)
		case "zstd":
			// What RFC 8878 lets every decoder refuse is refused here.
			r, err = zstd.NewReader(r, zstd.WithDecoderMaxWindow(8<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: uncompresses to something else (error %v)", compress, err)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	good := func(t *testing.T) Config {
		return Config{Init: fakeInit(t), Modules: fakeKernel(t, strings.Compare), Compress: "none"}
	}
	for _, test := range []struct {
		name   string
		change func(*testing.T, *Config)
		want   string
	}{
		{"no init", func(_ *testing.T, c *Config) { c.Init = "/nonexistent/rootlun" }, "/nonexistent/rootlun"},
		{"no modules", func(t *testing.T, c *Config) { c.Modules = t.TempDir() }, "want a folder such as /lib/modules/VERSION"},
		{"all kernels' modules", func(_ *testing.T, c *Config) { c.Modules = filepath.Dir(c.Modules) }, "want a folder such as /lib/modules/VERSION"},
		{"no folder", func(t *testing.T, c *Config) { c.Modules = "/nonexistent/6.1" }, "/nonexistent/6.1"},
		{"unknown driver", func(_ *testing.T, c *Config) { c.Drivers = []string{"nosuch"} }, "driver nosuch: this kernel has no such module"},
		{"drivers without modules", func(_ *testing.T, c *Config) { c.Modules, c.Drivers = "", []string{"igb"} }, "igb"},
		{"unknown compression", func(_ *testing.T, c *Config) { c.Compress = "lzma" }, `unknown compression "lzma"`},
		{"time before 1970", func(_ *testing.T, c *Config) { c.ModTime = time.Unix(-1, 0) }, "does not fit"},
		{"dependency missing", func(t *testing.T, c *Config) {
			writeFile(t, filepath.Join(c.Modules, "extra/sd_mod.ko"), fakeModule("depends=gone"))
		}, "sd_mod depends on gone"},
		{"no ELF", func(t *testing.T, c *Config) {
			writeFile(t, filepath.Join(c.Modules, "extra/sd_mod.ko"), []byte("text"))
		}, "extra/sd_mod.ko: not a kernel module"},
		{"bad xz", func(t *testing.T, c *Config) {
			file := filepath.Join(c.Modules, "extra/sd_mod.ko.xz")
			writeFile(t, file, fakeModule())
			if err := os.Truncate(file, 40); err != nil {
				t.Fatal(err)
			}
		}, "extra/sd_mod.ko.xz"},
		{"space in a path", func(t *testing.T, c *Config) {
			writeFile(t, filepath.Join(c.Modules, "my drivers/x.ko"), fakeModule())
		}, "my drivers/x.ko"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := good(t)
			test.change(t, &cfg)
			err := Build(io.Discard, cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// A driver beside the kernel's own replaces it, as in depmod.
func TestUpdatedModule(t *testing.T) {
	dir := fakeKernel(t, strings.Compare)
	updated := fakeModule("version=2")
	writeFile(t, filepath.Join(dir, "updates/igb.ko.gz"), updated)
	_, _, contents := build(t, Config{Init: fakeInit(t), Modules: dir})
	if contents[base+"updates/igb.ko"] != string(updated) {
		t.Error("the updated igb is not in the image")
	}
	if _, ok := contents[base+"kernel/drivers/net/ethernet/intel/igb/igb.ko"]; ok {
		t.Error("the kernel's own igb is in the image too")
	}
}

// Without Init there is nothing that another image has, too.
func TestNoInit(t *testing.T) {
	names, _, _ := build(t, Config{Modules: fakeKernel(t, strings.Compare)})
	for _, name := range names {
		if !strings.HasPrefix(base, name+"/") && !strings.HasPrefix(name, base) {
			t.Errorf("/%s is in the image", name)
		}
	}
	if !slices.Contains(names, base+"modules.dep") {
		t.Errorf("no index is in the image: %q", names)
	}
}

func TestKernelForGuests(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "6.1.0-test")
	for _, name := range []string{"hv_netvsc", "mlx5_core", "mlx4_core", "mlx4_en", "virtio_net"} {
		writeFile(t, filepath.Join(dir, "kernel/net", name+".ko"), fakeModule())
	}
	modules := func(drivers ...string) (found []string) {
		_, records, _ := build(t, Config{Init: fakeInit(t), Modules: dir, Drivers: drivers})
		for name := range records {
			if file, ok := strings.CutPrefix(name, base+"kernel/net/"); ok {
				found = append(found, file)
			}
		}
		slices.Sort(found)
		return found
	}
	if diff := cmp.Diff([]string{"hv_netvsc.ko", "virtio_net.ko"}, modules()); diff != "" {
		t.Errorf("guest's kernel (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"hv_netvsc.ko", "mlx5_core.ko", "virtio_net.ko"}, modules("mlx5-core")); diff != "" {
		t.Errorf("guest's kernel and --driver (-want +got):\n%s", diff)
	}
	writeFile(t, filepath.Join(dir, "kernel/net/igb.ko"), fakeModule())
	want := []string{"hv_netvsc.ko", "igb.ko", "mlx4_core.ko", "mlx4_en.ko", "mlx5_core.ko", "virtio_net.ko"}
	if diff := cmp.Diff(want, modules()); diff != "" {
		t.Errorf("kernel for all machines (-want +got):\n%s", diff)
	}
}

func TestList(t *testing.T) {
	var b bytes.Buffer
	if err := List(&b, Config{Init: fakeInit(t)}); err != nil {
		t.Fatal(err)
	}
	if want := "100755        7 /init\n"; !strings.Contains(b.String(), want) {
		t.Errorf("list:\n%swant a line %q", b.String(), want)
	}
}
