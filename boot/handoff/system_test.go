package handoff

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestInstall(t *testing.T) {
	run := t.TempDir()
	for range 2 {
		check(t, Install(run))
	}
	self, err := os.ReadFile("/proc/self/exe")
	check(t, err)
	program, last := filepath.Join(run, "rootlun/rootlun"), filepath.Join(run, "initramfs/shutdown")
	got, err := os.ReadFile(program)
	check(t, err)
	if !bytes.Equal(got, self) {
		t.Error("another program is left")
	}
	a, _ := os.Stat(program)
	b, _ := os.Stat(filepath.Join(run, "initramfs/rootlun"))
	c, _ := os.Stat(last)
	if a.Mode().Perm() != 0o755 || !os.SameFile(a, b) || c.Mode().Perm() != 0o755 {
		t.Errorf("modes %v and %v, the same file: %t", a.Mode(), c.Mode(), os.SameFile(a, b))
	}

	// What another initramfs has put there stays.
	run = t.TempDir()
	last = filepath.Join(run, "initramfs/shutdown")
	check(t, writeFile(last, []byte("theirs"), 0o755))
	check(t, Install(run))
	if text, _ := os.ReadFile(last); string(text) != "theirs" {
		t.Error("the program to return to is replaced")
	}
}

func TestSystemd(t *testing.T) {
	root := t.TempDir()
	if Systemd(root) {
		t.Error("it is not there")
	}
	check(t, writeFile(filepath.Join(root, "usr/lib/systemd/systemd"), nil, 0o755))
	check(t, os.Symlink("/usr/lib", filepath.Join(root, "lib"))) // which leads elsewhere from here
	if !Systemd(root) {
		t.Error("it is there")
	}
	nixos := t.TempDir()
	check(t, writeFile(filepath.Join(nixos, "etc/NIXOS"), nil, 0o644))
	if !Systemd(nixos) {
		t.Error("NixOS has it elsewhere")
	}
}

// TestWriteUnits: systemd understands the unit, and is told to start it.
func TestWriteUnits(t *testing.T) {
	run := t.TempDir()
	check(t, WriteUnits(run))
	system := filepath.Join(run, "systemd/system")
	wanted, err := filepath.EvalSymlinks(filepath.Join(system, "sysinit.target.wants/rootlun-records.service"))
	check(t, err)
	verify := exec.Command("systemd-analyze", "verify", "--man=no", wanted)
	if verify.Err != nil {
		t.Skip(verify.Err)
	}
	verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+system+":")
	out, _ := verify.CombinedOutput() // other units of this machine may have their own mistakes
	if bytes.Contains(out, []byte("rootlun-records.service:")) && !bytes.Contains(out, []byte("is not executable")) {
		t.Errorf("%s", out)
	}
}

// A folder for units makes scripts think that systemd runs.
func TestNoUnits(t *testing.T) {
	run := t.TempDir()
	check(t, WriteNetwork(run, false, []Interface{{Name: "eth0", MAC: "52:54:00:12:34:56", DHCP6: true, Address: prefixes("2001:db8::15/128")}}))
	if _, err := os.Stat(filepath.Join(run, "systemd/system")); err == nil {
		t.Error("there is one")
	}
	if _, err := os.Stat(filepath.Join(run, "systemd/network/05-rootlun-eth0.network")); err != nil {
		t.Error(err)
	}
}
