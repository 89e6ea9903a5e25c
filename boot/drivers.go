package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/rootlun/rootlun/boot/modules"
	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/session"
)

// needed are loaded before the login whatever the hardware: the checksum that
// iscsi_tcp asks the crypto layer for by name (no program answers the kernel's
// requests for modules here), the initiator, the driver of its disks, and the
// packet socket that DHCP goes through.
var needed = [...]string{"crypto-crc32c", "iscsi_tcp", "sd_mod", "af_packet"}

// drivers loads modules while the boot goes on.
type drivers struct {
	release string // the kernel's
	loader  *modules.Loader
	// initiator waits until those in needed are loaded, and opens the way to
	// the kernel's iscsi_tcp at the first call.
	initiator func() (*session.Initiator, error)
	// stop ends the loading by uevents, and waits for that.
	stop func()
}

// newLoader knows the modules of the running kernel, whose release it returns.
func newLoader() (*modules.Loader, string, error) {
	release, err := kernelRelease()
	if err != nil {
		return nil, "", err
	}
	loader, err := modules.New("/lib/modules/" + release)
	return loader, release, err
}

// modulesFit fails where the image is of another kernel: it has no modules of
// this release, and the kernel has no iSCSI without.
func modulesFit(fsys fs.FS, release string) error {
	if exists(fsys, "lib/modules/"+release) || exists(fsys, "sys/class/iscsi_transport") {
		return nil
	}
	has := "no modules"
	if dirs, _ := stable.ReadDir(fsys, "lib/modules"); len(dirs) > 0 {
		has = "the modules of " + dirs[0].Name()
	}
	return fmt.Errorf("the kernel is %s, and the image has %s; check that kernel and image are of one version", release, has)
}

func exists(fsys fs.FS, path string) bool {
	_, err := fs.Stat(fsys, path)
	return err == nil
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

// openInitiator opens the way to iscsi_tcp; what a login has to add to its
// result goes to the console.
func openInitiator(c *Console) (*session.Initiator, error) {
	return session.Open(func(note string) { c.Printf("%s", note) })
}

// loadInitiator is openInitiator for a command that is no boot: it loads the
// drivers where they are missing.
func loadInitiator(c *Console) (*session.Initiator, error) {
	sys := os.DirFS("/sys")
	if !exists(sys, "class/iscsi_transport/tcp") || !exists(sys, "bus/scsi/drivers/sd") {
		loader, _, err := newLoader()
		if err == nil {
			err = loadNeeded(loader)
		}
		if err != nil {
			return nil, err
		}
	}
	return openInitiator(c)
}

// newDrivers loads none yet.
func newDrivers() (*drivers, error) {
	loader, release, err := newLoader()
	if err != nil {
		return nil, &StepError{Step: "load drivers", Err: err}
	}
	return &drivers{release: release, loader: loader}, nil
}

// start starts two things at once: the drivers of the hardware, now and as
// devices appear, and those that every iSCSI boot needs.
func (d *drivers) start(ctx context.Context, c *Console) {
	d.loader.Warn = func(err error) { c.Printf("warning: %v", err) }
	ctx, cancel := context.WithCancel(ctx)
	var plug, load sync.WaitGroup
	plug.Go(func() {
		if err := d.loader.Coldplug(ctx); err != nil && ctx.Err() == nil {
			c.Printf("warning: drivers of devices that appear later are not loaded: %v", err)
		}
	})
	var loadErr error
	load.Go(func() { loadErr = loadNeeded(d.loader) })
	var once sync.Once
	var initiator *session.Initiator
	d.initiator = func() (*session.Initiator, error) {
		once.Do(func() {
			if load.Wait(); loadErr == nil {
				initiator, loadErr = openInitiator(c)
			}
		})
		return initiator, loadErr
	}
	d.stop = func() { cancel(); plug.Wait() }
}
