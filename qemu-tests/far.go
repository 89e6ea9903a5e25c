package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Far is the far side of scripted networks: a network namespace of the host in
// which real servers run (dnsmasq, tgtd), with one tap interface a segment.
type Far struct {
	Segments []*Segment
	holder   *exec.Cmd // the process that keeps the namespace
	socket   *os.File  // its other end ends with it
	userNS   bool
}

const farEnv = "ROOTLUN_FAR_SIDE"

// FarMain is what a process that StartFar has started does: it must be called
// first thing in main, or in TestMain. Elsewhere it returns at once.
func FarMain() {
	names := os.Getenv(farEnv)
	if names == "" {
		return
	}
	if err := sendTaps(strings.Split(names, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = unix.Read(3, make([]byte, 1)) // until StartFar's process ends it
	os.Exit(0)
}

// sendTaps makes the interfaces and sends their files over descriptor 3.
func sendTaps(names []string) error {
	var fds []int
	for _, name := range names {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return fmt.Errorf("tap %s: %w", name, err)
		}
		fds = append(fds, fd)
	}
	return unix.Sendmsg(3, []byte{0}, unix.UnixRights(fds...), nil, 0)
}

// StartFar makes a namespace with one segment for each list of addresses
// (CIDR), named net0, net1, …. It ends with ctx, or by Close.
func StartFar(ctx context.Context, addresses ...[]string) (*Far, error) {
	far, err := startFar(ctx, len(addresses), unix.CLONE_NEWNET)
	if errors.Is(err, unix.EPERM) {
		far, err = startFar(ctx, len(addresses), unix.CLONE_NEWNET|unix.CLONE_NEWUSER)
	}
	if err != nil {
		return nil, fmt.Errorf("a network namespace with %d taps: %w", len(addresses), err)
	}
	commands := [][]string{{"link", "set", "lo", "up"}}
	for i, list := range addresses {
		name := far.Segments[i].Name
		for _, a := range list {
			commands = append(commands, []string{"address", "add", a, "dev", name, "nodad"})
			if !strings.Contains(a, ":") {
				commands[len(commands)-1] = commands[len(commands)-1][:5]
			}
		}
		commands = append(commands, []string{"link", "set", name, "up"})
	}
	for _, args := range commands {
		if out, err := far.Command(ctx, "ip", args...).CombinedOutput(); err != nil {
			far.Close()
			return nil, fmt.Errorf("ip %q: %w: %s", args, err, out)
		}
	}
	for _, s := range far.Segments {
		go s.readTap() // ends with Close
	}
	return far, nil
}

func startFar(ctx context.Context, n int, flags uintptr) (*Far, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	far := &Far{socket: os.NewFile(uintptr(fds[0]), "far"), userNS: flags&unix.CLONE_NEWUSER != 0}
	theirs := os.NewFile(uintptr(fds[1]), "far")
	var names []string
	for i := range n {
		names = append(names, "net"+strconv.Itoa(i))
	}
	far.holder = exec.CommandContext(ctx, "/proc/self/exe")
	far.holder.Env = append(os.Environ(), farEnv+"="+strings.Join(names, ","))
	far.holder.ExtraFiles = []*os.File{theirs}
	far.holder.Stderr = os.Stderr
	far.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if far.userNS {
		far.holder.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		far.holder.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = far.holder.Start()
	_ = theirs.Close()
	if err != nil {
		_ = far.socket.Close()
		return nil, err
	}
	buf, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4*n))
	_, got, _, _, err := unix.Recvmsg(fds[0], buf, rights, unix.MSG_CMSG_CLOEXEC)
	var messages []unix.SocketControlMessage
	if err == nil {
		messages, err = unix.ParseSocketControlMessage(rights[:got])
	}
	if err == nil && len(messages) != 1 {
		err = errors.New("its process made no taps")
	}
	var taps []int
	if err == nil {
		taps, err = unix.ParseUnixRights(&messages[0])
	}
	if err != nil || len(taps) != n {
		far.Close()
		return nil, errors.Join(err, fmt.Errorf("%d taps", len(taps)))
	}
	for i, fd := range taps {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, err
		}
		far.Segments = append(far.Segments, &Segment{Name: names[i], tap: os.NewFile(uintptr(fd), names[i])})
	}
	return far, nil
}

// Command is exec.CommandContext in the namespace.
func (f *Far) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(f.holder.Process.Pid), "--net"}
	if f.userNS {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return exec.CommandContext(ctx, "nsenter", append(append(enter, "--", name), args...)...)
}

// DNSMasq starts a dnsmasq in the namespace with these options more than what
// makes it quiet and alone; its log is dir/dnsmasq.log. It ends with ctx or by
// the function that it returns.
func (f *Far) DNSMasq(ctx context.Context, dir string, options ...string) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	log, err := os.Create(filepath.Join(dir, "dnsmasq.log"))
	if err != nil {
		cancel()
		return nil, err
	}
	defer log.Close()
	if !slices.Contains(options, "--port=53") { // it can be given once
		options = append([]string{"--port=0"}, options...)
	}
	cmd := f.Command(ctx, "dnsmasq", append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--pid-file=", "--no-resolv", "--no-hosts", "--no-ping",
		"--leasefile-ro", "--log-facility=-", "--log-dhcp", "--bind-dynamic",
	}, options...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan struct{})
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(done)
		_ = cmd.Wait() // it is always killed
	}()
	return func() { cancel(); <-done }, nil
}

// TGT serves targets on port 3260 of all the namespace's addresses.
func (f *Far) TGT(ctx context.Context, dir string, targets ...Target) (*TGT, error) {
	return startTGT(ctx, f.Command, 3260, "portal=0.0.0.0:3260,portal=[::]:3260", dir, targets...)
}

// Close ends the namespace. What runs in it ends by the contexts it was given.
func (f *Far) Close() {
	_ = f.socket.Close()
	for _, s := range f.Segments {
		_ = s.tap.Close()
	}
	_ = f.holder.Process.Kill()
	_ = f.holder.Wait()
}
