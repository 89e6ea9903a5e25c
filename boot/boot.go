// Package boot is the boot told in order: plan, network, login, disk, root,
// handoff. It runs as PID 1 of an initramfs, and it alone turns a plan (fw)
// into NICs (boot/network) and sessions (session).
//
// It mounts /dev, /proc, /sys and /run, reads what fw reads, loads modules from
// /lib/modules, mounts the root on /sysroot, links to the disks from
// /dev/disk/by-path where no udev runs, writes /run/rootlun/state.json, deletes
// the initramfs and runs the real init.
package boot

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/modules"
	"github.com/rootlun/rootlun/boot/timer"
	"github.com/rootlun/rootlun/fw"
)

// adapterTimeout bounds the wait for the drivers when nothing names a target.
const adapterTimeout = 20 * time.Second

// Init boots. It returns only when the boot can't go on; the error then tells
// the step, the cause and what to check, and plan, which may be nil, what
// policy to follow (see Fail).
func Init(ctx context.Context, c *Console, version string) (plan *fw.Plan, err error) {
	if err := mountPseudo(); err != nil {
		return nil, &StepError{Step: "set up /dev, /proc, /sys and /run", Err: err}
	}
	reopenConsole()
	if kmsg := openKernelLog(); kmsg != nil {
		c.LogTo(kmsg)
	}
	c.Printf("rootlun %s starts", version)

	drivers, err := newDrivers()
	if err != nil {
		return nil, err
	}
	drivers.start(ctx, c)
	plan, err = readPlan(c, sources(), drivers.loader.Load, drivers.loader.Coldplugged())
	if err != nil {
		return plan, err
	}
	if other := plan.Root.Other; other != "" {
		return plan, &StepError{Step: "read the boot configuration", Err: errors.New("root=" + other + "… is for another initramfs than this; check the kernel command line")}
	}
	if err := modulesFit(os.DirFS("/"), drivers.release); err != nil {
		return plan, &StepError{Step: "load drivers", Err: err}
	}
	path, ways, err := reachDisk(ctx, c, plan, drivers, holdsRoot)
	if err != nil && plan.Failure.Fallback != "" {
		return plan, bootLocal(ctx, c, version, plan, drivers, err)
	} else if err != nil {
		return plan, err
	}
	init, err := openRoot(ctx, c, plan, path, drivers.loader)
	if err != nil {
		ways.finish(0)
		return plan, err
	}
	all := ways.finish(pathGrace)
	sayPaths(c, all)
	drivers.stop()
	c.Step("handoff", "%s runs as PID 1", init)
	tellNext(ctx, c, version, plan, path, all, ways, init, handoff.Systemd(sysroot))
	if err := handOver(sysroot); err != nil {
		c.Printf("warning: %v", err)
	}
	err = switchRoot(c, init, os.Args[1:], initEnvironment(os.Environ()))
	return plan, &StepError{Step: "hand over to " + init, Err: err}
}

// sources is the machine that runs.
func sources() fw.Sources {
	return fw.Sources{FS: os.DirFS("/"), Credentials: os.Getenv("CREDENTIALS_DIRECTORY")}
}

// findTable loads the kernel's driver of the firmware's table where that is the
// only way to it: one in low memory, also on a machine that has a table of no use
// in ACPI.
func findTable(c *Console, load func(module string) error) {
	if !fw.TargetInACPI(os.DirFS("/")) {
		if err := load("iscsi_ibft"); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			c.Printf("warning: no firmware table through the kernel: %v", err)
		}
	}
}

// readPlan reads every source of configuration and says what it found. load
// loads a module; settled is closed when all drivers are there; nil: they are.
func readPlan(c *Console, from fw.Sources, load func(module string) error, settled <-chan struct{}) (*fw.Plan, error) {
	findTable(c, load)
	plan, err := fw.Read(from)
	if err != nil && (len(plan.Targets) == 0 || plan.Initiator.Name == "") && settled != nil {
		// What an offload adapter is set to is seen when its driver is there, and so
		// is the MAC that stands for us where the machine has no UUID.
		select {
		case <-settled:
		case <-timer.After(adapterTimeout):
		}
		plan, err = fw.Read(from)
	}
	if plan != nil {
		if err == nil {
			err = CheckParams(plan)
		}
		for _, w := range plan.Warnings {
			c.Printf("warning: %s", w)
		}
	}
	if err != nil {
		return plan, &StepError{Step: "read the boot configuration", Err: err}
	}
	describePlan(c, plan)
	return plan, nil
}

// openRoot finds, mounts and checks the root; it returns the init to run.
func openRoot(ctx context.Context, c *Console, plan *fw.Plan, path *Path, drivers *modules.Loader) (string, error) {
	began := time.Now()
	fail := func(what string, err error) error {
		return &StepError{Step: what, Err: err, Took: time.Since(began)}
	}
	done := c.Wait("the root file system on "+cmp.Or(path.Disk.Name, "a disk of this machine"), rootTimeout)
	dev, err := findRoot(ctx, plan.Root, path.Disk.Name)
	done()
	if err != nil {
		return "", fail("find the root file system", err)
	}
	if plan.Root.FSType != "" && plan.Root.FSType != "auto" {
		dev.Type = plan.Root.FSType
	}
	loadFileSystem(c, drivers, dev.Type)
	if err := mountRoot(dev, plan.Root); err != nil {
		return "", fail("mount the root", err)
	}
	init, err := findInit(plan.Root.Init)
	if err != nil {
		return "", fail("find the root's init", err)
	}
	mode := "rw"
	if plan.Root.ReadOnly {
		mode = "ro"
	}
	c.Step("root", "%s (%s) mounted %s", dev.Path, dev.Type, mode)
	path.Root, path.FSType = dev.Path, dev.Type
	return init, nil
}

// loadFileSystem loads the driver of a file system. What is nowhere may be built in.
func loadFileSystem(c *Console, drivers *modules.Loader, kind string) {
	if err := drivers.Load("fs-" + kind); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Printf("warning: %v", err)
	}
}
