package boot

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf16"
)

// partition is one entry of a disk's partition table.
type partition struct {
	Number int
	UUID   string // PARTUUID, lower case
	Label  string // PARTLABEL; empty on an MBR
}

// readPartitions reads the GPT of a disk, or its MBR. It returns nil when
// there is neither. Only primary entries of an MBR are named: the kernel gives
// logical ones numbers from 5 by walking a chain that a root seldom lies in.
func readPartitions(r io.ReaderAt, sectorSize int) []partition {
	if sectorSize < 512 || sectorSize > 4096 {
		return nil
	}
	if p := readGPT(r, sectorSize); p != nil {
		return p
	}
	return readMBR(r)
}

// readGPT follows UEFI 2.10, 5.3. The kernel has checked the table's CRCs
// before it made the partitions; here only the bounds matter.
func readGPT(r io.ReaderAt, sectorSize int) []partition {
	h := make([]byte, 92)
	if _, err := r.ReadAt(h, int64(sectorSize)); err != nil || string(h[:8]) != "EFI PART" {
		return nil
	}
	start, count, size := binary.LittleEndian.Uint64(h[72:]), binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	if start > 1<<40 || count > 1024 || size < 128 || size > 4096 {
		return nil
	}
	b := make([]byte, count*size)
	if _, err := r.ReadAt(b, int64(start)*int64(sectorSize)); err != nil {
		return nil
	}
	var parts []partition
	for i := range int(count) {
		e := b[i*int(size):][:size]
		if [16]byte(e[:16]) == [16]byte{} { // unused
			continue
		}
		name := make([]uint16, 36)
		n := 0
		for ; n < len(name); n++ {
			if name[n] = binary.LittleEndian.Uint16(e[56+2*n:]); name[n] == 0 {
				break
			}
		}
		parts = append(parts, partition{i + 1, guidString(e[16:32]), string(utf16.Decode(name[:n]))})
	}
	return parts
}

// readMBR names the partitions as the kernel does: the disk's signature and
// the number (block/partitions/msdos.c).
func readMBR(r io.ReaderAt) []partition {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil || b[510] != 0x55 || b[511] != 0xaa {
		return nil
	}
	var parts []partition
	for i := range 4 {
		e := b[446+16*i:]
		if e[0]&0x7f != 0 { // no boot flag: this is no partition table
			return nil
		}
		if kind, sectors := e[4], binary.LittleEndian.Uint32(e[12:]); kind != 0 && sectors != 0 {
			parts = append(parts, partition{Number: i + 1, UUID: fmt.Sprintf("%08x-%02x", binary.LittleEndian.Uint32(b[440:]), i+1)})
		}
	}
	return parts
}
