package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pseudo are the file systems that the rest needs; they move to the root later.
var pseudo = [...]struct {
	source, dir, fstype string
	flags               uintptr
	data                string
}{
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
}

// mountPseudo mounts them. One that is there already stays as it is.
func mountPseudo() error {
	var top, st unix.Stat_t
	if err := unix.Stat("/", &top); err != nil {
		return fmt.Errorf("stat /: %w", err)
	}
	for _, p := range pseudo {
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Stat(p.dir, &st); err == nil && st.Dev != top.Dev {
			continue
		}
		if err := unix.Mount(p.source, p.dir, p.fstype, p.flags, p.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", p.fstype, p.dir, err)
		}
	}
	return nil
}

// reopenConsole makes the console of devtmpfs the standard input and outputs, in
// place of the initramfs's own, which is deleted later: programs that ask for
// the name of their terminal get one. A machine without a console stays as it is.
func reopenConsole() {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for std := range 3 {
		_ = unix.Dup3(fd, std, 0)
	}
}

// openKernelLog opens /dev/kmsg for writing, or returns nil.
func openKernelLog() *os.File {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	return f
}

// kernelRelease is what uname -r prints.
func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
