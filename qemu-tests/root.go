package qemutests

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// RootLabel and RootUUID are those of every root's file system.
const (
	RootLabel = "rootlun-root"
	RootUUID  = "0b7a4c1e-5f0d-4f6a-9c58-3d2f6e1a7b90"
)

//go:embed guest/root-init
var rootInit []byte

// MakeRoot makes dir/root.img: an ext4 file system of 32 MiB with busybox and
// an init that reports. name is what its /etc/root-name says.
func (lab *Lab) MakeRoot(ctx context.Context, dir, name string) (image string, err error) {
	tree, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	if err := lab.fillRoot(ctx, tree, name); err != nil {
		return "", err
	}
	image = filepath.Join(dir, "root.img")
	return image, run(ctx, "mkfs.ext4", "-q", "-F", "-L", RootLabel, "-U", RootUUID,
		"-E", "root_owner=0:0", "-d", tree, image, "32m")
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
	applets, err := exec.CommandContext(ctx, lab.Busybox, "--list").Output()
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
	return os.WriteFile(filepath.Join(tree, "sbin", "init"), rootInit, 0o755)
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
