package qemutests

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	static = "ip=10.0.2.15::10.0.2.2:255.255.255.0:node1:eth0:none"
	iname  = "rd.iscsi.initiator=" + initiatorName
)

// checkRoot asserts that the root's init ran from the target's disk, by one
// session with root-safe timers, and found its surroundings in order.
func checkRoot(t *testing.T, report Report, console string, port uint16, target Target) {
	t.Helper()
	checkRootOn(t, "/dev/sda / ext4 ", report, console, port, target)
}

// checkRootOn is checkRoot for another root than a disk with ext4; mount is how
// /proc/mounts begins to tell it.
func checkRootOn(t *testing.T, mount string, report Report, console string, port uint16, target Target) {
	t.Helper()
	checkAttached(t, mount, report, console, port, target)
	for _, name := range []string{"HOME=", "TERM="} {
		if !strings.Contains("\n"+report["environment"], "\n"+name) {
			t.Errorf("init's environment has no %s:\n%s", name, report["environment"])
		}
	}
	checkProcess(t, report)
}

// checkAttached is checkRootOn where another initramfs starts init, in its own way.
func checkAttached(t *testing.T, mount string, report Report, console string, port uint16, target Target) {
	t.Helper()
	const session, connection = "/sys/class/iscsi_session/session*/", "/sys/class/iscsi_connection/connection*/"
	want := map[string]string{
		"/etc/root-name":                     t.Name(),
		session + "targetname":               target.Name,
		session + "initiatorname":            initiatorName,
		session + "state":                    "LOGGED_IN",
		session + "recovery_tmo":             "86400",
		session + "ifacename":                "default",
		session + "username":                 orNull(target.Username),
		session + "username_in":              orNull(target.UsernameIn),
		connection + "ping_tmo":              "0",
		connection + "recv_tmo":              "0",
		connection + "persistent_address":    HostAddress,
		connection + "persistent_port":       fmt.Sprint(port),
		connection + "address":               HostAddress,
		session + "device/target*/*/block/*": "sda",
		"/written":                           "yes",
	}
	got := map[string]string{}
	for name := range want {
		got[name] = report.Text(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the report differs (-want +got):\n%s", diff)
	}
	for _, device := range report.Match(session + "device/target*/*/block/*") {
		if lun := fmt.Sprintf(":%d/block/", target.LUN); !strings.Contains(device, lun) {
			t.Errorf("the disk is %s, not of LUN %d", device, target.LUN)
		}
	}
	if !strings.Contains(report["/proc/mounts"], mount) {
		t.Errorf("the mounts do not hold %q:\n%s", mount, report["/proc/mounts"])
	}
	for _, path := range []string{"/proc", "/sys", "/dev", "/run"} {
		if strings.Count(report["/proc/mounts"], " "+path+" ") != 1 {
			t.Errorf("%s is not mounted once:\n%s", path, report["/proc/mounts"])
		}
	}
	if !strings.Contains(console, "reboot: Power down") {
		t.Error("the machine did not power off")
	}
	state := report["/run/rootlun/state.json"]
	if !json.Valid([]byte(state)) || !strings.Contains(state, target.Name) {
		t.Errorf("/run/rootlun/state.json is not JSON that names the target: %q", state)
	}
	for _, secret := range []string{target.Secret, target.SecretIn} {
		if secret != "" && strings.Contains(state, secret) {
			t.Error("/run/rootlun/state.json holds a secret")
		}
	}
}

// checkProcess asserts that init is as the kernel would have started it: no
// signal blocked or ignored, the kernel's limits, and no file but the console
// (and what the shell that it is has opened itself).
func checkProcess(t *testing.T, report Report) {
	t.Helper()
	for _, want := range [][2]string{
		{"/proc/1/status", `\nUmask:\t0022\n`}, {"/proc/1/status", `\nThreads:\t1\n`},
		{"/proc/1/status", `\nSigBlk:\t0{16}\n`}, {"/proc/1/status", `\nSigIgn:\t0{15}[04]\n`}, // its shell ignores SIGQUIT
		{"/proc/1/limits", `\nMax open files +1024 +4096 `},
		{"/proc/1/fd", ` 0 -> /dev/console\n`},
	} {
		if !regexp.MustCompile(want[1]).MatchString(report[want[0]]) {
			t.Errorf("%s has no line %q:\n%.1500s", want[0], want[1], report[want[0]])
		}
	}
	for _, leak := range []string{"socket:", "anon_inode:", "/dev/kmsg", "(deleted)"} {
		if files := report["/proc/1/fd"]; strings.Contains(files, leak) {
			t.Errorf("init was started with %s open:\n%s", leak, files)
		}
	}
}

// orNull is how the kernel's class shows a text that was not set.
func orNull(text string) string {
	if text == "" {
		return "(null)"
	}
	return text
}

func TestIBFTFromACPI(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	m := s.machine("rd.iscsi.firmware")
	m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	if addr := report["$ ip address"]; !strings.Contains(addr, "inet "+GuestAddress+"/24 ") {
		t.Errorf("the NIC does not have the table's address:\n%s", addr)
	}
}

func TestIBFTFromIPXE(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	report, console := s.boot(s.ipxeDHCP(port, target))
	checkRoot(t, report, console, port, target)
}

// TestIBFTFromUEFI: UEFI publishes iPXE's table in ACPI.
func TestIBFTFromUEFI(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(true)
	port := s.tgt(target)
	m := s.ipxeDHCP(port, target)
	m.More = uefi
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	shows(t, console, "iBFT (ACPI)", "efi: EFI v2")
	noSecret(t, console, target)
}

func TestCommandLineStatic(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	report, console := s.boot(s.machine(netroot("", port, target), iname, static, "root=LABEL="+RootLabel, "rootfstype=ext4", "rw"))
	checkRoot(t, report, console, port, target)
}

func TestCommandLineDHCP(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	report, console := s.boot(s.machine(netroot("", port, target), iname, "ip=dhcp", "root=UUID="+RootUUID, "ro"))
	checkRoot(t, report, console, port, target)
	if route := report["$ ip route"]; !strings.Contains(route, "default via "+HostAddress) {
		t.Errorf("the DHCP server's gateway is not the default route:\n%s", route)
	}
}

func TestInitArguments(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	report, _ := s.boot(s.machine(netroot("", port, target), iname, static, "root=/dev/sda", "init=/sbin/init", "--", "single", "two"))
	if got := report.Text("arguments"); got != "/sbin/init single two" {
		t.Errorf("init was started as %q", got)
	}
}

func TestReboot(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	_, console := s.boot(s.machine(netroot("", port, target), iname, static, "test.end=reboot"))
	if !strings.Contains(console, "reboot: Restarting system") {
		t.Error("the machine did not reboot")
	}
}

// QEMU's user network has fec0::2 as the host's ::1.
func TestCommandLineIPv6(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	if !hasIPv6() {
		t.Skip("this host has no IPv6 loopback")
	}
	report, _ := s.boot(s.machine(fmt.Sprintf("netroot=iscsi:[fec0::2]::%d:%d:%s", port, target.LUN, target.Name), iname,
		"ip=[fec0::15]::[fec0::2]:64::eth0:none"))
	for name, want := range map[string]string{
		"/etc/root-name": t.Name(),
		"/sys/class/iscsi_connection/connection*/persistent_address": "fec0::2",
		"/sys/class/iscsi_connection/connection*/persistent_port":    fmt.Sprint(port),
		"/sys/class/iscsi_session/session*/recovery_tmo":             "86400",
	} {
		if got := report.Text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
