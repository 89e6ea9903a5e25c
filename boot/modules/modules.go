// Package modules loads kernel modules: by name with what they depend on, and
// by the aliases of the devices that the machine has. It reads
// /lib/modules/RELEASE/modules.{dep,alias,softdep,builtin} and
// /sys/bus/*/devices/*/modalias.
package modules

import "context"

// Loader loads each module at most once; several goroutines may use it.
type Loader struct{}

// New reads the index of the running kernel's modules below dir
// (/lib/modules/RELEASE). A folder that is not there is an empty index: all
// drivers may be built in.
func New(dir string) (*Loader, error) { panic("not written yet") }

// Load loads a module and what it depends on. A module that is built in or
// loaded already is success; one that is nowhere is fs.ErrNotExist.
func (l *Loader) Load(name string) error { panic("not written yet") }

// Coldplug loads the drivers of the devices that are there, and then, until
// ctx ends, of those that appear (the kernel's uevents).
func (l *Loader) Coldplug(ctx context.Context) error { panic("not written yet") }
