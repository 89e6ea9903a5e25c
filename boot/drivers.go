package boot

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/modules"
)

// errNoDevice is what a driver says that found no hardware of its own.
var errNoDevice error = unix.ENODEV

// needed are loaded before the login whatever the hardware: the initiator, the
// disk driver, and the checksum that iscsi_tcp and file systems ask the crypto
// layer for by name (drivers/scsi/iscsi_tcp.c).
var needed = [...]string{"iscsi_tcp", "sd_mod", "crc32c_generic"}

// drivers loads modules while the boot goes on.
type drivers struct {
	loader *modules.Loader
	stop   func()       // ends the loading by uevents and waits for it
	iscsi  func() error // waits until those in needed are loaded
}

// newLoader knows the modules of the running kernel.
func newLoader() (*modules.Loader, error) {
	release, err := kernelRelease()
	if err != nil {
		return nil, err
	}
	return modules.New("/lib/modules/" + release)
}

// loadNeeded loads what stands in needed. What is nowhere may be built in.
func loadNeeded(loader *modules.Loader) error {
	var errs []error
	for _, name := range needed {
		if err := loader.Load(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// loadDrivers starts two things at once: the drivers of the hardware, now and
// as devices appear, and those that every iSCSI boot needs.
func loadDrivers(ctx context.Context, c *Console) (*drivers, error) {
	loader, err := newLoader()
	if err != nil {
		return nil, &StepError{Step: "load drivers", Err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	var plug, load sync.WaitGroup
	plug.Go(func() {
		if err := loader.Coldplug(ctx); err != nil && ctx.Err() == nil {
			c.Printf("warning: drivers: %v", err)
		}
	})
	var loadErr error
	load.Go(func() { loadErr = loadNeeded(loader) })
	return &drivers{
		loader: loader,
		stop:   func() { cancel(); plug.Wait() },
		iscsi:  func() error { load.Wait(); return loadErr },
	}, nil
}
