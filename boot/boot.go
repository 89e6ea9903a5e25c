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

	drivers, err := loadDrivers(ctx, c)
	if err != nil {
		return nil, err
	}
	plan, err = readPlan(c, drivers.loader.Load, drivers.loader.Coldplugged())
	if err != nil {
		return plan, err
	}
	if err := modulesFit(os.DirFS("/"), drivers.release); err != nil {
		return plan, &StepError{Step: "load drivers", Err: err}
	}
	path, ways, err := reachDisk(ctx, c, plan, drivers)
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
	for _, p := range all {
		if p.Session == nil {
			c.Printf("warning: target %s at %s is not there; the next system has to log in", p.Target.Title(), p.Target.Portal())
		} else { // once more, as partitions may have come since
			link(c, p.Session.SID, p.Disk)
		}
	}
	drivers.stop()
	c.Step("handoff", "%s runs as PID 1", init)
	nics := ways.nics.up(path.NIC)
	if err := writeState(c, version, plan, path, all, nics, init); err != nil {
		c.Printf("warning: %v", err)
	}
	if err := handoff.WriteNetwork("/run", handoff.Systemd(sysroot), interfaces(plan, nics)); err != nil {
		c.Printf("warning: the next system's network manager may take the root's NIC down: %v", err)
	}
	if err := handOver(plan, all); err != nil {
		c.Printf("warning: the next system's iscsid may change the root's session: %v", err)
	}
	if !plan.NoKeep {
		startKeeper(ctx, c, all, ways, nics)
	}
	err = switchRoot(c, init, os.Args[1:], initEnvironment(os.Environ()))
	return plan, &StepError{Step: "hand over to " + init, Err: err}
}

// readPlan reads every source of configuration and says what it found. load
// loads a module; settled is closed when all drivers are there; nil: they are.
func readPlan(c *Console, load func(module string) error, settled <-chan struct{}) (*fw.Plan, error) {
	sys := os.DirFS("/")
	if !fw.TargetInACPI(sys) {
		// A BIOS table in low memory is seen through the kernel's driver only,
		// also on a machine that has a table of no use in ACPI.
		if err := load("iscsi_ibft"); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			c.Printf("warning: no firmware table through the kernel: %v", err)
		}
	}
	sources := fw.Sources{FS: sys, Credentials: os.Getenv("CREDENTIALS_DIRECTORY")}
	plan, err := fw.Read(sources)
	if err != nil && len(plan.Targets) == 0 && settled != nil {
		// What an offload adapter is set to is seen when its driver is there.
		select {
		case <-settled:
		case <-timer.After(adapterTimeout):
		}
		plan, err = fw.Read(sources)
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
	if err := drivers.Load("fs-" + dev.Type); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Printf("warning: %v", err)
	}
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
