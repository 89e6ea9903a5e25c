package boot

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/timer"
	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/kernel"
)

// The bounds of the end of a machine: of the last writing to its disks, which a
// target that is away holds up, and of the logout.
const (
	unmountLimit = 90 * time.Second
	logoutLimit  = 20 * time.Second
)

// oldRoot is where systemd-shutdown leaves the system that ends (systemd,
// docs/INITRD_INTERFACE.md).
const oldRoot = "/oldroot"

// Shutdown ends the machine as action says: reboot, poweroff, halt or kexec. It
// runs as PID 1 below /run/initramfs, where systemd-shutdown returns to when it
// has ended all processes. It unmounts what is left, waits until all is written,
// ends those who repair sessions, logs the sessions out, and does not return.
// Each part has its bound: a target that is away does not hold the machine.
func Shutdown(c *Console, action string) {
	_ = unix.Mount("proc", "/proc", "proc", 0, "") // usually there
	if !within(unmountLimit, func() { unmountAll(c); unix.Sync() }) {
		c.Printf("warning: not all was written in %.0f s; check the target, and the file system at the next boot", unmountLimit.Seconds())
	}
	for _, pid := range keepers(os.DirFS("/")) { // else it would log in again
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if !within(logoutLimit, func() { logOutAll(c) }) {
		c.Printf("warning: no logout in %.0f s; the target sees the connection end", logoutLimit.Seconds())
	}
	c.Printf("%s", action)
	if action == "kexec" {
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC) // returns when no kernel is loaded
	}
	if action != "poweroff" && action != "halt" {
		action = "reboot"
	}
	restart(action)
}

// within waits for f, at most for d: what hangs in the kernel is left behind.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { f(); close(done) }() // ends at the latest with the machine
	select {
	case <-done:
		return true
	case <-timer.After(d):
		return false
	}
}

// unmountAll unmounts the old root and what is mounted below it. What is still
// used by somebody becomes read-only.
func unmountAll(c *Console) {
	const last = 8 // what lies on what is not in the order of the lines
	for round := 0; round <= last; round++ {
		text, _ := os.ReadFile("/proc/self/mountinfo")
		for _, m := range mounts(string(text)) {
			if m.dir != oldRoot && !strings.HasPrefix(m.dir, oldRoot+"/") {
				continue
			}
			err := unix.Unmount(m.dir, 0)
			if err == unix.EBUSY && !strings.HasPrefix(m.source, "/") && m.dir != oldRoot { // no disk's: only out of the way
				err = unix.Unmount(m.dir, unix.MNT_DETACH)
			}
			if err != nil && round == last {
				err = unix.Mount("", m.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
				c.Printf("warning: %s is still in use; is it read-only: %t", m.dir, err == nil)
			}
		}
	}
}

// mount is a line of mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	dir, source string
}

// mounts reads a mountinfo. Of what the kernel writes as \NNN blanks alone are
// undone.
func mounts(text string) (list []mount) {
	for _, line := range strings.Split(text, "\n") {
		before, after, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) > 4 && len(g) > 1 {
			list = append(list, mount{strings.ReplaceAll(f[4], `\040`, " "), g[1]})
		}
	}
	return list
}

// logOutAll logs all sessions of iscsi_tcp out. An adapter's own stay.
func logOutAll(c *Console) {
	ctx, cancel := context.WithTimeout(context.Background(), logoutLimit)
	defer cancel()
	const sys = kernel.Sysfs("/sys")
	sids, _ := sys.Sessions()
	if len(sids) == 0 {
		return
	}
	initiator, err := openInitiator(c)
	if err != nil {
		c.Printf("warning: %v", err)
		return
	}
	for _, sid := range sids {
		s, err := initiator.Attach(sid, session.Config{})
		if err == nil {
			err = s.Logout(ctx)
		}
		if err != nil {
			c.Printf("warning: session %d: %v", sid, err)
			continue
		}
		c.Printf("session %d is logged out", sid)
	}
}

// portalOf is where a session logs in, as configured.
func portalOf(sys kernel.Sysfs, sid uint32) netip.AddrPort {
	address, _ := sys.ConnAttr(sid, 0, "persistent_address")
	port, _ := sys.ConnAttr(sid, 0, "persistent_port")
	a, _ := netip.ParseAddr(address)
	n, _ := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(n))
}

// keepers returns the processes that run as rootlun keep.
func keepers(fsys fs.FS) []int {
	return processes(fsys, func(cmdline string) bool { return strings.HasPrefix(cmdline, "@rootlun") })
}

// processes returns those whose command line is as wanted; its arguments end
// with NULs.
func processes(fsys fs.FS, is func(cmdline string) bool) (pids []int) {
	entries, _ := stable.ReadDir(fsys, "proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if cmdline, err := fs.ReadFile(fsys, "proc/"+e.Name()+"/cmdline"); err == nil && is(string(cmdline)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
