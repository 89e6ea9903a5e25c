package keep

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/session"
)

// program is where the program lies that outlives the initramfs: on /run, which
// moves into the root.
const program = "/run/" + handoff.Program

// readyLine is what the keeper says when it is.
const readyLine = "ready\n"

// readyTimeout bounds the wait for the keeper to be ready.
const readyTimeout = time.Minute

// Start copies the running program to /run, if nobody has, and starts it as the
// keeper of what list says, in a session and a mount namespace of its own. The "@"
// that its name begins with keeps systemd from killing it when it ends all
// processes (systemd, ROOT_STORAGE_DAEMONS); by what follows the slash a busybox of
// Go commands, in which the running program may be, knows which one to run. Start
// returns when the keeper is ready; one that is not in time is ended.
func Start(list string) error {
	if err := handoff.LeaveProgram("/run"); err != nil {
		return err
	}
	in, text, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	_ = text.SetWriteDeadline(time.Now().Add(time.Second)) // a pipe holds 64 KiB
	_, err = text.WriteString(list)
	if err = errors.Join(err, text.Close()); err != nil {
		return err
	}
	ready, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	pid, err := fork(in, out)
	out.Close()
	if err != nil {
		return err
	}
	_ = ready.SetReadDeadline(time.Now().Add(readyTimeout))
	said := make([]byte, 512)
	n, err := ready.Read(said)
	if string(said[:n]) == readyLine {
		return nil
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	_, _ = unix.Wait4(pid, nil, 0, nil)
	if err == nil {
		err = errors.New(strings.TrimSpace(string(said[:n])))
	}
	return err
}

// isKeeper says whether the process with that number is one. The number of a
// process's first netlink socket is its own.
func isKeeper(pid string) bool {
	cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	return strings.HasPrefix(string(cmdline), "@rootlun")
}

// fork starts the process, with what its threads inherit: they need not wait for
// memory that is freed by writing to disks (Linux 5.6).
func fork(in, out *os.File) (pid int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0)
	pid, err = syscall.ForkExec(program, []string{"@rootlun/rootlun", "keep", "--own-root"}, &syscall.ProcAttr{
		Dir: "/", Files: []uintptr{in.Fd(), out.Fd(), out.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS}, // Go makes its mounts private
	})
	_ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0)
	return pid, err
}

// Run is the keeper's process. It reads from its standard input what to keep, and
// says readyLine on its standard output when it does; what it has to say from then
// on is the kernel's log's. It returns nil when there is no session left to keep.
func Run() error {
	const maxList = 64 << 10
	list, err := io.ReadAll(io.LimitReader(os.Stdin, maxList))
	if err != nil {
		return err
	}
	log, err := os.OpenFile("/dev/kmsg", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	ignoreSignals()
	leaveUnit()
	k := &keeper{timing: usual, log: log}
	if err := stayInMemory(); err != nil { // it is better than none all the same
		k.Printf("it may be swapped out, or killed for its memory: %v", err)
	}
	if k.in, err = session.Open(func(note string) { k.Printf("%s", note) }); err != nil {
		return err
	}
	port, err := k.in.Port()
	if err != nil {
		return err
	}
	k.other = func() bool {
		netlink, err := os.ReadFile("/proc/net/netlink")
		return err != nil || otherManager(string(netlink), port, isKeeper)
	}
	k.start(context.Background(), string(list))
	if _, err := os.Stdout.WriteString(readyLine); err != nil {
		return err
	}
	for fd := range 3 { // whoever started it may end; what Go's runtime says at worst is not lost
		_ = unix.Dup3(int(log.Fd()), fd, 0)
	}
	k.run.Wait()
	return nil
}

// stayInMemory sees to it that to go on needs no disk, as that may be the one that
// waits for us: what it runs is in memory and stays there, what it allocates
// stays, and the kernel finds others to kill when it has none.
func stayInMemory() error {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	// On fault: what Go's runtime reserves is far more than it ever touches.
	err = errors.Join(err, unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT))
	maps, _ := os.ReadFile("/proc/self/maps")
	row(maps, func(f []string) bool { // START-END rwxp offset device inode path
		from, to, _ := strings.Cut(f[0], "-")
		start, _ := strconv.ParseUint(from, 16, 64)
		end, _ := strconv.ParseUint(to, 16, 64)
		if f[4] != "0" { // the program
			if _, _, errno := unix.Syscall(unix.SYS_MLOCK, uintptr(start), uintptr(end-start), 0); errno != 0 {
				err = errno
			}
		}
		return false
	})
	return err
}

// leaveUnit leaves the unit of an initramfs's systemd that has started us, which
// would take us along when it ends. What has no cgroup has no unit.
func leaveUnit() {
	for _, dir := range [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd"} { // versions 2 and 1
		f, err := os.OpenFile(dir+"/cgroup.procs", os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		_, err = f.WriteString("0")
		f.Close()
		if err == nil {
			return
		}
	}
}

// ignoreSignals has no effect of those by which a system that goes on to another
// stage ends processes. Package os/signal would do it in 7 KB.
func ignoreSignals() {
	action := [8]uintptr{1} // struct sigaction: SIG_IGN, and no flags, restorer or mask
	for _, s := range [...]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}
