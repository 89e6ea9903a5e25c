package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The tests below run against the kernel: each in a process of its own with a
// fresh network namespace, in which near0 is the NIC to bring up. It is one end
// of a veth pair, whose other end, far0, is in a second namespace.

const insideEnv = "ROOTLUN_TEST_NAMESPACE"

// inNamespace runs body in a fresh network namespace.
func inNamespace(t *testing.T, body func(t *testing.T, w *world)) {
	if os.Getenv(insideEnv) == t.Name() {
		body(t, newWorld(t))
		return
	}
	out, err := runInside(t, unix.CLONE_NEWNET)
	if refused(err) {
		out, err = runInside(t, unix.CLONE_NEWNET|unix.CLONE_NEWUSER)
	}
	if refused(err) {
		t.Skipf("this system permits no network namespaces (neither as this user nor in a user namespace): %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

func refused(err error) bool {
	for _, errno := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.ENOSYS, unix.EINVAL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func runInside(t *testing.T, flags uintptr) ([]byte, error) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	return cmd.CombinedOutput()
}

// world is what a test has: a NIC near0, and the other end of its cable.
type world struct {
	t    *testing.T
	host host
	far  *namespace
	log  *progress
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, host: host{sysfs: t.TempDir(), procfs: "/proc", retransmit: 40 * time.Millisecond, solicit: time.Second}, far: newNamespace(t), log: &progress{t: t}}
	w.cable("near0", "far0", "52:54:00:00:00:01")
	w.hardware("near0", "virtio_net")
	w.farUp()
	return w
}

// cable makes a veth pair; the far end goes to the far namespace.
func (w *world) cable(near, far, mac string) {
	w.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = near
	attrs.HardwareAddr = must(net.ParseMAC(mac))
	w.check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far}))
	w.check(netlink.LinkSetNsFd(must(netlink.LinkByName(far)), w.far.fd))
}

// hardware makes sysfs say that an interface is hardware.
func (w *world) hardware(name, driver string) { fakeDevice(w.t, w.host.sysfs, name, driver) }

func fakeDevice(t *testing.T, sysfs, name, driver string) {
	dir := filepath.Join(sysfs, "class/net", name, "device")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../../bus/drivers/"+driver, filepath.Join(dir, "driver")); err != nil {
		t.Fatal(err)
	}
}

// farUp brings the far end up with 10.9.0.1/24 and fd09::1/64. Its link-local
// address, from which a router speaks, is fe80::1.
func (w *world) farUp() {
	w.t.Helper()
	w.far.do(func() {
		l := must(netlink.LinkByName("far0"))
		w.check(os.WriteFile("/proc/sys/net/ipv6/conf/far0/addr_gen_mode", []byte("1"), 0)) // none
		w.check(netlink.LinkSetUp(l))
		for _, a := range []string{"fe80::1/64", "10.9.0.1/24", "fd09::1/64"} {
			addr := must(netlink.ParseAddr(a))
			addr.Flags = unix.IFA_F_NODAD
			w.check(netlink.AddrReplace(l, addr))
		}
	})
}

func (w *world) farDown() {
	w.t.Helper()
	w.far.do(func() { w.check(netlink.LinkSetDown(must(netlink.LinkByName("far0")))) })
}

// serve hears what comes to a socket of the far side, until the test is over.
func (w *world) serve(conn net.PacketConn, hear func(b []byte, from net.Addr)) {
	served := make(chan struct{})
	w.t.Cleanup(func() { conn.Close(); <-served })
	go func() { // ends with conn
		defer close(served)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n > 0 {
				hear(buf[:n], from)
			}
		}
	}()
}

// send answers; the test may be over.
func (w *world) send(conn net.PacketConn, b []byte, to net.Addr) {
	if _, err := conn.WriteTo(b, to); err != nil && !errors.Is(err, net.ErrClosed) {
		w.t.Errorf("answer to %v: %v", to, err)
	}
}

func (w *world) up(cfg Config) (*Result, error) {
	if cfg.LinkTimeout == 0 {
		cfg.LinkTimeout = 20 * time.Second
	}
	if cfg.DHCPTimeout == 0 {
		cfg.DHCPTimeout = 20 * time.Second
	}
	return w.host.up(context.Background(), cfg, w.log)
}

// mustUp is up where it has to succeed.
func (w *world) mustUp(cfg Config) *Result {
	w.t.Helper()
	res, err := w.up(cfg)
	w.check(err)
	return res
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// state is what an attempt that fails must leave as it was.
type state struct {
	Up        bool
	MTU       int
	Addresses []string
	Routes    []string
}

func (w *world) state() state {
	w.t.Helper()
	l := must(netlink.LinkByName("near0"))
	s := state{Up: l.Attrs().Flags&net.FlagUp != 0, MTU: l.Attrs().MTU}
	for _, a := range must(netlink.AddrList(l, netlink.FAMILY_ALL)) {
		if !a.IP.IsLinkLocalUnicast() || a.IP.To4() != nil {
			s.Addresses = append(s.Addresses, a.IPNet.String())
		}
	}
	for _, r := range must(netlink.RouteList(l, netlink.FAMILY_ALL)) {
		if r.Dst != nil && r.Dst.IP.IsLinkLocalUnicast() && r.Dst.IP.To4() == nil {
			continue // the kernel's own
		}
		to := "default"
		if r.Dst != nil && r.Dst.String() != "0.0.0.0/0" && r.Dst.String() != "::/0" {
			to = r.Dst.String()
		}
		if r.Gw != nil {
			to += " via " + r.Gw.String()
		}
		s.Routes = append(s.Routes, to)
	}
	return s
}

// namespace is a network namespace: that of one thread, which runs what do is given.
type namespace struct {
	fd   int
	work chan func()
}

func newNamespace(t *testing.T) *namespace {
	n := &namespace{work: make(chan func())}
	ready := make(chan error)
	go func() { // ends with the process
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		ready <- err
		for f := range n.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	n.do(func() { must(0, netlink.LinkSetUp(must(netlink.LinkByName("lo")))) })
	return n
}

func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

// dnsmasq starts a real DHCP server at far0 and waits until it serves.
func (w *world) dnsmasq(options ...string) {
	w.t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		path = "/usr/sbin/dnsmasq"
	}
	args := append([]string{"--no-daemon", "--log-dhcp", "--conf-file=/dev/null",
		"--port=0", "--pid-file=", "--interface=far0", "--bind-interfaces", "--no-ping",
		"--dhcp-leasefile=" + filepath.Join(w.t.TempDir(), "leases"), "--dhcp-authoritative"}, options...)
	cmd := exec.Command(path, args...)
	out, in, err := os.Pipe()
	w.check(err)
	cmd.Stdout, cmd.Stderr = in, in
	w.far.do(func() { err = cmd.Start() })
	if errors.Is(err, os.ErrNotExist) {
		w.t.Fatal("these tests need dnsmasq: install the package dnsmasq-base")
	}
	w.check(err)
	in.Close()
	serves := make(chan bool)
	w.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		<-serves // closed when the last line is logged: nothing may be after the test
	})
	go func() { // ends with dnsmasq
		lines := bufio.NewScanner(out)
		for told := false; lines.Scan(); {
			w.t.Log(lines.Text())
			if !told && (strings.Contains(lines.Text(), "IP range") || strings.Contains(lines.Text(), "router advertisement on")) {
				told = true
				serves <- true
			}
		}
		close(serves)
	}()
	if !<-serves {
		w.t.Fatal("dnsmasq did not start")
	}
}

// progress hears Up, and lets a test act on what it hears.
type progress struct {
	t      *testing.T
	lines  []string
	waits  []string
	onWait func(what string)
	onLine func(line string)
}

func (p *progress) Wait(what string, limit time.Duration) func() {
	p.t.Logf("waiting for %s, at most %s", what, limit)
	p.waits = append(p.waits, what)
	if p.onWait != nil {
		p.onWait(what)
	}
	return func() {}
}

func (p *progress) Printf(format string, args ...any) {
	line := strings.TrimSpace(fmt.Sprintf(format, args...))
	p.t.Log(line)
	p.lines = append(p.lines, line)
	if p.onLine != nil {
		p.onLine(line)
	}
}

func (p *progress) said(part string) bool {
	for _, l := range p.lines {
		if strings.Contains(l, part) {
			return true
		}
	}
	return false
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
