package fw

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/rootlun/rootlun/ibft"
)

// A BIOS leaves its table between 512 KiB and 1 MiB, but for the adapter's
// memory in between (the kernel's drivers/firmware/iscsi_ibft_find.c).
const (
	lowStart, lowEnd = 0x80000, 0x100000
	vgaStart, vgaEnd = 0xa0000, 0xc0000
	pageSize         = 4096
)

// readLowMemory reads the tables in dev/mem. The kernel's driver looks at the first
// signature alone, and at none when that one's table is bad; here the search
// goes on. A machine with EFI has its table in ACPI. Most kernels do not let
// all of this memory be read, some none: that is no error.
func readLowMemory(fsys fs.FS, lenient bool) []*firmware {
	if _, err := fs.Stat(fsys, "sys/firmware/efi"); err == nil {
		return nil
	}
	f, err := fsys.Open("dev/mem")
	if err != nil {
		return nil
	}
	defer f.Close()
	memory, ok := f.(io.ReaderAt)
	if !ok {
		return nil
	}
	// What cannot be read stays 0.
	low := make([]byte, lowEnd-lowStart)
	for at := lowStart; at < lowEnd; at += pageSize {
		if at < vgaStart || at >= vgaEnd {
			_, _ = memory.ReadAt(low[at-lowStart:][:pageSize], int64(at))
		}
	}
	return tablesIn(low, lowStart, "/dev/mem", "iBFT (low memory)", lenient)
}

// dump reads the table in a file that a person gives: a table, or a copy of low
// memory that holds one.
func dump(raw []byte, file string, lenient bool) []*firmware {
	from := "iBFT (" + file + ")"
	if tables := tablesIn(raw, 0, file, from, lenient); len(tables) > 0 {
		return tables
	}
	return []*firmware{readTable(raw, file, from, lenient)} // which says what is wrong
}

// tablesIn reads all tables in memory, a copy of what lies at base. Where a
// signature is not followed by a table, be it a bad one, it is passed over:
// programs that make tables hold it too.
func tablesIn(memory []byte, base int, file, from string, lenient bool) (out []*firmware) {
	const most = 16
	for _, at := range ibft.Find(memory) {
		if _, err := ibft.ParseLenient(memory[at:]); err != nil {
			continue
		}
		name := file
		if at+base > 0 {
			name = fmt.Sprintf("%s at %#x", file, at+base)
		}
		if out = append(out, readTable(memory[at:], name, from, lenient)); len(out) == most {
			break
		}
	}
	return out
}
