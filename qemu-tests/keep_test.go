package qemutests

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/initramfs"
	"github.com/rootlun/rootlun/qemu-tests/cache"
)

// keepMachine is a machine on a far side with a target, whose root is written to
// until its session has been repaired that often.
func (s *scene) keepMachine(files []initramfs.File, parameters ...string) (Machine, *Far, Target, *TGT) {
	s.t.Helper()
	far := s.far([]string{"10.7.0.1/24"})
	target := s.target(files...)
	target.Username, target.Secret, target.UsernameIn, target.SecretIn = "node", "secret-of-the-node", "target", "secret-of-the-target"
	tgt := s.farTGT(far, target)
	m := s.wired(s.cable(far.Segments[0], nil), append([]string{"init=/sbin/keep-init", "rd.iscsi.initiator=" + initiatorName,
		"ip=10.7.0.9::10.7.0.1:255.255.255.0::eth0:none",
		"netroot=iscsi:node:secret-of-the-node:target:secret-of-the-target@10.7.0.1:::1:" + targetName}, parameters...)...)
	return m, far, target, tgt
}

// checkLoad asserts that nothing of what was written is lost, and that there is
// one session, logged in.
func checkLoad(t *testing.T, report Report) {
	t.Helper()
	if !regexp.MustCompile(`^written [1-9][0-9]* failed 0 bad 0$`).MatchString(report.Text("/run/load")) {
		t.Errorf("the load: %s", report.Text("/run/load"))
	}
	if state := report.Text("/sys/class/iscsi_session/*/state"); state != "LOGGED_IN" {
		t.Errorf("the session is %q", state)
	}
	if text := regexp.MustCompile(`(?i).*(I/O error|EXT4-fs error|EXT4-fs warning|remounting filesystem|hung task|kernel panic|segfault|out of memory).*`).FindString(report["/run/dmesg"]); text != "" {
		t.Error(text)
	}
}

// said returns the lines of the kernel's log that the keeper wrote.
func said(report Report) (lines []string) {
	for line := range strings.Lines(report["/run/dmesg"]) {
		if _, text, ok := strings.Cut(line, "rootlun keep: "); ok {
			lines = append(lines, strings.TrimSpace(text))
		}
	}
	return lines
}

// checkKeeper asserts that there is one keeper, and that it is as a process has to
// be that the root depends on.
func checkKeeper(t *testing.T, report Report) {
	t.Helper()
	if keepers := strings.Fields(report["/run/keepers"]); len(keepers) != 1 {
		t.Fatalf("keepers: %v\n%s", keepers, report["$ ps"])
	}
	if got := strings.TrimSpace(report.Text("/run/keeper-cmdline")); got != "@rootlun/rootlun keep --own-root" {
		t.Errorf("it is called %q", got)
	}
	if got := report.Text("/run/keeper-oom"); got != "-1000" {
		t.Errorf("its oom_score_adj is %s", got)
	}
	// What /proc/PID/status says of it may lack some MiB: each thread tells of its
	// pages now and then only.
	memory, status := report["/run/keeper-memory"], report["/run/keeper-status"]
	value := func(name string) int {
		m := regexp.MustCompile(`\n` + name + `:\s+(\d+) kB`).FindStringSubmatch(memory)
		if m == nil {
			t.Fatalf("no %s in\n%s", name, memory)
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	resident, locked := value("Rss"), value("Locked")
	t.Logf("%d KiB resident, of which %d KiB are locked and %d KiB its own", resident, locked, value("Anonymous"))
	if resident > 12<<10 {
		t.Errorf("%d KiB are resident:\n%s", resident, memory)
	}
	if program := int(fileSize(t, "/run/rootlun/rootlun", report) >> 10); resident-value("Anonymous") < program-64 || locked < resident*9/10 {
		t.Errorf("the program has %d KiB:\n%s", program, memory)
	}
	if !strings.Contains(status, "\nSigIgn:\t0000000000004003\n") {
		t.Errorf("SIGHUP, SIGINT and SIGTERM are not what is ignored:\n%s", status)
	}
	for line := range strings.Lines(report["/run/keeper-threads"]) {
		_, rest, _ := strings.Cut(line, ") ")
		f := strings.Fields(rest)                                                 // state is field 3 of proc(5), flags field 9
		if flags, _ := strconv.ParseUint(f[9-3], 10, 32); flags&0x00080000 == 0 { // PF_MEMALLOC_NOIO
			t.Errorf("a thread is no IO_FLUSHER: %s", line)
		}
	}
	for _, what := range []string{" /sys ", " /proc ", " /run ", " /dev "} {
		if strings.Count(report["/run/keeper-mounts"], what) != 1 {
			t.Errorf("its mounts:\n%s", report["/run/keeper-mounts"])
		}
	}
	if strings.Contains(report["/run/keeper-mounts"], "ext4") || strings.Contains(report["/run/keeper-files"], "console") {
		t.Errorf("it holds what it has no business with:\n%s%s", report["/run/keeper-mounts"], report["/run/keeper-files"])
	}
}

// fileSize returns the size of a file in /run.
func fileSize(t *testing.T, path string, report Report) uint64 {
	t.Helper()
	dir, name := filepath.Split(path)
	_, list, _ := strings.Cut(report["$ ls -laR /run"], "\n"+strings.TrimSuffix(dir, "/")+":\n")
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 8 && f[8] == name {
			n, _ := strconv.ParseUint(f[4], 10, 64)
			return n
		}
	}
	t.Errorf("no %s:\n%s", path, report["$ ls -laR /run"])
	return 0
}

// TestKeeper: the target is killed and comes back, the connection is reset, the
// link goes down for longer than TCP waits between its first attempts.
func TestKeeper(t *testing.T) {
	s := newScene(t)
	m, far, target, tgt := s.keepMachine(nil, "keep.repairs=3")
	r := s.start(m)
	s.waitFor(r, "the load begins")

	m.Plugs[0].Cable.Reset()
	s.waitFor(r, "logged in to")

	tgt.Close()
	pause(5 * time.Second)
	tgt = s.farTGT(far, target)
	s.repaired(r, 2)

	// A link that is down is found out by the kernel's SCSI layer, after a command's
	// 30 seconds: that is too long to wait here. So the target is gone as well.
	r.SetLink(0, false)
	tgt.Close()
	pause(8 * time.Second)
	s.farTGT(far, target)
	r.SetLink(0, true)
	report, console := s.booted(r)
	checkLoad(t, report)
	checkKeeper(t, report)
	lines := said(report)
	t.Log(strings.Join(lines, "\n"))
	if n := strings.Count(strings.Join(lines, "\n"), "; reconnecting to"); n != 3 {
		t.Errorf("%d losses in\n%s", n, strings.Join(lines, "\n"))
	}
	for _, secret := range []string{target.Secret, target.SecretIn} {
		if strings.Contains(strings.Join(lines, "\n"), secret) {
			t.Error("a secret is in the kernel's log")
		}
	}
	_ = console
}

// repaired waits until the keeper has said that often that it logged in again.
func (s *scene) repaired(r *Running, n int) {
	s.t.Helper()
	for {
		changed := r.Console.next() // before the look: nothing is missed
		text := r.Console.String()
		if strings.Count(text, ": logged in to") >= n {
			return
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			s.t.Fatalf("the session was not repaired %d times:\n%s", n, tail(text, 30))
		}
	}
}

// TestKeeperAndISCSID: Debian's iscsid takes the session over, and repairs it; when
// it is killed the keeper does.
func TestKeeperAndISCSID(t *testing.T) {
	s := newScene(t)
	files := s.openISCSI("iscsid")
	files = append(files, initramfs.File{Source: cache.Path(t, "open-iscsi/etc/iscsi/iscsid.conf"), Destination: "/etc/iscsi/iscsid.conf"})
	m, far, target, tgt := s.keepMachine(files, "keep.repairs=1")
	r := s.start(m)
	s.waitFor(r, "iscsid has the session")
	tgt.Close()
	pause(3 * time.Second)
	tgt = s.farTGT(far, target)
	s.waitFor(r, "iscsid has repaired it")
	s.waitFor(r, "iscsid is gone")
	tgt.Close()
	pause(3 * time.Second)
	s.farTGT(far, target)
	report, _ := s.booted(r)
	checkLoad(t, report)
	checkKeeper(t, report)
	text := strings.Join(said(report), "\n")
	t.Logf("%s\n%s", report["/run/iscsid.log"], text)
	if before, _, gone := strings.Cut(report["/run/dmesg"], "iscsid is gone"); !gone || strings.Contains(before, "rootlun keep:") {
		t.Error("the keeper did something while iscsid was there")
	}
	if strings.Count(text, "; reconnecting to") != 1 {
		t.Error("the keeper had one loss to repair")
	}
}

// TestKeeperPath: one of two paths is silent while the machine boots. The keeper
// logs in by its own NIC when it is there.
func TestKeeperPath(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"}, []string{"10.8.0.1/24"})
	target := s.target()
	s.farTGT(far, target)
	m := s.byTable(s.cable(far.Segments[0], nil), s.twoPaths(target, [2]string{"10.7.0.9/24", "10.8.0.9/24"}, [2]string{"10.7.0.1", "10.8.0.1"}),
		"init=/sbin/keep-init", "keep.repairs=1")
	other := s.cable(far.Segments[1], nil)
	other.Filter(func(f Frame) bool { return f.EtherType() != unix.ETH_P_IP || f.Data[14+9] != unix.IPPROTO_TCP })
	m.Plugs = append(m.Plugs, Plug{Cable: other, MAC: plugMACs[1]})
	r := s.start(m)
	s.waitFor(r, "the load begins")
	sent := count(other) // in place of the filter
	report, _ := s.booted(r)
	t.Log(strings.Join(said(report), "\n"))
	if n := len(report.Match("/sys/class/iscsi_session/*/targetname")); n != 2 {
		t.Errorf("%d sessions", n)
	}
	if n := len(report.Match("/sys/class/iscsi_session/session*/device/target*/*/block/*")); n != 2 {
		t.Errorf("%d disks", n)
	}
	if sent.Load() < 10 {
		t.Error("the second session does not leave by its own NIC")
	}
	checkKeeper(t, report)
}

// TestKeeperLease: the lease of the root's NIC is renewed, of the server that gave
// it.
func TestKeeperLease(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	s.farTGT(far, s.target())
	s.dnsmasq(far, "--interface=net0", dhcpRange, "--dhcp-option=option:T1,3", "--dhcp-option=option:T2,60")
	m := s.wired(s.cable(far.Segments[0], nil), "ip=dhcp", "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:10.7.0.1:::1:"+targetName,
		"init=/sbin/keep-init", "keep.seconds=10")
	var renewals, broadcasts atomic.Int32
	m.Plugs[0].Cable.Filter(func(f Frame) bool {
		kind, message := dhcpType(f)
		if kind == 3 && !f.ToGuest && binary.BigEndian.Uint32(message[12:]) != 0 { // DHCPREQUEST with an address that it has
			renewals.Add(1)
			if f.Data[0] == 0xff {
				broadcasts.Add(1)
			}
		}
		return true
	})
	report, _ := s.boot(m)
	checkLoad(t, report)
	if renewals.Load() < 2 || broadcasts.Load() > 0 {
		t.Errorf("%d renewals, %d by broadcast; dnsmasq's log:\n%s", renewals.Load(), broadcasts.Load(), readText(s.dir, "dnsmasq.log"))
	}
	if lines := said(report); len(lines) > 0 {
		t.Errorf("the keeper complains: %v", lines)
	}
}

func readText(elem ...string) string {
	text, _ := os.ReadFile(filepath.Join(elem...))
	return string(text)
}

// TestNoKeeper: rd.rootlun.keep=0 leaves it out.
func TestNoKeeper(t *testing.T) {
	s := newScene(t)
	m, _, _, _ := s.keepMachine(nil, "rd.rootlun.keep=0", "keep.seconds=1")
	report, _ := s.boot(m)
	checkLoad(t, report)
	if report["/run/keepers"] != "" || strings.Contains(report["$ ls -laR /run"], "/run/rootlun/rootlun") || len(said(report)) > 0 {
		t.Errorf("there is a keeper: %s%s", report["$ ps"], report["/run/keepers"])
	}
}
