package modules

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/rootlun/rootlun/fw/stable"
)

// index is what depmod's text files say (modules.dep(5), depmod(8)).
type index struct {
	modules map[string]*module // by name
	builtin map[string]bool    // names, and aliases without a wildcard
	aliases map[string][]alias // by what precedes the first wildcard
	lengths map[int]bool       // of the keys in aliases
}

// module is a module that lies in a file.
type module struct {
	name      string
	path      string
	depends   []string // names, in the order in which they load
	pre, post []string // soft dependencies: names or aliases

	once sync.Once // guards the loading, and err
	err  error

	warn sync.Once // guards that a failure is told once
}

// alias is a pattern that names a module.
type alias struct {
	pattern string // from the first wildcard on
	module  string
}

func newIndex() *index {
	return &index{
		modules: map[string]*module{},
		builtin: map[string]bool{},
		aliases: map[string][]alias{},
		lengths: map[int]bool{},
	}
}

// readIndex reads the files below dir, as far as they are there.
func readIndex(dir string) (*index, error) {
	ix := newIndex()
	for _, file := range []struct {
		name  string
		parse func(text string)
	}{
		{"modules.dep", func(text string) { ix.parseDep(text, dir) }},
		{"modules.softdep", ix.parseSoftdep}, // after modules.dep
		{"modules.alias", ix.parseAlias},
		{"modules.builtin", ix.parseBuiltin},
		{"modules.builtin.modinfo", ix.parseBuiltinModinfo},
	} {
		text, err := readOptional(path.Join(dir, file.name))
		if err != nil {
			return nil, err
		}
		file.parse(text)
	}
	return ix, nil
}

func readOptional(file string) (string, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// moduleName is the name of the module in a file: without folders and what
// follows the first dot, with underscores.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return underscores(name)
}

func underscores(name string) string { return strings.ReplaceAll(name, "-", "_") }

// parseDep reads "PATH: PATH…"; what loads first stands last. Paths are below
// dir, or absolute.
func (ix *index) parseDep(text, dir string) {
	for _, line := range strings.Split(text, "\n") {
		file, depends, ok := strings.Cut(line, ":")
		if !ok || file == "" || strings.HasPrefix(file, "#") {
			continue
		}
		m := &module{name: moduleName(file), path: file}
		if !path.IsAbs(file) {
			m.path = path.Join(dir, file)
		}
		for _, d := range strings.Fields(depends) {
			m.depends = append(m.depends, moduleName(d))
		}
		slices.Reverse(m.depends)
		ix.modules[m.name] = m
	}
}

// parseSoftdep reads "softdep NAME pre: NAME… post: NAME…".
func (ix *index) parseSoftdep(text string) {
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "softdep" {
			continue
		}
		m := ix.modules[underscores(words[1])]
		if m == nil {
			continue
		}
		var list *[]string
		for _, word := range words[2:] {
			switch {
			case word == "pre:":
				list = &m.pre
			case word == "post:":
				list = &m.post
			case list != nil:
				*list = append(*list, word)
			}
		}
	}
}

// parseAlias reads "alias PATTERN NAME".
func (ix *index) parseAlias(text string) {
	for _, line := range strings.Split(text, "\n") {
		pattern, name, _ := strings.Cut(strings.TrimPrefix(line, "alias "), " ")
		name = underscores(strings.TrimSpace(name))
		if ix.modules[name] == nil || pattern == "" {
			continue
		}
		pattern = normalize(pattern)
		fixed := strings.IndexAny(pattern, `*?[\`)
		if fixed < 0 {
			fixed = len(pattern)
		}
		key := pattern[:fixed]
		ix.aliases[key] = append(ix.aliases[key], alias{pattern[fixed:], name})
		ix.lengths[fixed] = true
	}
}

// parseBuiltin reads a path a line.
func (ix *index) parseBuiltin(text string) {
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			ix.builtin[moduleName(line)] = true
		}
	}
}

// parseBuiltinModinfo reads NUL-terminated "NAME.KEY=VALUE".
func (ix *index) parseBuiltinModinfo(text string) {
	for _, entry := range strings.Split(text, "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		if strings.HasSuffix(key, ".alias") && !strings.ContainsAny(value, `*?[\`) {
			ix.builtin[underscores(value)] = true
		}
	}
}

// find returns the modules that a name or alias stands for, by name. A
// module's own name hides aliases.
func (ix *index) find(name string) []*module {
	name = underscores(name)
	if m := ix.modules[name]; m != nil {
		return []*module{m}
	}
	var found []*module
	for n := range ix.lengths {
		if n > len(name) {
			continue
		}
		for _, a := range ix.aliases[name[:n]] {
			if m := ix.modules[a.module]; !slices.Contains(found, m) && match(a.pattern, name[n:]) {
				found = append(found, m)
			}
		}
	}
	stable.Sort(found, func(a, b *module) int { return strings.Compare(a.name, b.name) })
	return found
}

// loadOrder returns the module, after what it depends on and before what
// should follow it. Circles, which soft dependencies may form, are cut.
func (ix *index) loadOrder(target *module) []*module {
	var order []*module
	seen := map[*module]bool{}
	var visit func(*module)
	soft := func(names []string) {
		for _, name := range names {
			for _, m := range ix.find(name) {
				visit(m)
			}
		}
	}
	visit = func(m *module) {
		if m == nil || seen[m] {
			return
		}
		seen[m] = true
		soft(m.pre)
		for _, name := range m.depends {
			visit(ix.modules[name])
		}
		order = append(order, m)
		soft(m.post)
	}
	visit(target)
	return order
}
