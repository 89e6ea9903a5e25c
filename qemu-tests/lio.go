package qemutests

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed guest/lio-init
var lioInit []byte

// LIO is the Linux kernel's target in a machine of its own.
type LIO struct {
	Port    int // on the host's loopback
	Machine *Running
}

// StartLIO starts a machine that serves one target, and returns when the
// target is there. Its image is made in dir, where its console.log lies too.
func (lab *Lab) StartLIO(ctx context.Context, dir string, t Target) (*LIO, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	image, err := lab.MakeGuest(dir, lioInit, []string{"virtio_pci", "virtio_net", "virtio_blk", "configfs",
		"target_core_mod", "target_core_iblock", "iscsi_target_mod", "sha3_generic", "crc32c_generic"})
	if err != nil {
		return nil, err
	}
	words := []string{"lio.name=" + t.Name, fmt.Sprint("lio.lun=", t.LUN)}
	if t.Username != "" {
		words = append(words, "lio.user="+t.Username, "lio.secret="+t.Secret)
	}
	if t.UsernameIn != "" {
		words = append(words, "lio.user_in="+t.UsernameIn, "lio.secret_in="+t.SecretIn)
	}
	if t.Initiator != "" {
		words = append(words, "lio.initiator="+t.Initiator)
	}
	if t.Digest != "" {
		words = append(words, "lio.digest="+t.Digest)
	}
	m, err := lab.Start(ctx, Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image, Cmdline: words, Disks: []string{t.Image},
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
