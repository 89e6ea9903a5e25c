package qemutests

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rootlun/rootlun/initramfs"
)

// RootLabel and RootUUID are those of every root's file system.
const (
	RootLabel = "rootlun-root"
	RootUUID  = "0b7a4c1e-5f0d-4f6a-9c58-3d2f6e1a7b90"
)

//go:embed guest/root-init
var rootInit []byte

//go:embed guest/keep-init
var keepInit []byte

// MakeRoot makes dir/root.img: an ext4 file system of 32 MiB with busybox and
// an init that reports, and what else is given. name is what its /etc/root-name
// says.
func (lab *Lab) MakeRoot(ctx context.Context, dir, name string, files ...initramfs.File) (image string, err error) {
	tree, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	if err := lab.fillRoot(ctx, tree, name); err != nil {
		return "", err
	}
	for _, f := range files {
		to := filepath.Join(tree, f.Destination)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), copyFile(to, f.Source)); err != nil {
			return "", err
		}
	}
	image = filepath.Join(dir, "root.img")
	return image, run(ctx, "mkfs.ext4", "-q", "-F", "-L", RootLabel, "-U", RootUUID,
		"-E", "root_owner=0:0", "-d", tree, image, "32m")
}

// MakeDisk makes dir/disk.img: a disk with a GPT whose second partition, named
// RootLabel, holds a root as MakeRoot's, on btrfs.
func (lab *Lab) MakeDisk(ctx context.Context, dir, name string) (image string, err error) {
	tree, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	if err := lab.fillRoot(ctx, tree, name); err != nil {
		return "", err
	}
	const before, size = 9 << 20, 128 << 20 // bytes; btrfs takes no less than 109 MiB
	part := filepath.Join(dir, "part.img")
	defer os.Remove(part)
	image = filepath.Join(dir, "disk.img")
	layout := fmt.Sprintf("label: gpt\nstart=1MiB, size=8MiB\nstart=%d, size=%d, name=%s\n", before/512, size/512, RootLabel)
	table := exec.CommandContext(ctx, "sfdisk", "-q", image)
	table.Stdin = strings.NewReader(layout)
	if err := errors.Join(makeSparse(part, size), makeSparse(image, before+size+1<<20)); err != nil {
		return "", err
	}
	if err := run(ctx, "mkfs.btrfs", "-q", "-L", RootLabel, "-U", RootUUID, "-r", tree, part); err != nil {
		return "", err
	}
	if out, err := table.CombinedOutput(); err != nil {
		return "", fmt.Errorf("sfdisk: %w: %s", err, out)
	}
	return image, run(ctx, "dd", "if="+part, "of="+image, "bs=1M", fmt.Sprint("seek=", before>>20), "conv=notrunc,sparse", "status=none")
}

func makeSparse(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func (lab *Lab) fillRoot(ctx context.Context, tree, name string) error {
	for _, folder := range []string{"bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc"} {
		if err := os.Mkdir(filepath.Join(tree, folder), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(tree, "bin", "busybox"), lab.Busybox); err != nil {
		return err
	}
	applets, err := exec.CommandContext(ctx, lab.Tools, "--list").Output()
	if err != nil {
		return err
	}
	for _, applet := range strings.Fields(string(applets)) {
		if applet == "busybox" {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(tree, "bin", applet)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "etc", "root-name"), []byte(name+"\n"), 0o644); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(tree, "sbin", "init"), rootInit, 0o755),
		os.WriteFile(filepath.Join(tree, "sbin", "keep-init"), keepInit, 0o755))
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
