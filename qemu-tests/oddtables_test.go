package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// lowMemory is where a table of a BIOS may lie. Nothing else uses it before the
// kernel looks there.
const lowMemory = "0x98000"

// TestOddTables boots by tables that are odd, or shows why it can't. Of a table
// in ACPI QEMU mends the length and the checksum.
func TestOddTables(t *testing.T) {
	type change = func([]byte) []byte
	sign := func(signature string) change {
		return func(raw []byte) []byte { copy(raw, signature); return raw }
	}
	good := sign("iBFT")
	revision2 := func(raw []byte) []byte { raw[8], raw[9] = 2, raw[9]-1; return raw }
	badSum := func(raw []byte) []byte { raw[9]++; return raw }
	half := func(raw []byte) []byte { return raw[:len(raw)/2] }
	for _, c := range []struct {
		name   string
		acpi   []change
		memory change
		rom    []change // in one adapter's ROM, which lies in low memory
		more   string   // of the kernel's command line
		shows  []string // by the console of a boot that fails; nil: it boots
	}{
		{name: "revision-2", acpi: []change{revision2}, shows: []string{"/sys/firmware/acpi/tables/iBFT", "offset 8: revision"}},
		{name: "half", acpi: []change{half}, shows: []string{"offset 144", "the firmware's table, iBFT (ACPI), has none that can be used"}},
		{name: "bad-then-good", acpi: []change{revision2, good}},
		{name: "low-memory-and-bad-ACPI", acpi: []change{revision2}, memory: good},
		{name: "low-memory-bad-checksum", memory: badSum, shows: []string{"checksum"}},
		// The kernel's driver takes the first it finds, and gives up.
		{name: "low-memory-bad-then-good", rom: []change{badSum, good}},
		{name: "low-memory-bad-alone", rom: []change{badSum}, shows: []string{"/dev/mem at 0xc", "checksum", "rd.rootlun.ibft=lenient"}},
		{name: "low-memory-lenient", rom: []change{badSum}, more: " rd.rootlun.ibft=lenient"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			target := s.target()
			port := s.tgt(target)
			table := FirmwareTable(initiatorName, port, target)
			m := s.machine("rd.iscsi.firmware"+c.more, deadline)
			encode := func(change change) []byte {
				raw, err := table.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				return change(raw)
			}
			store := func(name string, raw []byte) (file string) {
				file = filepath.Join(s.dir, name)
				if err := os.WriteFile(file, raw, 0o600); err != nil {
					t.Fatal(err)
				}
				return file
			}
			write := func(name string, change change) (file string) { return store(name, encode(change)) }
			for i, change := range c.acpi {
				m.More = append(m.More, "-acpitable", "file="+write(fmt.Sprint("table", i), change))
			}
			if c.memory != nil {
				m.More = append(m.More, "-device", "loader,force-raw=on,addr="+lowMemory+",file="+write("memory", c.memory))
			}
			if c.rom != nil {
				var tables [][]byte
				for _, change := range c.rom {
					tables = append(tables, encode(change))
				}
				m.More = append(m.More, "-option-rom", store("rom", optionROM(tables)))
			}
			if c.shows != nil {
				shows(t, s.fail(m), append(c.shows, "reboot: Power down")...)
				return
			}
			report, console := s.boot(m)
			checkRoot(t, report, console, port, target)
		})
	}
}

// optionROM is an adapter's ROM that does nothing but hold tables.
func optionROM(tables [][]byte) []byte {
	rom := []byte{0x55, 0xaa, 0, 0xcb} // signature, its length in 512 bytes, retf
	for _, table := range tables {
		rom = append(rom, make([]byte, -len(rom)&15)...)
		rom = append(rom, table...)
	}
	rom = append(rom, 0) // for the checksum
	rom = append(rom, make([]byte, -len(rom)&511)...)
	rom[2] = byte(len(rom) / 512)
	var sum byte
	for _, b := range rom {
		sum += b
	}
	rom[len(rom)-1] -= sum
	return rom
}
