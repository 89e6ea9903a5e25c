package boot

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// superblock is what a file system says of itself.
type superblock struct {
	Type  string // as mount(2) wants it
	UUID  string // lower case; empty: it has none
	Label string
}

// errNoFilesystem says that a device holds nothing that can be mounted.
var errNoFilesystem = errors.New("no known file system")

// errContainer says of it that another program makes a disk of it, which may hold
// the root. It is an errNoFilesystem.
var errContainer = fmt.Errorf("%w", errNoFilesystem)

// format is one row of what is recognised: where the magic stands, and the
// UUID and the label (length 0: the file system has none).
type format struct {
	fstype        string
	magicAt       int
	magic         string
	uuidAt        int // 0: none
	labelAt, size int
}

// formats holds the on-disk layouts from the kernel's fs/*/ headers: ext4.h
// (ext4 mounts ext2 and ext3 too), libxfs/xfs_format.h, btrfs_tree.h,
// squashfs_fs.h, erofs_fs.h.
var formats = [...]format{
	{"ext4", 0x438, "\x53\xef", 0x468, 0x478, 16},
	{"xfs", 0, "XFSB", 32, 108, 12},
	{"btrfs", 0x10040, "_BHRfS_M", 0x10020, 0x1012b, 256},
	{"squashfs", 0, "hsqs", 0, 0, 0},
	{"erofs", 0x400, "\xe2\xe1\xf5\xe0", 0x430, 0x440, 16},
	{"f2fs", 0x400, "\x10\x20\xf5\xf2", 0x46c, 0, 0},
}

// containers are recognised to say why they can't be the root.
var containers = [...]format{
	{fstype: "a LUKS volume", magicAt: 0, magic: "LUKS\xba\xbe"},
	{fstype: "an LVM physical volume", magicAt: 0x218, magic: "LVM2 001"},
	{fstype: "part of a RAID", magicAt: 0x1000, magic: "\xfc\x4e\x2b\xa9"}, // md, 1.2
}

var swap = format{magicAt: 0xff6, magic: "SWAPSPACE2"}

// readSuperblock recognises the file system on r. Its error wraps
// errNoFilesystem when r was read and holds none.
func readSuperblock(r io.ReaderAt) (superblock, error) {
	const length = 0x10000 + 0x1000 // up to the end of the btrfs super block
	b := make([]byte, length)
	if n, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return superblock{}, err
	} else if b = b[:n]; n == 0 {
		return superblock{}, fmt.Errorf("%w: the device is empty", errNoFilesystem)
	}
	for _, f := range formats {
		if !f.match(b) {
			continue
		}
		s := superblock{Type: f.fstype}
		if f.uuidAt > 0 && len(b) >= f.uuidAt+16 {
			s.UUID = uuidString(b[f.uuidAt : f.uuidAt+16])
		}
		if f.size > 0 && len(b) >= f.labelAt+f.size {
			s.Label, _, _ = strings.Cut(string(b[f.labelAt:f.labelAt+f.size]), "\x00")
		}
		return s, nil
	}
	for _, f := range containers {
		if f.match(b) {
			return superblock{}, fmt.Errorf("%w: it holds %s", errContainer, f.fstype)
		}
	}
	if swap.match(b) {
		return superblock{}, fmt.Errorf("%w: it holds swap space", errNoFilesystem)
	}
	return superblock{}, errNoFilesystem
}

func (f format) match(b []byte) bool {
	end := f.magicAt + len(f.magic)
	return len(b) >= end && string(b[f.magicAt:end]) == f.magic
}

// uuidString writes 16 bytes in the order in which they stand.
func uuidString(b []byte) string {
	h := hex.EncodeToString(b[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// guidString writes a GUID of the GPT, whose first three fields are
// little-endian (UEFI 2.10, appendix A).
func guidString(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}
