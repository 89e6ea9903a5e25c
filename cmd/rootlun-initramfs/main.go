// Command rootlun-initramfs builds an image with which a machine boots from an
// iSCSI disk: rootlun as /init and the kernel modules that it needs.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rootlun/rootlun/initramfs"
)

const usage = `Usage: rootlun-initramfs --output FILE --modules /lib/modules/VERSION [OPTION]…
       rootlun-initramfs host [--credentials FILE]   (--help tells more)

Builds an initramfs that boots from an iSCSI disk. The same input gives the
same bytes.

  --output FILE         where the image goes; replaced as a whole, mode 0600
  --modules DIR         the kernel's modules; plain, .xz, .zst or .gz
  --driver NAME         a module beside the standard ones; may be repeated
  --file SRC[:DST]      a file or folder to put in, at DST (default: SRC's own
                        path); symlinks and modes are kept; may be repeated
  --compress METHOD     zstd (default), gzip or none
  --init FILE           the program that becomes /init (default: rootlun beside
                        this program, else in PATH)
  --no-init             modules and files alone, as an image that goes behind
                        another one (cat OTHER FILE)
  --list                print what goes in: mode, size, path
  --version             print the version
  --help                print this

A kernel for cloud guests gets an image without mlx4, mlx5, mana and bonding,
which is a quarter smaller; add them with --driver where a guest has no other NIC.
Without --modules the image holds none: for a kernel with all drivers built in.
Drivers' firmware is left out; add it with --file. SOURCE_DATE_EPOCH sets the
time of the files in the image (default 0).

Example:
  rootlun-initramfs --output /boot/rootlun.img --modules /lib/modules/$(uname -r) \
      --driver nvme --file /etc/iscsi/initiatorname.iscsi
`

var version string // set at link time: -ldflags "-X main.version=…"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0, 1 when the image could not be built, 2 for
// arguments that are wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "host" {
		return runHost(args[1:], stdout, stderr)
	}
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "rootlun-initramfs: %v\n\n%s", err, usage)
		return 2
	case opts.version:
		fmt.Fprintln(stdout, "rootlun-initramfs", buildVersion())
		return 0
	}
	if err := build(ctx, opts, stdout); err != nil {
		fmt.Fprintf(stderr, "rootlun-initramfs: %v\n", err)
		return 1
	}
	return 0
}

type options struct {
	initramfs.Config
	output        string
	noInit        bool
	list, version bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.output, "output", "", "")
	f.StringVar(&o.Modules, "modules", "", "")
	f.StringVar(&o.Init, "init", "", "")
	f.BoolVar(&o.noInit, "no-init", false, "")
	f.StringVar(&o.Compress, "compress", "zstd", "")
	f.BoolVar(&o.list, "list", false, "")
	f.BoolVar(&o.version, "version", false, "")
	f.Func("driver", "", func(name string) error {
		o.Drivers = append(o.Drivers, name)
		return nil
	})
	f.Func("file", "", func(arg string) error {
		// The source may hold colons; a destination begins with a slash.
		file := initramfs.File{Source: arg}
		if i := strings.LastIndex(arg, ":/"); i >= 0 {
			file = initramfs.File{Source: arg[:i], Destination: arg[i+1:]}
		}
		if file.Source == "" {
			return errors.New("want SRC or SRC:/DST")
		}
		o.Files = append(o.Files, file)
		return nil
	})
	if err := f.Parse(args); err != nil || o.version {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.output == "" && !o.list {
		return o, errors.New("--output is missing")
	}
	if o.noInit && o.Init != "" {
		return o, errors.New("--init and --no-init exclude each other")
	}
	switch o.Compress {
	case "zstd", "gzip", "none":
	default:
		return o, fmt.Errorf("--compress %s: want zstd, gzip or none", o.Compress)
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return o, fmt.Errorf("SOURCE_DATE_EPOCH=%s: want seconds since 1970", epoch)
		}
		o.ModTime = time.Unix(int64(seconds), 0)
	}
	return o, nil
}

func build(ctx context.Context, o options, stdout io.Writer) error {
	if o.Init == "" && !o.noInit {
		var err error
		if o.Init, err = findInit(); err != nil {
			return err
		}
	}
	if o.list {
		if err := initramfs.List(stdout, o.Config); err != nil {
			return err
		}
	}
	if o.output == "" {
		return nil
	}
	return replace(ctx, o.output, func(w io.Writer) error { return initramfs.Build(w, o.Config) })
}

// findInit looks for rootlun beside this program, then in PATH.
func findInit() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "rootlun")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	file, err := exec.LookPath("rootlun")
	if err != nil {
		return "", errors.New("rootlun is neither beside this program nor in PATH: name it with --init")
	}
	return file, nil
}

// replace writes a file as a whole or not at all: under another name in the
// same folder first. Only root reads it, since it may hold credentials.
func replace(ctx context.Context, name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	out := bufio.NewWriterSize(&interruptible{ctx, f}, 1<<20)
	if err := write(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// interruptible fails a write once ctx has ended, so that an interrupted
// program still removes what it began.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i *interruptible) Write(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.w.Write(p)
}

// buildVersion is what the linker was told, else what Go knows of the module.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
