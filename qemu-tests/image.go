package qemutests

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/rootlun/rootlun/initramfs"
)

// MakeImage builds rootlun as dir/rootlun, as `make build` does, and with it
// dir/initrd for the lab's kernel.
func (lab *Lab) MakeImage(ctx context.Context, dir string) (image string, err error) {
	if err := run(ctx, "env", "GOARCH="+lab.Arch, filepath.Join(lab.Repo, "scripts", "build"), dir); err != nil {
		return "", err
	}
	image = filepath.Join(dir, "initrd")
	return image, writeImage(image, initramfs.Config{Init: filepath.Join(dir, "rootlun"), Modules: lab.Modules, Compress: "zstd"})
}

// Compile builds a static program of the tests' own from a folder of this
// repository.
func (lab *Lab) Compile(ctx context.Context, program, folder string) error {
	return run(ctx, "env", "-C", lab.Repo, "CGO_ENABLED=0", "GOARCH="+lab.Arch, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", program, folder)
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
