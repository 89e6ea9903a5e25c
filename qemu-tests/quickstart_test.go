package qemutests

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/boot/handoff"
)

//go:embed in-server
var inServer string

//go:embed guest/node-report
var nodeReport []byte

// TestFirmwareToLogin: a machine has its firmware and a NIC, and the server what
// docs/quickstart-ipxe.md has one type there. The machine boots to a login
// prompt, where somebody logs in, upgrades the kernel, and boots once more.
func TestFirmwareToLogin(t *testing.T) {
	s, b := newNode(t)
	m := s.node(b.serve(s.commands("quickstart-ipxe.md")), nearMAC, "")
	m.Reboot = true
	o := s.powerOn(m)
	o.logIn("node")
	o.types("node-report first && " + strings.ReplaceAll(strings.TrimSpace(s.block("pxe-fleet.md", "sh TestFirmwareToLogin")), "\n", " && "))
	o.sees("reboot: Restarting system")
	o.logIn("node")
	o.types("node-report second && poweroff")
	report := o.end()
	first, second := checkNode(t, report, "first", "iBFT (sysfs)", ""), checkNode(t, report, "second", "iBFT (sysfs)", "")
	if !strings.HasPrefix(first, "6.1.") || !strings.HasPrefix(second, "6.12.") {
		t.Errorf("it booted %s, and then %s", first, second)
	}
}

// TestFleet is the first half of that with UEFI, whose own PXE loads iPXE, by
// docs/pxe-fleet.md. The machine is node 1 of it.
func TestFleet(t *testing.T) {
	s, b := newNode(t)
	disk := strings.SplitAfter(s.commands("quickstart-ipxe.md"), "\n")[:6] // less the two that s.commands leaves out
	far := b.serve(strings.Join(disk, "") + s.commands("pxe-fleet.md") + "cat >/etc/dnsmasq.d/nodes.conf <<'END'\n" + s.block("pxe-fleet.md", "dnsmasq") + "END\n" +
		"dnsmasq --no-daemon --conf-file=/dev/null --conf-dir=/etc/dnsmasq.d\n")
	m := s.node(far, "52:54:00:00:01:01", NoROM)
	m.More = []string{"-bios", "/usr/share/ovmf/OVMF.fd"}
	o := s.powerOn(m)
	o.logIn("node1")
	o.types("node-report first && poweroff")
	checkNode(t, o.end(), "first", "iBFT (ACPI)", "1")
}

// newNode is newSystem for a test that follows a document. It returns the system
// that the document has made, in which no more is done than what the test needs.
func newNode(t *testing.T) (*scene, *builder) {
	t.Helper()
	s := newSystem(t)
	if os.Getuid() != 0 {
		t.Skip("a server's administrator is root")
	}
	s.extend(15 * time.Minute)
	b := s.builder("debian12-node")
	report, conf := filepath.Join(s.dir, "node-report"), filepath.Join(s.dir, "fast")
	if err := errors.Join(os.WriteFile(report, nodeReport, 0o755), os.WriteFile(conf, []byte("COMPRESSLEVEL=1\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	b.put(report, "/usr/local/sbin/node-report")
	b.put(conf, "/etc/initramfs-tools/conf.d/fast") // the machine is an emulated one
	return s, b
}

// block returns a document's block of that language, which is its first one.
func (s *scene) block(document, language string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Repo, "docs", document))
	if err != nil {
		s.t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```" + language + "[^\n]*\n(.*?)```\n").FindSubmatch(text)
	if m == nil {
		s.t.Fatalf("%s has no block of %s", document, language)
	}
	return string(m[1])
}

// commands returns a document's commands, without those that need other servers,
// which scripts/setup and scripts/systems run.
func (s *scene) commands(document string) string {
	s.t.Helper()
	var commands strings.Builder
	for line := range strings.Lines(s.block(document, "sh")) {
		if strings.Contains(line, " && ") { // which set -e lets pass
			line = strings.TrimSpace(line) + " || exit\n"
		}
		if !strings.HasPrefix(line, "apt-get install ") && !strings.HasPrefix(line, "mmdebstrap ") {
			commands.WriteString(line)
		}
	}
	// An emulated machine may be too slow for the kernel's look at its timer.
	return strings.ReplaceAll(commands.String(), "console=ttyS0", "console=ttyS0 no_timer_check")
}

// serve runs commands on the server of a network, whose /srv/node is the system,
// and waits until the last of them, a dnsmasq, serves. Their output is in server.log.
func (b *builder) serve(commands string) *Far {
	s := b.s
	s.t.Helper()
	far := s.far([]string{"192.168.50.1/24", "fd07::1/64"})
	s.dnsmasq(far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::,ra-only,64") // without a router iPXE looks for one 20 s long
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	output := newConsole(log)
	ctx, cancel := context.WithCancel(s.ctx)
	cmd := far.Command(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inServer, "in-server", b.dir, commands)
	cmd.Dir = filepath.Dir(s.deb())
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it is always killed
		_ = log.Close()
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	if err := output.wait(ctx, done, "DHCP, IP range"); err != nil {
		s.t.Fatalf("the server: %v\n%s", err, tail(output.String(), 30))
	}
	return far
}

// node returns a machine that has its firmware and one NIC on the server's network.
func (s *scene) node(far *Far, mac, properties string) Machine {
	return Machine{Dir: s.dir, Net: "none", Plugs: []Plug{{
		Cable: s.cable(far.Segments[0], nil), MAC: mac, NIC: "virtio-net-pci,bootindex=1" + properties}}}
}

// operator is somebody at a machine's console.
type operator struct {
	s    *scene
	r    *Running
	keys *os.File
}

// powerOn starts a machine that has somebody at its console.
func (s *scene) powerOn(m Machine) operator {
	s.t.Helper()
	stdin, keys, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = keys.Close() })
	defer stdin.Close()
	m.Stdin = stdin
	r, err := s.Start(s.ctx, m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		r.Kill()
		if testing.Verbose() {
			s.t.Log(tail(r.Console.String(), 100))
		}
	})
	return operator{s, r, keys}
}

// sees waits for what answers the line that was typed last.
func (o operator) sees(text string) {
	o.s.t.Helper()
	if err := o.r.WaitFor(o.s.ctx, text); err != nil {
		o.s.t.Fatalf("%v; the last lines of its console:\n%s", err, tail(o.r.Console.String(), 30))
	}
}

func (o operator) types(line string) {
	o.s.t.Helper()
	o.r.Console.Again()
	if _, err := o.keys.WriteString(line + "\n"); err != nil {
		o.s.t.Fatal(err)
	}
}

func (o operator) logIn(node string) {
	o.s.t.Helper()
	o.sees(node + " login: ")
	o.types("root")
	o.sees("Password: ")
	o.types("CHANGE-ME")
	o.sees("root@" + node + ":~#")
}

// end waits for the machine's end, and returns what its node-report found.
func (o operator) end() Report {
	o.s.t.Helper()
	err := o.r.Wait()
	report, reportErr := o.r.Report()
	if err = errors.Join(err, reportErr); err != nil {
		o.s.t.Fatalf("%v; the last lines of its console:\n%s", err, tail(o.r.Console.String(), 30))
	}
	if !strings.Contains(o.r.Console.String(), "session 1 is logged out") {
		o.s.t.Error("rootlun did not unmount and log out at the end")
	}
	return report
}

// broken is what the kernel says of a root that was lost.
var broken = regexp.MustCompile(".*(I/O error|EXT4-fs error).*")

// checkNode checks what a node was found to be, and returns its kernel's release.
// The firmware's table comes from there, and its names end in number.
func checkNode(t *testing.T, report Report, when, table, number string) (release string) {
	t.Helper()
	text := func(command string) string { return strings.TrimSpace(report[when+" "+command]) }
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			for _, name := range slices.Sorted(maps.Keys(report)) {
				t.Logf("%s\n%s", name, report[name])
			}
		}
	})
	var state handoff.State
	if err := json.Unmarshal([]byte(text("cat /run/rootlun/state.json")), &state); err != nil {
		t.Errorf("state.json: %v", err)
	}
	var status boot.Status
	if err := json.Unmarshal([]byte(text("rootlun status --json")), &status); err != nil {
		t.Errorf("rootlun status --json: %v", err)
	}
	mounted, _, _ := strings.Cut(text("findmnt -no SOURCE,FSTYPE,OPTIONS /"), ",")
	want := map[string]any{
		"system": "running", "failed units": "", "errors": "", "root": "/dev/sda2 ext4 rw", "safe": true, "manager": "rootlun keep",
		"initiator": "iqn.2009-06.com.example:host" + number, "target": "iqn.2009-06.com.example:node" + number,
		"portal": "192.168.50.1:3260", "LUN": uint64(1), "target from": table, "NIC from": table,
		"needs": fmt.Sprintf("netroot=iscsi:192.168.50.1::3260:1:iqn.2009-06.com.example:node%s\nifname=%s:%s ip=%s:dhcp\nrd.iscsi.initiator=iqn.2009-06.com.example:host%s",
			number, state.NIC.Name, state.NIC.MAC, state.NIC.Name, number),
	}
	got := map[string]any{
		"system": text("systemctl is-system-running --wait"), "failed units": text("systemctl --failed --no-legend --plain"),
		"errors": broken.FindString(text("dmesg --level=err,crit,alert,emerg")), "root": strings.Join(strings.Fields(mounted), " "),
		"safe": status.Safe, "manager": status.Manager,
		"initiator": state.Initiator, "target": state.Target.Name,
		"portal": state.Target.Portal, "LUN": state.Target.LUN, "target from": state.Target.From, "NIC from": state.NIC.From,
		"needs": text("needs"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the %s boot differs (-want +got):\n%s", when, diff)
	}
	return text("uname -r")
}
