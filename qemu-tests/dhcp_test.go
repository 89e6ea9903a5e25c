package qemutests

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// QEMU's own DHCP server names no target. These tests run in a network of
// their own, where dnsmasq serves the machine, and the target has HostAddress.

const insideEnv = "ROOTLUN_TEST_NETWORK"

// inNetwork runs the rest of a test in a process with a network namespace of
// its own, in which tap0 leads to the machine.
func inNetwork(t *testing.T, body func(s *scene)) {
	if os.Getenv(insideEnv) == t.Name() {
		s := newScene(t)
		for _, command := range []string{
			"ip link set lo up", "tunctl -t tap0", "ip address add " + HostAddress + "/24 dev tap0", "ip link set tap0 up",
		} {
			if err := run(s.ctx, s.Busybox, strings.Fields(command)...); err != nil {
				t.Fatal(err)
			}
		}
		body(s)
		return
	}
	newScene(t) // skips where nothing can be booted
	out, err := again(t, syscall.CLONE_NEWNET)
	if errors.Is(err, syscall.EPERM) {
		out, err = again(t, syscall.CLONE_NEWNET|syscall.CLONE_NEWUSER)
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("this system permits no network namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// again runs this test in a process with new namespaces.
func again(t *testing.T, flags uintptr) ([]byte, error) {
	name := strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	return cmd.CombinedOutput()
}

// dnsmasq starts a DHCP server for the machine, and waits until it serves.
func (s *scene) dnsmasq(options ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.ctx, "dnsmasq", append([]string{"--no-daemon", "--conf-file=/dev/null", "--port=0", "--pid-file=",
		"--interface=tap0", "--bind-dynamic", "--no-ping", "--dhcp-authoritative", "--dhcp-leasefile=" + filepath.Join(s.dir, "leases"),
		"--dhcp-range=" + GuestAddress + "," + GuestAddress + ",1h"}, options...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	serves, done := make(chan struct{}), make(chan struct{})
	var log strings.Builder // to be read after done
	go func() {
		defer close(done)
		for lines, told := bufio.NewScanner(out), false; lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if !told && strings.Contains(lines.Text(), "DHCP, IP range") {
				told = true
				close(serves)
			}
		}
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	select {
	case <-serves:
	case <-done:
		s.t.Fatalf("dnsmasq does not serve:\n%s", &log)
	}
}

// dhcpMachine is a machine on tap0.
func (s *scene) dhcpMachine(parameters ...string) Machine {
	m := s.machine(parameters...)
	m.Net = "tap=tap0"
	return m
}

// beside puts an initrd with one file in front of the image, as a boot loader
// with two initrds does.
func (s *scene) beside(name, text string) (image string) {
	s.t.Helper()
	tree, image := filepath.Join(s.dir, "beside"), filepath.Join(s.dir, "initrd")
	file := filepath.Join(tree, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o600)
	}
	if err == nil {
		err = run(s.ctx, "/bin/sh", "-c", fmt.Sprintf("cd %s && { find . | %s cpio -o -H newc; cat %s; } >%s", tree, s.Busybox, s.image, image))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

// TestDHCPNamesTarget: nothing on the machine knows the target or our name; the
// secret comes in a second initrd.
func TestDHCPNamesTarget(t *testing.T) {
	inNetwork(t, func(s *scene) {
		target := s.chapTarget(true)
		port := s.tgt(target)
		s.dnsmasq(fmt.Sprintf("--dhcp-option=option:root-path,iscsi:%s:6:%d:1:%s", HostAddress, port, target.Name), "--dhcp-option=203,"+initiatorName)
		m := s.dhcpMachine("root=dhcp")
		m.Initrd = s.beside("etc/rootlun/credentials", fmt.Sprintf("[%s]\nnode.session.auth.username = %s\nnode.session.auth.password = %s\n"+
			"node.session.auth.username_in = %s\nnode.session.auth.password_in = %s\n", target.Name, target.Username, target.Secret, target.UsernameIn, target.SecretIn))
		report, console := s.boot(m)
		checkRoot(t, report, console, port, target)
		noSecret(t, console, target)
		shows(t, console, "DHCP is to name the target, says root=dhcp", "plan: initiator "+initiatorName+", from DHCP ("+HostAddress+")",
			fmt.Sprintf("plan: target %s at %s:%d, LUN 1, mutual CHAP as %s, from DHCP (%s), its secret from /etc/rootlun/credentials",
				target.Name, HostAddress, port, target.Username, HostAddress))
	})
}

// TestDHCPLUNGroups: a LUN as RFC 4173 writes it.
func TestDHCPLUNGroups(t *testing.T) {
	inNetwork(t, func(s *scene) {
		target := s.target()
		target.LUN = 16
		port := s.tgt(target)
		s.dnsmasq(fmt.Sprintf("--dhcp-option=option:root-path,iscsi:%s::%d:0010-0-0000-0000:%s", HostAddress, port, target.Name))
		report, console := s.boot(s.dhcpMachine("netroot=dhcp", iname, "ip=eth0:dhcp", "root=LABEL="+RootLabel))
		checkRoot(t, report, console, port, target)
	})
}

func TestDHCPWithoutRootPath(t *testing.T) {
	inNetwork(t, func(s *scene) {
		s.dnsmasq()
		console := s.fail(s.dhcpMachine("root=dhcp", deadline))
		shows(t, console, "learn the target from DHCP", "DHCP ("+HostAddress+")", "option 17", "iscsi:SERVER:", "reboot: Power down")
	})
}
