// Package initramfs builds the image with which rootlun boots: the binary as
// /init, the kernel modules that an iSCSI boot needs, and the files asked for.
// The same input gives the same bytes.
//
// The image is a cpio archive in the newc form (the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst), compressed as a
// whole. Modules lie in it uncompressed, with an index of their own in depmod's
// text formats (depmod.d(5), modules.dep(5)), so that busybox or kmod could use
// them as well.
//
// Firmware that drivers load from /lib/firmware is left out: it would be larger
// than all the rest. Few wired NICs need it (bnx2, bnx2x); add it with Files.
package initramfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// Config says what goes into an image.
type Config struct {
	Init     string   // the program that becomes /init; empty: modules and files alone, to stand beside another image
	Modules  string   // /lib/modules/VERSION; empty: none
	Drivers  []string // modules beside those that every image gets
	Files    []File
	Compress string    // zstd, gzip or none
	ModTime  time.Time // of everything in the image; the zero value means 1970
}

// File is a file or folder that goes into the image. Symlinks are kept as they
// are. The destination is absolute; empty means the source's absolute path.
type File struct{ Source, Destination string }

// Build writes the image to w. On an error what was written is of no use.
func Build(w io.Writer, cfg Config) error {
	t, err := collect(cfg)
	if err != nil {
		return err
	}
	z, err := compressor(w, cfg.Compress)
	if err != nil {
		return err
	}
	if err := t.write(z, cfg.ModTime); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

// List writes what Build would put into the image, one line each: the mode in
// octal, the size in bytes before compression, the path.
func List(w io.Writer, cfg Config) error {
	t, err := collect(cfg)
	if err != nil {
		return err
	}
	for _, name := range t.names() {
		r := t[name]
		if _, err := fmt.Fprintf(w, "%06o %8d /%s\n", r.Mode, r.FileSize, name); err != nil {
			return err
		}
	}
	return nil
}

// collect gathers everything that goes into the image.
func collect(cfg Config) (tree, error) {
	t := tree{}
	if cfg.Init != "" {
		if err := t.addInit(cfg.Init); err != nil {
			return nil, err
		}
	}
	if cfg.Modules != "" {
		if err := t.addModules(cfg.Modules, cfg.Drivers); err != nil {
			return nil, fmt.Errorf("modules of %s: %w", cfg.Modules, err)
		}
	} else if len(cfg.Drivers) > 0 {
		return nil, fmt.Errorf("drivers are asked for (%q), and no folder of modules is given", cfg.Drivers)
	}
	for _, f := range cfg.Files {
		if err := t.copy(f); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Source, err)
		}
	}
	return t, nil
}

// addInit adds the program and what it finds itself in.
func (t tree) addInit(file string) error {
	for _, dir := range []string{"dev", "etc", "proc", "run", "sys", "sysroot"} {
		t[dir] = cpio.Directory(dir, 0o755)
	}
	// The kernel opens /dev/console for /init before anything is mounted.
	// Without it (no console= device) Go's runtime opens /dev/null instead.
	t["dev/console"] = cpio.CharDev("dev/console", 0o600, 5, 1)
	t["dev/null"] = cpio.CharDev("dev/null", 0o666, 1, 3)

	program, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the program for /init: %w", err)
	}
	t["init"] = cpio.StaticFile("init", string(program), 0o755)
	return t.add(cpio.Symlink("bin/rootlun", "/init"))
}

// addModules adds the modules of the kernel below dir and their index.
func (t tree) addModules(dir string, drivers []string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	k, err := openKernel(dir)
	if err != nil {
		return err
	}
	mods, err := k.choose(drivers)
	if err != nil {
		return err
	}
	base := "lib/modules/" + filepath.Base(dir) + "/"
	for _, m := range mods {
		if err := t.add(cpio.StaticFile(base+m.path, string(m.data), 0o644)); err != nil {
			return err
		}
	}
	for name, text := range k.index(mods) {
		if err := t.add(cpio.StaticFile(base+name, text, 0o644)); err != nil {
			return err
		}
	}
	return nil
}
