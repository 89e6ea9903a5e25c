package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// kernel is one kernel's modules as they lie below /lib/modules/VERSION. What
// depends on what is read from the modules themselves, since a kernel package
// that is only unpacked has no index yet.
type kernel struct {
	dir      string
	files    map[string]string  // by name: the module's file, below dir
	read     map[string]*module // by name: those read so far
	builtin  map[string]bool    // names
	builtins []byte             // modules.builtin
	modinfo  []byte             // modules.builtin.modinfo
	crypto   map[string][]string
}

func openKernel(dir string) (*kernel, error) {
	k := &kernel{
		dir:     dir,
		files:   map[string]string{},
		read:    map[string]*module{},
		builtin: map[string]bool{},
	}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, ok := moduleName(file)
		if !ok {
			return nil
		}
		below, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if strings.ContainsAny(below, " \t\n:") {
			return fmt.Errorf("%s: no index can hold a path with a space or colon", file)
		}
		// What lies beside the kernel's own modules (updates, extra)
		// replaces them, as in depmod's default order.
		if old, ok := k.files[name]; !ok || strings.HasPrefix(old, "kernel/") {
			k.files[name] = below
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// A kernel before 5.2 has no modules.builtin.modinfo; one without modules
	// may have neither file.
	if k.builtins, err = readOptional(filepath.Join(dir, "modules.builtin")); err != nil {
		return nil, err
	}
	if k.modinfo, err = readOptional(filepath.Join(dir, "modules.builtin.modinfo")); err != nil {
		return nil, err
	}
	for line := range bytes.Lines(k.builtins) {
		if name, ok := moduleName(string(bytes.TrimSpace(line))); ok {
			k.builtin[name] = true
		}
	}
	// The folder above would do as well, and mix all kernels' modules.
	if len(k.builtin) == 0 && !k.hasOwn() {
		return nil, errors.New("neither a folder kernel with modules is there nor modules.builtin; want a folder such as /lib/modules/VERSION")
	}
	return k, nil
}

// hasOwn says whether there are modules where a kernel's own ones lie.
func (k *kernel) hasOwn() bool {
	for _, file := range k.files {
		if strings.HasPrefix(file, "kernel/") {
			return true
		}
	}
	return false
}

func readOptional(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// has says whether the kernel has a module, built in or not.
func (k *kernel) has(name string) bool { return k.files[name] != "" || k.builtin[name] }

// choose returns the modules for an image, sorted by path: those that every
// image gets, as far as this kernel has them, the drivers asked for, and what
// these need.
func (k *kernel) choose(drivers []string) ([]*module, error) {
	want := standardModules()
	if k.forGuests() {
		needless := needlessInGuests()
		want = slices.DeleteFunc(want, func(name string) bool { return slices.Contains(needless, name) })
	}
	want = slices.DeleteFunc(want, func(name string) bool { return k.files[name] == "" })
	for _, driver := range drivers {
		name := strings.ReplaceAll(driver, "-", "_")
		if !k.has(name) {
			return nil, fmt.Errorf("driver %s: this kernel has no such module, and it is not built in", driver)
		}
		if k.files[name] != "" {
			want = append(want, name)
		}
	}
	chosen := map[string]*module{}
	for len(want) > 0 {
		mods, err := k.load(want)
		if err != nil {
			return nil, err
		}
		want = nil
		for _, m := range mods {
			chosen[m.name] = m
			need, err := k.needs(m)
			if err != nil {
				return nil, err
			}
			want = append(want, need...)
		}
		want = slices.DeleteFunc(want, func(name string) bool { return chosen[name] != nil })
	}
	return slices.SortedFunc(maps.Values(chosen), func(a, b *module) int {
		return strings.Compare(a.path, b.path)
	}), nil
}

// needs names the modules that must or should be beside m.
func (k *kernel) needs(m *module) ([]string, error) {
	for _, name := range m.depends {
		if !k.has(name) {
			return nil, fmt.Errorf("module %s depends on %s, which is not there", m.name, name)
		}
	}
	need := slices.Clone(m.depends)
	for _, dep := range m.softdeps {
		name := strings.ReplaceAll(dep.name, "-", "_")
		if k.has(name) {
			need = append(need, name)
			continue
		}
		aliases, err := k.cryptoAliases()
		if err != nil {
			return nil, err
		}
		need = append(need, aliases[dep.name]...)
	}
	return slices.DeleteFunc(need, func(name string) bool { return k.files[name] == "" }), nil
}

// cryptoAliases maps the aliases of the kernel's algorithms to modules. Aliases
// in soft dependencies name algorithms; to look for others would mean to
// uncompress every module there is.
func (k *kernel) cryptoAliases() (map[string][]string, error) {
	if k.crypto != nil {
		return k.crypto, nil
	}
	var names []string
	for name, file := range k.files {
		if strings.HasPrefix(file, "kernel/crypto/") || strings.HasPrefix(file, "kernel/lib/") ||
			strings.HasPrefix(file, "kernel/arch/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	mods, err := k.load(names)
	if err != nil {
		return nil, err
	}
	k.crypto = map[string][]string{}
	for _, m := range mods {
		for _, alias := range m.aliases {
			k.crypto[alias] = append(k.crypto[alias], m.name)
		}
	}
	return k.crypto, nil
}

// load reads modules, several at once, each once. The result has no doubles.
func (k *kernel) load(names []string) ([]*module, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	mods := make([]*module, len(names))
	errs := make([]error, len(names))
	var readers sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, name := range names {
		if mods[i] = k.read[name]; mods[i] != nil {
			continue
		}
		free <- struct{}{}
		readers.Go(func() {
			mods[i], errs[i] = k.open(name)
			<-free
		})
	}
	readers.Wait()
	for i, m := range mods {
		if errs[i] != nil {
			return nil, errs[i] // the first by name: the same one every time
		}
		k.read[m.name] = m
	}
	return mods, nil
}

func (k *kernel) open(name string) (*module, error) {
	file := filepath.Join(k.dir, k.files[name])
	data, err := readModule(file)
	if err != nil {
		return nil, err
	}
	m, err := parseModule(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	m.name = name
	m.path = k.files[name][:strings.LastIndex(k.files[name], ".ko")+len(".ko")]
	m.softdeps = append(m.softdeps, unansweredRequests()[name]...)
	return m, nil
}
