package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/fw"
)

// Attach is the part of a boot that another initramfs leaves to this program: all
// up to the root's disk, and what keeps it. That one has mounted /proc and /sys, and
// mounts the root itself, after which it calls HandOver. Drivers that udev loads at
// the same time are no matter.
//
// It returns what to mount as the root: the device of its file system, or what root=
// says where that is made of the disk, as it may be where the image has dm-multipath;
// the disk, where nothing says more. Where the target is not there, and
// rd.rootlun.fallback= names a disk of this machine, it returns that, and has said so.
// errors.Is finds fw.ErrNothing where nothing asks for iSCSI, which is known before any
// driver is loaded but the one that shows the firmware's table.
func Attach(ctx context.Context, c *Console, version string) (root string, err error) {
	drivers, err := newDrivers()
	if err != nil {
		return "", err
	}
	findTable(c, drivers.loader.Load)
	if _, err := fw.Read(sources()); errors.Is(err, fw.ErrNothing) {
		return "", err
	}
	if err := mountPseudo(); err != nil { // u-root's /run is no file system
		return "", &StepError{Step: "set up /dev, /proc, /sys and /run", Err: err}
	}
	if kmsg := openKernelLog(); kmsg != nil {
		defer kmsg.Close()
		c.LogTo(kmsg)
	}
	c.Printf("rootlun %s starts", version)
	if err := runPrograms("/run"); err != nil {
		c.Printf("warning: %v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	drivers.start(ctx, c)
	plan, err := readPlan(c, sources(), drivers.loader.Load, drivers.loader.Coldplugged())
	if err != nil {
		return "", err
	}
	if err := modulesFit(os.DirFS("/"), drivers.release); err != nil {
		return "", &StepError{Step: "load drivers", Err: err}
	}
	path, ways, err := reachDisk(ctx, c, plan, drivers, mayHoldRoot)
	if err != nil && plan.Failure.Fallback != "" {
		sayFallback(c, plan, err)
		writeFallback(c, version, plan, &Path{Root: plan.Failure.Fallback}, "", err)
		return plan.Failure.Fallback, linkRoot(plan.Failure.Fallback)
	} else if err != nil {
		return "", err
	}
	all := ways.finish(pathGrace)
	drivers.stop()
	sayPaths(c, all)
	path.Root = "/dev/" + path.Disk.Name
	root = cmp.Or(plan.Root.Device, path.Root)
	if dev, err := lookForRoot(os.DirFS("/"), plan.Root, path.Disk.Name); err == nil && plan.Root.Other == "" {
		path.Root, path.FSType = dev.Path, dev.Type
		if plan.Root.Device == "" || !mapsPaths(os.DirFS("/")) {
			root = dev.Path
		}
		loadFileSystem(c, drivers.loader, dev.Type) // there may be no modprobe for the kernel to call
	}
	c.Step("handoff", "the initramfs mounts %s", root)
	tellNext(ctx, c, version, plan, path, all, ways, "", exists(os.DirFS("/run"), "systemd/system"))
	return root, linkRoot(root)
}

// runPrograms lets programs run from a folder on which something is mounted, and
// leaves what is in it as it is. initramfs-tools mounts /run without that; the keeper
// runs from there, and what the next system ends with.
func runPrograms(dir string) error {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if err == nil && st.Flags&unix.ST_NOEXEC != 0 {
		err = unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, "")
	}
	if err != nil {
		return fmt.Errorf("no program can run from %s: %w", dir, err)
	}
	return nil
}
