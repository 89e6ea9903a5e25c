package qemutests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rootlun/rootlun/session/targettest"
)

// checkPaths asserts that a boot with some targets has a session, a disk with
// the right content and a connection for each, and no more. sums are those of
// the disks by target; "" is the root.
func checkPaths(t *testing.T, report Report, sums map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, p := range statePaths(t, report) {
		got[p.Target] = ""
		if sums[p.Target] != "" {
			sum, _, _ := strings.Cut(report["$ sha256sum /dev/"+p.Disk], " ")
			got[p.Target] = "sum: " + sum + "  -\n"
		}
		if p.Disk == "" {
			got[p.Target] = "not there"
		}
	}
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Errorf("the targets' disks (-want +got):\n%s", diff)
	}
	sessions := map[string]bool{}
	for _, name := range report.Match("/sys/class/iscsi_session/*/targetname") {
		sessions[report.Text(name)] = true
	}
	if n := len(report.Match("/sys/class/iscsi_session/*/targetname")); n != len(sums) || len(sessions) != n {
		t.Errorf("%d sessions of %d targets, want %d", n, len(sessions), len(sums))
	}
	owned := 0
	for _, line := range strings.Split(report["/proc/net/tcp"], "\n") {
		if f := strings.Fields(line); len(f) > 9 && f[0] != "sl" && f[9] != "0" {
			owned++
		}
	}
	if owned != len(sums) {
		t.Errorf("%d sockets, want %d:\n%s", owned, len(sums), report["/proc/net/tcp"])
	}
}

// TestEightTargets: all are logged in to at once, and the root is on one of the
// several LUNs of the last, whose number nobody tells.
func TestEightTargets(t *testing.T) {
	s := newScene(t)
	sums := map[string]string{}
	words := []string{iname, static, "root=LABEL=" + RootLabel, "test.sums"}
	var targets []Target
	for i := range 7 {
		target := Target{Name: fmt.Sprintf("%s.%d", targetName, i), LUN: 1}
		target.Image, sums[target.Name] = s.disk(fmt.Sprint("disk", i))
		targets = append(targets, target)
	}
	several := Target{Name: targetName, Image: targets[0].Image, LUN: 1, Units: map[int]string{2: targets[1].Image, 9: s.root()}}
	targets, sums[several.Name] = append(targets, several), ""
	port := s.tgts(targets...)
	for _, target := range targets[:7] {
		words = append(words, netroot("", port, target))
	}
	words = append(words, fmt.Sprintf("netroot=iscsi:%s::%d::%s", HostAddress, port, several.Name))
	report, console := s.boot(s.machine(words...))
	checkPaths(t, report, sums)
	shows(t, console, "LUN 9 is taken, of 3 disks")
	if got := report.Text("/etc/root-name"); got != t.Name() {
		t.Errorf("the root is %q", got)
	}
}

// TestFaultyTargets: each of a boot's targets has a fault of its own that passes,
// and the root's comes last, after 40 s; then all are there.
func TestFaultyTargets(t *testing.T) {
	const away, unavailable = 40 * time.Second, 20 * time.Second
	s := newScene(t)
	var tgt string
	busy := targettest.New(t, targettest.Config{Script: targettest.Refuse(0x0301), Lenient: true})
	started := make(chan struct{})
	first := sync.OnceValue(func() time.Time { close(started); return time.Now() })
	resets := []targettest.Passed{targettest.AtAnswer(0), targettest.AtRequest(48), targettest.AtAnswer(200), targettest.AtAnswer(345), targettest.AtAnswer(3000)}
	sums := map[string]string{}
	var targets []Target
	words := []string{iname, static, "root=LABEL=" + RootLabel, "test.sums"}
	proxies := map[string]*targettest.Proxy{}
	for name, spoil := range map[string]func(f *targettest.Fault, n int){
		"unavailable": func(f *targettest.Fault, n int) {
			if time.Since(first()) < unavailable {
				f.To = busy.Addr()
			}
		},
		"silent": func(f *targettest.Fault, n int) {
			if n == 1 {
				f.To = ""
			}
		},
		"late": func(f *targettest.Fault, n int) {
			if n == 1 {
				f.Delay = 20 * time.Second
			}
		},
		"half-open": func(f *targettest.Fault, n int) {
			if n == 1 {
				f.End, f.At = targettest.Silence, targettest.AtAnswer(100)
			}
		},
		"reset": func(f *targettest.Fault, n int) {
			if n <= len(resets) {
				f.End, f.At = targettest.Reset, resets[n-1]
			}
		},
	} {
		target := Target{Name: targetName + "." + name, LUN: 1}
		target.Image, sums[target.Name] = s.disk(name)
		targets = append(targets, target)
		p, err := targettest.StartProxy(func(n int) targettest.Fault {
			f := targettest.Fault{To: tgt}
			spoil(&f, n)
			return f
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		proxies[name] = p
		words = append(words, netroot("", uint16(p.Addr().Port), target))
	}
	tgt = fmt.Sprintf("127.0.0.1:%d", s.tgts(targets...))

	root := s.target()
	sums[root.Name] = ""
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(s.dir, "root")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	var back sync.WaitGroup
	back.Go(func() {
		select {
		case <-started:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(away):
		case <-ctx.Done():
			return
		}
		tgt, err := startTGT(ctx, exec.CommandContext, port, portals(port), folder, root)
		if err != nil {
			t.Error(err)
			return
		}
		<-ctx.Done()
		tgt.Close()
	})
	t.Cleanup(func() { cancel(); back.Wait() })
	report, console := s.boot(s.machine(append(words, netroot("", uint16(port), root))...))
	checkPaths(t, report, sums)
	if got := report.Text("/etc/root-name"); got != t.Name() {
		t.Errorf("the root is %q", got)
	}
	for name, least := range map[string]int{"unavailable": 3, "silent": 2, "late": 2, "half-open": 2, "reset": len(resets) + 1} {
		if n := len(proxies[name].Passed()); n < least {
			t.Errorf("%s: %d connections, want %d or more", name, n, least)
		}
	}
	if t.Failed() {
		t.Log(console)
	}
}
