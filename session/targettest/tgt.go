package targettest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TGT is a running tgtd, a real target. Its own targets have the names TGTName(tid).
type TGT struct {
	Portal string // host:port

	tb      testing.TB
	control string
}

// TGTName is the name of the target with a number.
func TGTName(tid string) string { return "iqn.2026-01.org.example:tgt-" + tid }

// StartTGT starts Debian's tgtd on a free port of the loopback, with a control
// port of its own. Where it is not installed the test is skipped. It ends with
// its test.
func StartTGT(t testing.TB) *TGT {
	t.Helper()
	skip := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("ROOTLUN_REQUIRE_TOOLS") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	for _, tool := range []string{"tgtd", "tgtadm"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip("%s is not installed (package tgt): no test against a real target", tool)
		}
	}
	if os.Geteuid() != 0 {
		skip("tgtd needs root: no test against a real target")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &TGT{tb: t, Portal: l.Addr().String()}
	// A control port is a number of tgt's own, from 0, its default, to 32767.
	g.control = strconv.Itoa(1 + l.Addr().(*net.TCPAddr).Port%32767)
	l.Close()
	if err := os.MkdirAll("/var/run/tgtd", 0o755); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command("tgtd", "-f", "-C", g.control, "--iscsi", "portal="+g.Portal)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // it does not heed SIGTERM while it has targets
		cmd.Wait()
		os.Remove("/var/run/tgtd/socket." + g.control)
		os.Remove("/var/run/tgtd/socket." + g.control + ".lock")
		if t.Failed() {
			t.Logf("tgtd says:\n%s", log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		out, err := g.Adm("--op", "show", "--mode", "sys")
		if err == nil {
			return g
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("tgtd does not answer: %v: %s", err, out)
		}
	}
}

// Adm is tgtadm, with what it prints.
func (g *TGT) Adm(args ...string) (string, error) {
	out, err := exec.Command("tgtadm", append([]string{"-C", g.control, "--lld", "iscsi"}, args...)...).CombinedOutput()
	return string(out), err
}

// Run is Adm for what must not fail.
func (g *TGT) Run(args string) {
	g.tb.Helper()
	if out, err := g.Adm(strings.Fields(args)...); err != nil {
		g.tb.Fatalf("tgtadm %s: %v: %s", args, err, out)
	}
}

// Target makes a target that every initiator sees.
func (g *TGT) Target(tid string) {
	g.tb.Helper()
	g.Run("--op new --mode target --tid " + tid + " -T " + TGTName(tid))
	g.Run("--op bind --mode target --tid " + tid + " -I ALL")
}
