// Package modules loads kernel modules: by name with what they depend on, and
// by the aliases of the devices that the machine has. It reads
// /lib/modules/RELEASE/modules.{dep,alias,softdep,builtin,builtin.modinfo},
// /proc/cmdline and modprobe.d(5)'s files for options and blacklists, and
// /sys/bus/*/devices/*/modalias. It does what modprobe(8) does, without running
// the commands of such files, and calls that where the kernel can't uncompress a
// module.
package modules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Loader loads each module at most once; several goroutines may use it.
type Loader struct {
	// Warn, if set, is called with each device driver that Coldplug could
	// not load; by several goroutines at once. Set it before Coldplug.
	Warn func(error)

	index       *index
	cmdline     cmdline
	coldplugged chan struct{}

	// What tests replace.
	sys    string
	insert func(path, options string) error
	listen func() (events, error)
}

// New reads the index of the running kernel's modules below dir
// (/lib/modules/RELEASE). A folder that is not there is an empty index: all
// drivers may be built in. /proc must be mounted, else modules get no options.
func New(dir string) (*Loader, error) { return newLoader(dir, "/proc", "/") }

func newLoader(dir, proc, root string) (*Loader, error) {
	ix, err := readIndex(dir)
	if err != nil {
		return nil, fmt.Errorf("index of the kernel modules: %w", err)
	}
	line, err := readOptional(path.Join(proc, "cmdline"))
	if err != nil {
		return nil, err
	}
	settings := parseCmdline(line)
	settings.addConfig(root)
	return &Loader{
		index:       ix,
		cmdline:     settings,
		coldplugged: make(chan struct{}),
		sys:         "/sys",
		insert:      insertModule,
		listen:      listenUevents,
	}, nil
}

// Load loads a module and what it depends on. The name is a module's or an
// alias; of an alias all modules are tried, and one is enough. A module that is
// built in or loaded already is success; one that is nowhere is fs.ErrNotExist.
func (l *Loader) Load(name string) error {
	mods := l.index.find(name)
	var failed []error
	for _, m := range mods {
		if err := l.load(m); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) < len(mods) || l.index.builtin[underscores(name)] || l.isLoaded(name) {
		return nil
	}
	if len(mods) == 0 {
		return fmt.Errorf("module %s: neither among the modules nor built in: %w", name, fs.ErrNotExist)
	}
	return errors.Join(failed...)
}

// Where tells where a module is that Load would load, of a name or an alias: a
// file, "built in" or "loaded already"; "" when it is nowhere.
func (l *Loader) Where(name string) string {
	if mods := l.index.find(name); len(mods) > 0 {
		return mods[0].path
	}
	switch {
	case l.index.builtin[underscores(name)]:
		return "built in"
	case l.isLoaded(name):
		return "loaded already"
	}
	return ""
}

// isLoaded asks the kernel. It knows of built-in modules that have parameters.
func (l *Loader) isLoaded(name string) bool {
	_, err := os.Stat(path.Join(l.sys, "module", underscores(name)))
	return err == nil
}

// load loads a module and what stands before and after it. What a soft
// dependency fails with is nobody's concern.
func (l *Loader) load(target *module) error {
	var result error
	for _, m := range l.index.loadOrder(target) {
		err := l.loadOne(m)
		switch {
		case m == target:
			result = err
		case err != nil && slices.Contains(target.depends, m.name):
			return fmt.Errorf("module %s needs another: %w", target.name, err)
		}
	}
	return result
}

// loadOne gives one module to the kernel, once; who comes later waits for that.
// It waits for no other module meanwhile, so that a circle cannot stall it.
func (l *Loader) loadOne(m *module) error {
	m.once.Do(func() {
		if state, _ := os.ReadFile(path.Join(l.sys, "module", m.name, "initstate")); string(state) == "live\n" {
			return // udev's work: not to be read and uncompressed once more
		}
		options := l.cmdline.options[m.name]
		if m.name == "bonding" { // as systemd has it: by itself it makes a bond0
			options = strings.TrimSpace("max_bonds=0 " + options)
		}
		err := l.insert(m.path, options)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			m.err = fmt.Errorf("load module %s: %w%s", m.path, err, hint(m.path, err))
		}
	})
	return m.err
}

// finitModule is finit_module(2).
func finitModule(path, options string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if isCompressed(path) {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(f.Fd()), options, flags)
}

func isCompressed(path string) bool { return !strings.HasSuffix(path, ".ko") }

// hint says what finit_module's error most likely means.
func hint(path string, err error) string {
	switch {
	case isCompressed(path) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)):
		return " (the kernel cannot uncompress it: put it into the image as a plain .ko, or modprobe beside it)"
	case errors.Is(err, unix.ENOEXEC):
		return " (was it built for another kernel?)"
	case errors.Is(err, unix.ENOENT):
		return " (it uses what no loaded module has; see the kernel's log)"
	case errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EPERM):
		return " (the kernel takes signed modules only, or none; see its log)"
	}
	return ""
}
