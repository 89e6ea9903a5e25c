package initramfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"strings"
)

// module is one kernel module and what its .modinfo section says of it.
type module struct {
	name     string // with underscores, as lsmod shows it
	path     string // in the image, below /lib/modules/VERSION
	data     []byte // uncompressed
	depends  []string
	aliases  []string
	softdeps []softdep
}

// softdep is a module that should be there, and is loaded before or after
// another if it is (modprobe.d(5)).
type softdep struct {
	name string // a module's name or an alias
	post bool
}

// moduleName is a module's name: that of its file, without .ko and a
// compression's ending, with underscores. The kernel knows no hyphens in it.
func moduleName(file string) (name string, ok bool) {
	name = path.Base(file)
	for _, ext := range []string{".gz", ".xz", ".zst"} {
		name = strings.TrimSuffix(name, ext)
	}
	name, ok = strings.CutSuffix(name, ".ko")
	return strings.ReplaceAll(name, "-", "_"), ok
}

// maxModinfo bounds the .modinfo section; a large driver's has 60 kB.
const maxModinfo = 4 << 20

// parseModule reads the .modinfo section of an ELF object.
func parseModule(data []byte) (*module, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil || section.Type == elf.SHT_NOBITS {
		return nil, errors.New("not a kernel module: no .modinfo section")
	}
	if section.Size > maxModinfo {
		return nil, fmt.Errorf("the .modinfo section has %d bytes, want at most %d", section.Size, maxModinfo)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf(".modinfo section: %w", err)
	}
	m := &module{data: data}
	m.parseModinfo(string(info))
	return m, nil
}

// parseModinfo reads NUL-terminated key=value pairs (include/linux/moduleparam.h,
// __MODULE_INFO).
func (m *module) parseModinfo(info string) {
	for pair := range strings.SplitSeq(info, "\x00") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name != "" {
					m.depends = append(m.depends, strings.ReplaceAll(name, "-", "_"))
				}
			}
		case "alias":
			// The index is text, an alias a word in it.
			if words := strings.Fields(value); len(words) == 1 {
				m.aliases = append(m.aliases, words[0])
			}
		case "softdep":
			m.softdeps = append(m.softdeps, parseSoftdep(value)...)
		}
	}
}

// parseSoftdep reads "pre: NAME… post: NAME…".
func parseSoftdep(text string) []softdep {
	var deps []softdep
	ready, post := false, false
	for word := range strings.FieldsSeq(text) {
		switch {
		case word == "pre:":
			ready, post = true, false
		case word == "post:":
			ready, post = true, true
		case ready:
			deps = append(deps, softdep{word, post})
		}
	}
	return deps
}
