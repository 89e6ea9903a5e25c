package boot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/fw"
)

// sysroot is where the root is mounted before it becomes /.
const sysroot = "/sysroot"

// usualInits are looked for when init= names none: the kernel's list
// (init/main.c) and systemd's own places.
var usualInits = [...]string{"/sbin/init", "/etc/init", "/bin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/sh"}

// mountFlags are the options of rootflags= that mount(2) takes as flags; the
// rest goes to the file system.
var mountFlags = map[string]struct{ set, clear uintptr }{
	"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
	"noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME}, "lazytime": {set: unix.MS_LAZYTIME},
	"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS}, "dirsync": {set: unix.MS_DIRSYNC},
	"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"defaults": {}, "_netdev": {},
}

// mountRoot mounts dev on /sysroot with the options of root.
func mountRoot(dev device, root fw.Root) error {
	flags, data := splitFlags(root)
	if err := os.MkdirAll(sysroot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dev.Path, sysroot, dev.Type, flags, data); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("the kernel does not know the file system %s: is its module in the image (rootlun-initramfs --driver %s)?", dev.Type, dev.Type)
		}
		return fmt.Errorf("mount %s as %s with options %q: %w", dev.Path, dev.Type, data, err)
	}
	return nil
}

// splitFlags turns rootflags=, ro and rw into the arguments of mount(2).
func splitFlags(root fw.Root) (flags uintptr, data string) {
	if root.ReadOnly {
		flags = unix.MS_RDONLY
	}
	var rest []string
	for _, o := range strings.Split(root.Flags, ",") {
		if f, ok := mountFlags[o]; ok {
			flags = flags&^f.clear | f.set
		} else if o != "" {
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ",")
}

// findInit returns the program in the mounted root that is to run. Links are
// followed as they will be after the switch.
func findInit(want string) (string, error) {
	list := usualInits[:]
	if want != "" {
		list = []string{want}
	}
	dir, err := unix.Open(sysroot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open the root: %w", err)
	}
	defer unix.Close(dir)
	for _, path := range list {
		fd, err := unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		if err != nil {
			continue
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("the root has no init: %s not found or not executable", strings.Join(list, ", "))
}

// switchRoot moves the pseudo file systems into the root, deletes the
// initramfs to give its memory back, makes the root / and becomes init. It
// returns only when it fails.
func switchRoot(c *Console, init string, args, env []string) error {
	var old unix.Statfs_t
	if err := unix.Statfs("/", &old); err != nil {
		return fmt.Errorf("statfs /: %w", err)
	}
	if old.Type != unix.RAMFS_MAGIC && old.Type != unix.TMPFS_MAGIC {
		return errors.New("/ is not an initramfs: nothing is deleted, nothing is switched")
	}
	if err := movePseudo(c); err != nil {
		return err
	}
	if err := deleteInitramfs(); err != nil {
		return err
	}
	if err := enterRoot(); err != nil {
		return err
	}
	return execError(init, unix.Exec(init, append([]string{init}, args...), env))
}

// LeaveInitramfs gives the process, whose mount namespace is its own, a root of
// the pseudo file systems alone, so that it holds nothing of the root. In the
// initramfs they could not stay: as its folders are deleted the kernel takes away
// what is mounted there, in all namespaces.
func LeaveInitramfs(c *Console) error {
	err := os.MkdirAll(sysroot, 0o755)
	if err == nil {
		err = unix.Unmount(sysroot, unix.MNT_DETACH)
	}
	if err != nil && err != unix.EINVAL { // nothing is mounted there yet
		return fmt.Errorf("unmount %s: %w", sysroot, err)
	}
	if err := unix.Mount("tmpfs", sysroot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", sysroot, err)
	}
	if err := movePseudo(c); err != nil {
		return err
	}
	return enterRoot()
}

// movePseudo moves the pseudo file systems to /sysroot.
func movePseudo(c *Console) error {
	for i := len(pseudo) - 1; i >= 0; i-- { // /run first, /dev last: the console stays
		dir := pseudo[i].dir
		_ = unix.Mkdir(sysroot+dir, 0o755) // it is there, but in a root made by hand; the mount tells
		if err := unix.Mount(dir, sysroot+dir, "", unix.MS_MOVE, ""); err != nil {
			c.Printf("warning: %s is not in the new root: %v", dir, err)
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", dir, err)
			}
		}
	}
	return nil
}

// enterRoot makes /sysroot /.
func enterRoot() error {
	if err := unix.Chdir(sysroot); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter /: %w", err)
	}
	return nil
}

// execError adds what to check: that init is there was seen before.
func execError(init string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOENT):
		hint = "; check that its interpreter or dynamic loader is in the root"
	case errors.Is(err, unix.ENOEXEC):
		hint = "; check that the root is for this machine's architecture"
	}
	return fmt.Errorf("run %s: %w%s", init, err, hint)
}

// deleteInitramfs deletes what lies on the same file system as /, and nothing
// below a mount. What can't be deleted costs memory, not the boot.
func deleteInitramfs() error {
	var top unix.Stat_t
	if err := unix.Lstat("/", &top); err != nil {
		return fmt.Errorf("stat /: %w", err)
	}
	deleteIn("", top.Dev)
	return nil
}

// deleteIn deletes what is in a folder and on that device.
func deleteIn(dir string, dev uint64) {
	d, err := os.Open(dir + "/")
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(-1)
	d.Close()
	for _, name := range names {
		path := dir + "/" + name
		var st unix.Stat_t
		switch err := unix.Lstat(path, &st); {
		case err != nil || st.Dev != dev:
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			deleteIn(path, dev)
			unix.Rmdir(path)
		default:
			unix.Unlink(path)
		}
	}
}

// initEnvironment is what the real init starts with: HOME and TERM at least,
// and what the kernel passes on from its command line (init/main.c,
// unknown_bootoption), without the words that were meant for us: netroot= can
// hold a secret, and every process would inherit it.
func initEnvironment(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		key, _, _ := strings.Cut(e, "=")
		return key == "netroot" || key == "ip" || strings.HasPrefix(key, "iscsi")
	})
	for _, d := range [...]string{"HOME=/", "TERM=linux"} {
		key, _, _ := strings.Cut(d, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") }) {
			env = append(env, d)
		}
	}
	return env
}
