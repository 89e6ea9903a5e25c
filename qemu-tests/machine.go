package qemutests

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Machine says what a machine is made of.
type Machine struct {
	Dir     string   // where its console.log and its report go
	Kernel  string   // empty: the machine boots from its NIC
	UEFI    string   // a folder of MakeOVMF, from which it boots in place of Kernel
	Initrd  string   // with Kernel
	Cmdline []string // kernel parameters beside those of the consoles
	ACPI    string   // a file with an ACPI table that its firmware publishes
	Net     string   // more settings of the user-mode network, such as "tftp=DIR"; "none": no NIC; "tap=NAME": no user-mode network, but that device
	NIC     string   // QEMU's model of its NIC; empty: virtio-net-pci
	Decoys  []string // models of NICs that come before it and lead nowhere
	Plugs   []Plug   // NICs on scripted networks
	Disks   []string // raw images of virtio disks, which the machine may write
	More    []string // more arguments of QEMU
	Agent   bool     // a system's rootlun-agent takes the report's place: see Running.Agent
	Reboot  bool     // a reboot starts it anew, and does not end it
	Stdin   *os.File // a terminal for its console, or a pipe with what is typed there
	Copy    io.Writer
}

// Plug is a NIC at the end of a cable. The first is nic0 to QEMU.
type Plug struct {
	Cable *Cable
	MAC   string
	NIC   string // QEMU's model, with its properties; empty: virtio-net-pci
	Down  bool   // it has no carrier until SetLink
}

// Running is a machine that has been started.
type Running struct {
	monitor *os.File
	Console *Console
	Agent   *Agent
	dir     string
	cancel  context.CancelFunc
	done    chan struct{} // closed when QEMU has ended
	err     error         // how it ended; to be read after done
}

// boards are the machines by what Lab.Arch names.
var boards = map[string]struct {
	qemu, machine string
	console       string // kernel parameters
	second        string // serial port: /dev/ttyS1, or, as the first has another driver, /dev/ttyS0
}{
	"amd64": {"qemu-system-x86_64", "-machine q35", "console=ttyS0 no_timer_check", "-serial chardev:second"},
	"arm64": {"qemu-system-aarch64", "-machine virt -cpu cortex-a72", "console=ttyAMA0", "-device pci-serial,chardev=second"},
}

// Start starts a machine. It is killed when ctx ends; a machine that reboots
// ends as one that powers off, unless Reboot is set.
func (lab *Lab) Start(ctx context.Context, m Machine) (*Running, error) {
	log, err := os.Create(filepath.Join(m.Dir, "console.log"))
	if err != nil {
		return nil, err
	}
	board := boards[lab.Arch]
	args := append(strings.Fields(board.machine),
		"-accel", lab.Accel, "-m", "768", "-display", "none", "-nodefaults",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")
	if !m.Reboot {
		args = append(args, "-no-reboot")
	}
	nic := cmp.Or(m.NIC, "virtio-net-pci") + ",netdev=net,mac=" + GuestMAC
	switch {
	case m.UEFI != "":
		args = append(args, uefiArgs(m.UEFI)...)
		nic += NoROM
	case m.Kernel != "":
		args = append(args, "-kernel", m.Kernel, "-initrd", m.Initrd, "-append", lab.cmdline(m.Cmdline))
	default:
		nic += ",bootindex=1"
	}
	if m.ACPI != "" {
		args = append(args, "-acpitable", "file="+m.ACPI)
	}
	for i, model := range m.Decoys {
		args = append(args, "-netdev", fmt.Sprintf("user,id=decoy%d,restrict=on", i), "-device", fmt.Sprintf("%s,netdev=decoy%d,mac=52:54:00:00:00:%02x", model, i, i))
	}
	if m.Net != "none" {
		netdev := strings.TrimSuffix("user,id=net,"+m.Net, ",")
		if tap, ok := strings.CutPrefix(m.Net, "tap="); ok {
			netdev = "tap,id=net,script=no,downscript=no,ifname=" + tap
		}
		args = append(args, "-netdev", netdev, "-device", nic)
	}
	for i, disk := range m.Disks {
		args = append(args, "-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,file=%s", i, disk),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	var files []*os.File // QEMU's from descriptor 3 on
	// pair gives QEMU one end of a pair of sockets as a character device.
	pair := func(name string) (ours *os.File, err error) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("socketpair", err), log.Close())
		}
		args = append(args, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", name, 3+len(files)))
		files = append(files, os.NewFile(uintptr(fds[1]), name))
		return os.NewFile(uintptr(fds[0]), name), nil
	}
	var agent, monitor *os.File
	if m.Agent {
		if agent, err = pair("second"); err != nil {
			return nil, err
		}
		defer files[0].Close()
	} else {
		args = append(args, "-chardev", "file,id=second,path="+filepath.Join(m.Dir, "report"))
	}
	args = append(args, strings.Fields(board.second)...)
	if len(m.Plugs) > 0 {
		if monitor, err = pair("monitor"); err != nil {
			return nil, err
		}
		defer files[len(files)-1].Close()
		args = append(args, "-S", "-mon", "monitor")
		go func() { _, _ = io.Copy(io.Discard, monitor) }() // its echo; ends with the machine
	}
	for i, p := range m.Plugs {
		args = append(args, "-netdev", fmt.Sprintf("dgram,id=cable%d,local.type=fd,local.str=%d", i, 3+len(files)),
			"-device", fmt.Sprintf("%s,id=nic%d,netdev=cable%d,mac=%s", cmp.Or(p.NIC, "virtio-net-pci"), i, i, p.MAC))
		files = append(files, p.Cable.machine)
	}
	args = append(args, m.More...)
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, board.qemu, args...)
	cmd.ExtraFiles = files
	r := &Running{Console: newConsole(log, m.Copy), dir: m.Dir, cancel: cancel, done: make(chan struct{}), monitor: monitor}
	if agent != nil {
		r.Agent = &Agent{file: agent, lines: bufio.NewReader(agent)}
	}
	cmd.Stdout, cmd.Stderr = r.Console, r.Console
	if m.Stdin != nil {
		cmd.Stdin = m.Stdin
	}
	fmt.Fprintln(log, cmd)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test that is killed
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		defer close(r.done)
		err := cmd.Wait()
		if ctx.Err() != nil {
			err = fmt.Errorf("the machine did not end by itself: %w", context.Cause(ctx))
		}
		if monitor != nil {
			_ = monitor.Close()
		}
		if agent != nil {
			_ = agent.Close()
		}
		r.err = errors.Join(err, log.Close())
	}()
	for i, p := range m.Plugs {
		if p.Down {
			r.SetLink(i, false)
		}
	}
	if monitor != nil {
		r.Monitor("cont")
	}
	return r, nil
}

// Monitor gives QEMU's monitor a command.
func (r *Running) Monitor(command string) { _, _ = fmt.Fprintln(r.monitor, command) }

// SetLink gives the NIC of a plug its carrier, or takes it away.
func (r *Running) SetLink(plug int, up bool) {
	state := "off"
	if up {
		state = "on"
	}
	r.Monitor(fmt.Sprintf("set_link nic%d %s", plug, state))
}

func (lab *Lab) cmdline(more []string) string {
	return strings.Join(append([]string{boards[lab.Arch].console, "panic=-1"}, more...), " ")
}

// Wait waits for the machine's own end.
func (r *Running) Wait() error {
	<-r.done
	return r.err
}

// Kill ends the machine and waits for its end.
func (r *Running) Kill() {
	r.cancel()
	<-r.done
}

// WaitFor waits until the console has shown text. It fails when ctx or the
// machine ends before.
func (r *Running) WaitFor(ctx context.Context, text string) error {
	return r.Console.wait(ctx, r.done, text)
}

// Report returns what the root's init wrote. It is complete once the machine
// has ended.
func (r *Running) Report() (Report, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, "report"))
	if err != nil {
		return nil, err
	}
	return parseReport(string(text))
}

// Console keeps what a machine prints.
type Console struct {
	out     io.Writer
	mu      sync.Mutex
	text    bytes.Buffer
	old     int           // so much of text is not waited for any more
	changed chan struct{} // closed and replaced at each write
}

func newConsole(writers ...io.Writer) *Console {
	var out []io.Writer
	for _, w := range writers {
		if w != nil {
			out = append(out, w)
		}
	}
	return &Console{out: io.MultiWriter(out...), changed: make(chan struct{})}
}

// Write implements io.Writer for QEMU's output.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	close(c.changed)
	c.changed = make(chan struct{})
	return c.out.Write(p)
}

// String returns all that was printed so far.
func (c *Console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// next is closed when something more is printed.
func (c *Console) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Again makes what was printed so far count no more for a wait.
func (c *Console) Again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old = c.text.Len()
}

func (c *Console) has(text string) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.text.Bytes()[c.old:], []byte(text)), c.changed
}

// wait waits for text, until what prints is done.
func (c *Console) wait(ctx context.Context, done <-chan struct{}, text string) error {
	for {
		seen, changed := c.has(text)
		if seen {
			return nil
		}
		select {
		case <-changed:
		case <-done:
			if seen, _ := c.has(text); seen {
				return nil
			}
			return fmt.Errorf("it ended before its console showed %q", text)
		case <-ctx.Done():
			return fmt.Errorf("the console did not show %q: %w", text, ctx.Err())
		}
	}
}
