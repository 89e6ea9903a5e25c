package initramfs

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"github.com/ulikunitz/xz"
)

// fakeModule is a little ELF object with a .modinfo section of these pairs.
func fakeModule(modinfo ...string) []byte {
	le := binary.LittleEndian
	info := strings.Join(modinfo, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	b := make([]byte, header)
	copy(b, "\x7fELF\x02\x01\x01")                     // 64 bits, little-endian
	le.PutUint16(b[16:], 1)                            // ET_REL
	le.PutUint16(b[18:], 62)                           // EM_X86_64
	le.PutUint32(b[20:], 1)                            // version
	le.PutUint64(b[40:], header)                       // section headers follow
	le.PutUint16(b[52:], header)                       // this header's size
	le.PutUint16(b[58:], section)                      // a section header's size
	le.PutUint16(b[60:], 3)                            // how many
	le.PutUint16(b[62:], 2)                            // which one has the names
	b = append(b, make([]byte, section)...)            // the null section
	add := func(name, kind uint32, offset, size int) { // Elf64_Shdr
		h := make([]byte, section)
		le.PutUint32(h[0:], name)
		le.PutUint32(h[4:], kind)
		le.PutUint64(h[24:], uint64(offset))
		le.PutUint64(h[32:], uint64(size))
		le.PutUint64(h[48:], 1)
		b = append(b, h...)
	}
	data := header + 3*section
	add(1, 1, data, len(info))             // SHT_PROGBITS
	add(10, 3, data+len(info), len(names)) // SHT_STRTAB
	return append(append(b, info...), names...)
}

// writeFile writes a file, compressed as its name says, with the folders above.
func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = nopCloser{&b}
	var err error
	switch filepath.Ext(name) {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fakeModules are a kernel's modules by path, in all four compressions.
func fakeModules() map[string][]byte {
	return map[string][]byte{
		"kernel/drivers/scsi/iscsi_tcp.ko.xz":             fakeModule("license=GPL", "depends=libiscsi_tcp,libiscsi,scsi_transport_iscsi"),
		"kernel/drivers/scsi/libiscsi_tcp.ko.zst":         fakeModule("depends=libiscsi"),
		"kernel/drivers/scsi/libiscsi.ko.gz":              fakeModule("depends=scsi-transport-iscsi,scsi_mod"),
		"kernel/drivers/scsi/scsi_transport_iscsi.ko":     fakeModule("alias=net-pf-16-proto-8", "depends=scsi_mod"),
		"kernel/drivers/net/virtio_net.ko":                fakeModule("alias=virtio:d00000001v*", "depends="),
		"kernel/drivers/net/dummy.ko":                     fakeModule("depends="),
		"kernel/arch/x86/crypto/crc32c-intel.ko.xz":       fakeModule("alias=crypto-crc32c", "depends="),
		"kernel/crypto/unused.ko":                         fakeModule("alias=crypto-unused"),
		"kernel/fs/btrfs/btrfs.ko":                        fakeModule("softdep=pre: xxhash64 absent", "softdep=post: dummy"),
		"kernel/crypto/xxhash_generic.ko.zst":             fakeModule("alias=xxhash64", "alias=two words"),
		"kernel/drivers/net/ethernet/intel/igb/igb.ko.xz": fakeModule("alias=pci:v00008086d00001521sv*sd*bc*sc*i*"),
	}
}

// fakeKernel writes such a kernel in the order given by less.
func fakeKernel(t *testing.T, less func(a, b string) int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "6.1.0-test")
	mods := fakeModules()
	var names []string
	for name := range mods {
		names = append(names, name)
	}
	slices.SortFunc(names, less)
	for _, name := range names {
		writeFile(t, filepath.Join(dir, name), mods[name])
	}
	writeFile(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/drivers/scsi/scsi_mod.ko\nkernel/fs/ext4/ext4.ko\n"))
	writeFile(t, filepath.Join(dir, "modules.builtin.modinfo"),
		[]byte("ext4.alias=fs-ext4\x00ext4.license=GPL\x00e.alias=pci:v1d2\x00"))
	return dir
}

// fakeInit writes a program for /init.
func fakeInit(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rootlun")
	if err := os.WriteFile(file, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// build returns the image's records by name, in their order, and the contents
// of the files.
func build(t *testing.T, cfg Config) (names []string, records map[string]cpio.Info, contents map[string]string) {
	t.Helper()
	cfg.Compress = "none"
	var b bytes.Buffer
	if err := Build(&b, cfg); err != nil {
		t.Fatal(err)
	}
	records, contents = map[string]cpio.Info{}, map[string]string{}
	err := cpio.ForEachRecord(cpio.Newc.Reader(bytes.NewReader(b.Bytes())), func(r cpio.Record) error {
		names = append(names, r.Name)
		records[r.Name] = r.Info
		data, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
		contents[r.Name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, records, contents
}
