// Package qemutests boots whole machines in QEMU: a kernel, an image with
// rootlun, a software target, and a small root file system whose init writes a
// report of what it finds itself booted from. The harness is these files; the
// tests, the demo and the bench stand on it.
//
// It reads the packages that scripts/setup unpacked below the cache folder
// (ROOTLUN_CACHE, or rootlun in the user's cache folder) and writes only below
// the folders it is given. Every guest has QEMU's user-mode network: it is
// 10.0.2.15, and the host's loopback is 10.0.2.2 to it.
package qemutests

import (
	"context"
	"errors"
	"fmt"
	"github.com/rootlun/rootlun/qemu-tests/cache"
	"os/exec"
	"path/filepath"
	"runtime"
)

// The addresses of QEMU's user-mode network.
const (
	GuestAddress = "10.0.2.15"
	HostAddress  = "10.0.2.2"
	GuestMAC     = "52:54:00:12:34:56"
)

// Lab is what all machines share.
type Lab struct {
	Arch    string // what they are, as Go names it: amd64 or arm64
	Kernel  string // the kernel's image
	Modules string // its /lib/modules/VERSION
	Busybox string // a static busybox for them
	Tools   string // the same for this machine
	Accel   string // QEMU's accelerator: kvm or tcg
	Repo    string // the root of this repository
	Cache   string // the folder below which scripts/setup unpacks
	Peer    string // the folder that scripts/peer makes for the bench
}

// NewLab finds what scripts/setup left, and probes the accelerator. The error
// is ErrTools when something is not installed.
func NewLab(ctx context.Context) (*Lab, error) {
	dir, err := cache.Dir()
	if err != nil {
		return nil, err
	}
	busybox := filepath.Join(dir, "busybox-static", "bin", "busybox")
	lab := &Lab{Arch: "amd64", Cache: dir, Busybox: busybox, Tools: busybox, Peer: filepath.Join(dir, "peer")}
	if lab.Kernel, lab.Modules, err = findKernel(dir, CloudKernel); err != nil {
		return nil, err
	}
	for _, tool := range []string{lab.Busybox, "qemu-system-x86_64", "tgtd", "tgtadm", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTools, err)
		}
	}
	_, file, _, _ := runtime.Caller(0)
	lab.Repo = filepath.Dir(filepath.Dir(file))
	lab.Accel = probeAccel(ctx, lab.Kernel)
	return lab, nil
}

// Debian's packages of kernels that scripts/setup unpacks; what cloud guests
// need is built into the one, and nearly all are modules of the other.
const (
	CloudKernel = "linux-image-cloud-amd64"
	FullKernel  = "linux-image-amd64"
	ARM64Kernel = "linux-image-cloud-arm64"
)

// With returns the lab with another kernel, and with machines for it.
func (lab *Lab) With(kernel string) (*Lab, error) {
	dir, err := cache.Dir()
	if err != nil {
		return nil, err
	}
	other := *lab
	if other.Kernel, other.Modules, err = findKernel(dir, kernel); err != nil {
		return nil, err
	}
	if kernel == ARM64Kernel {
		other.Arch, other.Accel = "arm64", "tcg"
		other.Busybox = filepath.Join(dir, "busybox-static-arm64", "bin", "busybox")
	}
	return &other, nil
}

func findKernel(dir, name string) (kernel, modules string, err error) {
	if kernel, err = only(filepath.Join(dir, name, "boot", "vmlinuz-*")); err != nil {
		return "", "", err
	}
	modules, err = only(filepath.Join(dir, name, "lib", "modules", "*"))
	return kernel, modules, err
}

// ErrTools says that the machine has not been set up.
var ErrTools = errors.New("run `scripts/setup test` first")

// only returns the one file that pattern matches.
func only(pattern string) (string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("%w: %d files match %s, not one", ErrTools, len(files), pattern)
	}
	return files[0], nil
}

// run runs a program to its end; its output is part of the error.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
