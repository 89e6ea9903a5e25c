package boot

import (
	"encoding/binary"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rootlun/rootlun/fw"
)

// ext4Image is as much of a file system as is looked at.
func ext4Image(label string) *fstest.MapFile {
	b := make([]byte, 0x11000)
	binary.LittleEndian.PutUint16(b[0x438:], 0xef53)
	copy(b[0x468:], "\x5d\x5f\x2b\x1c\x7d\x2a\x4a\x5e\x9c\x0e\x01\x23\x45\x67\x89\xab")
	copy(b[0x478:], label)
	return &fstest.MapFile{Data: b}
}

func mbrImage() *fstest.MapFile {
	b := make([]byte, 0x11000)
	binary.LittleEndian.PutUint32(b[440:], 0x1234abcd)
	for i := range 2 {
		e := b[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(2048*(i+1)))
		binary.LittleEndian.PutUint32(e[12:], 2048)
	}
	b[510], b[511] = 0x55, 0xaa
	return &fstest.MapFile{Data: b}
}

func TestLookForRoot(t *testing.T) {
	whole := fstest.MapFS{"dev/sda": ext4Image("one"), "sys/class/block/sda/size": {Data: []byte("1\n")}}
	parts := fstest.MapFS{
		"dev/sda": mbrImage(), "dev/sda1": ext4Image("boot"), "dev/sda2": ext4Image("my root"),
		"sys/class/block/sda/queue/logical_block_size": {Data: []byte("512\n")},
		"sys/class/block/sda/sda1/partition":           {Data: []byte("1\n")},
		"sys/class/block/sda/sda2/partition":           {Data: []byte("2\n")},
	}
	single := fstest.MapFS{"dev/sda": mbrImage(), "dev/sda1": ext4Image("only"),
		"sys/class/block/sda/sda1/partition": {Data: []byte("1\n")}}
	for _, tt := range []struct {
		fs   fstest.MapFS
		root string
		want string // the device, or a part of the error after a "!"
	}{
		{whole, "", "/dev/sda"},
		{whole, "LABEL=one", "/dev/sda"},
		{whole, "UUID=5D5F2B1C-7D2A-4A5E-9C0E-0123456789AB", "/dev/sda"},
		{whole, "/dev/sda", "/dev/sda"},
		{whole, "/dev/../dev/sda", "/dev/sda"},
		{whole, "LABEL=two", "!no LABEL=two on disk sda; found: sda is ext4 LABEL=one"},
		{whole, "/dev/sdb", "!no /dev/sdb on disk sda; found: sda is ext4 LABEL=one"},
		{parts, "/dev/sda2", "/dev/sda2"},
		{parts, "/dev/sda5", "!no /dev/sda5 on disk sda; found:"},
		{parts, "/dev/sda", "!/dev/sda: no known file system"},
		{parts, "LABEL=my root", "/dev/sda2"},
		{parts, `/dev/disk/by-label/my\x20root`, "/dev/sda2"},
		{parts, "PARTUUID=1234ABCD-02", "/dev/sda2"},
		{parts, "/dev/disk/by-partuuid/1234abcd-01", "/dev/sda1"},
		{parts, "", "!no single file system (root= can name one) on disk sda"},
		{single, "", "/dev/sda1"},
		{fstest.MapFS{}, "", "!sda"},
	} {
		d, err := lookForRoot(tt.fs, fw.Root{Device: tt.root}, "sda")
		if want, fails := strings.CutPrefix(tt.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("root=%s: %v, %v, want error %q", tt.root, d, err, want)
			}
		} else if err != nil || d.Path != tt.want || d.Type != "ext4" {
			t.Errorf("root=%s: %v, %v, want %s", tt.root, d, err, tt.want)
		}
	}
}

// A file system that is not known here is left to mount(2), when root= and
// rootfstype= say together where it lies and what it is.
func TestUnknownFilesystem(t *testing.T) {
	fsys := fstest.MapFS{
		"dev/sda": mbrImage(), "dev/sda1": {Data: make([]byte, 0x11000)},
		"sys/class/block/sda/sda1/partition": {Data: []byte("1\n")},
	}
	for _, tt := range []struct {
		root, fstype string
		found        bool
	}{
		{"/dev/sda1", "nilfs2", true},
		{"PARTUUID=1234abcd-01", "nilfs2", true},
		{"PARTUUID=1234abcd-01", "auto", false},
		{"/dev/sda1", "", false},
		{"/dev/sda9", "nilfs2", false},
		{"LABEL=root", "nilfs2", false},
		{"", "nilfs2", false},
	} {
		d, err := lookForRoot(fsys, fw.Root{Device: tt.root, FSType: tt.fstype}, "sda")
		if found := err == nil; found != tt.found || found && d.Path != "/dev/sda1" {
			t.Errorf("root=%s rootfstype=%s: %v, %v", tt.root, tt.fstype, d, err)
		}
	}
}
