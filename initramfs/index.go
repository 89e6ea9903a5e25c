package initramfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// index returns the text files by which module loaders find the given modules
// (sorted by path) and the built-in ones, in depmod's formats.
func (k *kernel) index(mods []*module) map[string]string {
	byName := map[string]*module{}
	for _, m := range mods {
		byName[m.name] = m
	}
	var dep, alias, soft strings.Builder
	for _, m := range mods {
		fmt.Fprintf(&dep, "%s:", m.path)
		for _, name := range loadOrder(m, byName) {
			fmt.Fprintf(&dep, " %s", byName[name].path)
		}
		fmt.Fprintln(&dep)
		for _, a := range m.aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, m.name)
		}
		for _, d := range m.softdeps {
			when := "pre:"
			if d.post {
				when = "post:"
			}
			fmt.Fprintf(&soft, "softdep %s %s %s\n", m.name, when, d.name)
		}
	}
	return map[string]string{
		"modules.dep":             dep.String(),
		"modules.alias":           alias.String(),
		"modules.softdep":         soft.String(),
		"modules.builtin":         string(k.builtins),
		"modules.builtin.modinfo": builtinAliases(k.modinfo),
	}
}

// loadOrder names all modules on which m depends, the first to be loaded last
// (modules.dep(5)).
func loadOrder(m *module, byName map[string]*module) []string {
	var first []string
	seen := map[string]bool{m.name: true}
	var visit func(*module)
	visit = func(m *module) {
		for _, name := range m.depends {
			if d := byName[name]; d != nil && !seen[name] {
				seen[name] = true
				visit(d)
				first = append(first, name)
			}
		}
	}
	visit(m)
	slices.Reverse(first)
	return first
}

// builtinAliases keeps of modules.builtin.modinfo (NUL-terminated
// NAME.KEY=VALUE) the aliases by which something else asks for a module. Those
// of devices, all with a colon, say nothing once the driver is there.
func builtinAliases(modinfo []byte) string {
	var kept strings.Builder
	for entry := range bytes.SplitSeq(modinfo, []byte{0}) {
		key, value, _ := bytes.Cut(entry, []byte("="))
		if bytes.HasSuffix(key, []byte(".alias")) && !bytes.ContainsRune(value, ':') {
			kept.Write(entry)
			kept.WriteByte(0)
		}
	}
	return kept.String()
}
