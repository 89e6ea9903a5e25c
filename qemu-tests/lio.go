package qemutests

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rootlun/rootlun/initramfs"
)

//go:embed guest/lio-init
var lioInit []byte

// LIO is the Linux kernel's target in a machine of its own.
type LIO struct {
	Port    int // on the host's loopback
	Machine *Running
}

// StartLIO starts a machine that serves targets, and returns when they are
// there. Its image is made in dir, where its console.log lies too.
func (lab *Lab) StartLIO(ctx context.Context, dir string, targets ...Target) (*LIO, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	var lines strings.Builder // of guest/lio-init's /targets
	var disks []string
	unit := func(lun int, image string) string {
		n := slices.Index(disks, image)
		if n < 0 {
			n, disks = len(disks), append(disks, image)
		}
		return fmt.Sprintf("%d=vd%c", lun, 'a'+n)
	}
	for _, t := range targets {
		units := unit(t.LUN, t.Image)
		for lun, image := range t.Units {
			units += "," + unit(lun, image)
		}
		fmt.Fprintln(&lines, t.Name, units, cmp.Or(t.Initiator, "-"), cmp.Or(t.Digest, "None"),
			cmp.Or(t.Username, "-"), cmp.Or(t.Secret, "-"), cmp.Or(t.UsernameIn, "-"), cmp.Or(t.SecretIn, "-"))
	}
	list := filepath.Join(dir, "targets")
	if err := os.WriteFile(list, []byte(lines.String()), 0o600); err != nil {
		return nil, err
	}
	image, err := lab.MakeGuest(dir, lioInit, []string{"virtio_pci", "virtio_net", "virtio_blk", "configfs",
		"target_core_mod", "target_core_iblock", "iscsi_target_mod", "sha3_generic", "crc32c_generic"},
		initramfs.File{Source: list, Destination: "/targets"})
	if err != nil {
		return nil, err
	}
	m, err := lab.Start(ctx, Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image, Disks: disks,
		Net: fmt.Sprintf("hostfwd=tcp:127.0.0.1:%d-:3260", port),
	})
	if err != nil {
		return nil, err
	}
	if err := m.WaitFor(ctx, "lio: ready"); err != nil {
		m.Kill()
		return nil, err
	}
	return &LIO{Port: port, Machine: m}, nil
}
