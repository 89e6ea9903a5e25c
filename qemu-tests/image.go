package qemutests

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rootlun/rootlun/initramfs"
)

// MakeImage builds rootlun and, with it, dir/initrd for the lab's kernel.
func (lab *Lab) MakeImage(ctx context.Context, dir string) (image string, err error) {
	binary := filepath.Join(dir, "rootlun")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/rootlun")
	build.Dir = lab.Repo
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	image = filepath.Join(dir, "initrd")
	return image, writeImage(image, initramfs.Config{Init: binary, Modules: lab.Modules, Compress: "zstd"})
}

// guestImage builds dir/guest-initrd with a shell script as /init, busybox, and
// the modules named.
func (lab *Lab) guestImage(dir string, script []byte, modules ...string) (image string, err error) {
	init := filepath.Join(dir, "guest-init")
	if err := os.WriteFile(init, script, 0o755); err != nil {
		return "", err
	}
	image = filepath.Join(dir, "guest-initrd")
	return image, writeImage(image, initramfs.Config{
		Init: init, Modules: lab.Modules, Drivers: modules, Compress: "gzip",
		Files: []initramfs.File{{Source: lab.Busybox, Destination: "/bin/busybox"}, {Source: lab.Busybox, Destination: "/bin/sh"}},
	})
}

func writeImage(name string, cfg initramfs.Config) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(initramfs.Build(f, cfg), f.Close())
}
