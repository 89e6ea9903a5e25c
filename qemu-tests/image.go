package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rootlun/rootlun/initramfs"
)

// MakeImage builds rootlun as dir/rootlun and, with it, dir/initrd for the
// lab's kernel.
func (lab *Lab) MakeImage(ctx context.Context, dir string) (image string, err error) {
	binary := filepath.Join(dir, "rootlun")
	if err := lab.Compile(ctx, binary, "./cmd/rootlun"); err != nil {
		return "", err
	}
	image = filepath.Join(dir, "initrd")
	return image, writeImage(image, initramfs.Config{Init: binary, Modules: lab.Modules, Compress: "zstd"})
}

// Compile builds a static program from a package of this repository.
func (lab *Lab) Compile(ctx context.Context, program, folder string) error {
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", program, folder)
	build.Dir = lab.Repo
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return nil
}

// MakeGuest builds dir/guest-initrd with a shell script as /init, busybox, the
// modules and the files named.
func (lab *Lab) MakeGuest(dir string, script []byte, modules []string, files ...initramfs.File) (image string, err error) {
	init := filepath.Join(dir, "guest-init")
	if err := os.WriteFile(init, script, 0o755); err != nil {
		return "", err
	}
	image = filepath.Join(dir, "guest-initrd")
	return image, writeImage(image, initramfs.Config{
		Init: init, Modules: lab.Modules, Drivers: modules, Compress: "gzip",
		Files: append(files,
			initramfs.File{Source: lab.Busybox, Destination: "/bin/busybox"},
			initramfs.File{Source: lab.Busybox, Destination: "/bin/sh"}),
	})
}

func writeImage(name string, cfg initramfs.Config) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(initramfs.Build(f, cfg), f.Close())
}
