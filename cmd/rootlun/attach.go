package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/fw"
)

const attachUsage = `usage: rootlun attach

Does in another initramfs what a boot does, but for the mount of the root: reads
this machine's plan, brings up the NICs, logs in to all targets, waits for the
root's disk, starts what keeps the sessions, and writes below /run what the next
system needs. It says what it does on the standard error, and prints what to mount:
the device of the root's file system, or what root= says where that is made of the
disk (LVM, LUKS). Then the initramfs mounts it, and calls rootlun handoff.

  root=$(rootlun attach) && mount -o ro "$root" /sysroot && rootlun handoff /sysroot

The exit code is 0 when the disk is there, 1 when it can't be, 21 when nothing asks
for iSCSI, of which nothing is said.

`

// runAttach is rootlun attach.
func runAttach(args []string, stdout, stderr io.Writer) int {
	cmd := command{name: "attach", usage: attachUsage}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	root, err := boot.Attach(context.Background(), boot.NewConsole(stderr, start), version)
	switch {
	case errors.Is(err, fw.ErrNothing): // as at every boot of most machines: nothing to tell
		return exitNothing
	case err != nil:
		boot.Explain(stderr, err, "what this initramfs does without its root")
		return 1
	}
	fmt.Fprintln(stdout, root)
	return 0
}

const handoffUsage = `usage: rootlun handoff DIR

Prepares the system whose root is mounted on DIR to take over what rootlun attach
has left below /run: the node records and the initiator name are shown to its
open-iscsi, by mounts that go along when DIR becomes the root, and a systemd there
gets its units. Nothing is written to a root that is mounted read-only.

  rootlun handoff /sysroot

The exit code is 0 when all of it is done, 1 when not, 21 when nothing was attached.

`

// runHandoff is rootlun handoff.
func runHandoff(args []string, stdout, stderr io.Writer) int {
	root := ""
	cmd := command{name: "handoff", usage: handoffUsage, arg: func(dir string) error {
		if root != "" {
			return errors.New("there is one DIR")
		}
		root = dir
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a folder", dir)
		}
		return err
	}}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	if root == "" {
		return cmd.fail(stderr, 2, errors.New("DIR is missing"))
	}
	err := boot.HandOver(root)
	switch {
	case errors.Is(err, boot.ErrNotAttached):
		return exitNothing
	case err != nil:
		return cmd.fail(stderr, 1, err)
	}
	return 0
}
