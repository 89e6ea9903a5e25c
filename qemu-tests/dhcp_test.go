package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// QEMU's own DHCP server names no target. In these tests dnsmasq serves the
// machine, in a network that has the addresses of QEMU's.

// dhcpMachine returns a machine whose DHCP server has these options, and the
// far side of its network.
func (s *scene) dhcpMachine(options ...string) (Machine, *Far) {
	far := s.far([]string{HostAddress + "/24"})
	s.dnsmasq(far, append([]string{"--interface=net0", "--dhcp-range=" + GuestAddress + "," + GuestAddress + ",1h"}, options...)...)
	m := s.machine()
	m.Net, m.Plugs = "none", []Plug{{Cable: s.cable(far.Segments[0], nil), MAC: GuestMAC}}
	return m, far
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
		err = run(s.ctx, "/bin/sh", "-c", fmt.Sprintf("cd %s && { find . | %s cpio -o -H newc; cat %s; } >%s", tree, s.Tools, s.image, image))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

// TestDHCPNamesTarget: nothing on the machine knows the target or our name; the
// secret comes in a second initrd.
func TestDHCPNamesTarget(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(true)
	m, far := s.dhcpMachine("--dhcp-option=option:root-path,iscsi:"+HostAddress+":6:3260:1:"+target.Name, "--dhcp-option=203,"+initiatorName)
	s.farTGT(far, target)
	m.Cmdline = append(m.Cmdline, "root=dhcp")
	m.Initrd = s.beside("etc/rootlun/credentials", fmt.Sprintf("[%s]\nnode.session.auth.username = %s\nnode.session.auth.password = %s\n"+
		"node.session.auth.username_in = %s\nnode.session.auth.password_in = %s\n", target.Name, target.Username, target.Secret, target.UsernameIn, target.SecretIn))
	report, console := s.boot(m)
	checkRoot(t, report, console, 3260, target)
	noSecret(t, console, target)
	shows(t, console, "DHCP is to name the target, says root=dhcp", "plan: initiator "+initiatorName+", from DHCP ("+HostAddress+")",
		fmt.Sprintf("plan: target %s at %s:3260, LUN 1, mutual CHAP as %s, from DHCP (%s), its secret from /etc/rootlun/credentials",
			target.Name, HostAddress, target.Username, HostAddress))
}

// TestDHCPLUNGroups: a LUN as RFC 4173 writes it.
func TestDHCPLUNGroups(t *testing.T) {
	s := newScene(t)
	target := s.target()
	target.LUN = 16
	m, far := s.dhcpMachine("--dhcp-option=option:root-path,iscsi:" + HostAddress + "::3260:0010-0-0000-0000:" + target.Name)
	s.farTGT(far, target)
	m.Cmdline = append(m.Cmdline, "netroot=dhcp", iname, "ip=eth0:dhcp", "root=LABEL="+RootLabel)
	report, console := s.boot(m)
	checkRoot(t, report, console, 3260, target)
}

func TestDHCPWithoutRootPath(t *testing.T) {
	s := newScene(t)
	m, _ := s.dhcpMachine()
	m.Cmdline = append(m.Cmdline, "root=dhcp", deadline)
	console := s.fail(m)
	shows(t, console, "learn the target from DHCP", "DHCP ("+HostAddress+")", "option 17", "iscsi:SERVER:", "reboot: Power down")
}
