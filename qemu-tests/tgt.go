package qemutests

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Target is what a software target is to serve.
type Target struct {
	Name  string // iSCSI name
	Image string // the logical unit
	LUN   int
	Units map[int]string // the images of more logical units, by LUN
	// CHAP; the names ending in In are those by which the target proves itself.
	Username, Secret     string
	UsernameIn, SecretIn string

	Initiator string // the only one that may log in; empty: every one
	// Redirect is the address and port to which tgt sends who logs in.
	Redirect string
	Digest   string // of headers and data: CRC32C
}

// TGT is a running tgtd.
type TGT struct {
	Port   int                        // on the host's loopback
	Admin  func(args ...string) error // tgtadm, while it runs
	cancel context.CancelFunc
	done   chan struct{}
	again  func(context.Context) (*TGT, error) // starts it as it was started
}

// StartTGT starts a tgtd of its own, with its log and its control socket in
// dir, which serves the targets on one free port of the loopback.
func StartTGT(ctx context.Context, dir string, targets ...Target) (*TGT, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return startTGT(ctx, exec.CommandContext, port, portals(port), dir, targets...)
}

// portals is tgtd's option for both loopbacks, as far as the host has IPv6, and
// for the address that machines know it by where the host itself has that.
func portals(port int) string {
	option := fmt.Sprintf("portal=127.0.0.1:%d", port)
	if hasIPv6() {
		option += fmt.Sprintf(",portal=[::1]:%d", port)
	}
	if l, err := net.Listen("tcp4", HostAddress+":0"); err == nil {
		l.Close()
		option += fmt.Sprintf(",portal=%s:%d", HostAddress, port)
	}
	return option
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// startTGT is StartTGT on portals that are given: tgtd's option, and the port
// that TGT says. command makes the process, where it is to run.
func startTGT(ctx context.Context, command func(context.Context, string, ...string) *exec.Cmd, port int, portals, dir string, targets ...Target) (*TGT, error) {
	log, err := os.Create(filepath.Join(dir, "tgtd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	env := append(os.Environ(), "TGT_IPC_SOCKET="+filepath.Join(dir, "tgtd.socket"))
	// tgtd ignores SIGTERM while it has targets; CommandContext kills it.
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx, "tgtd", "-f", "--iscsi", portals)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test that is killed
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	tgt := &TGT{Port: port, cancel: cancel, done: make(chan struct{}), again: func(ctx context.Context) (*TGT, error) {
		return startTGT(ctx, command, port, portals, dir, targets...)
	}}
	go func() {
		defer close(tgt.done)
		_ = cmd.Wait() // it is always killed
	}()
	admin := func(args ...string) error {
		c := exec.CommandContext(ctx, "tgtadm", append([]string{"--lld", "iscsi"}, args...)...)
		c.Env = env
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("tgtadm %q: %w: %s", args, err, out)
		}
		return nil
	}
	tgt.Admin = admin
	err = tgt.await(ctx, admin)
	for i := 0; i < len(targets) && err == nil; i++ {
		err = targets[i].define(strconv.Itoa(i+1), admin)
	}
	if err != nil {
		tgt.Close()
		return nil, err
	}
	return tgt, nil
}

// await returns once tgtd answers.
func (t *TGT) await(ctx context.Context, admin func(...string) error) error {
	const limit = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := admin("--op", "show", "--mode", "target")
		if err == nil {
			return nil
		}
		select {
		case <-t.done:
			return fmt.Errorf("tgtd ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("tgtd did not answer for %v: %w", limit, err)
		case <-tick.C:
		}
	}
}

// define makes the target known to tgtd by the number tid.
func (t Target) define(tid string, admin func(...string) error) error {
	steps := [][]string{
		{"--mode", "target", "--op", "new", "--tid", tid, "--targetname", t.Name},
		{"--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", strconv.Itoa(t.LUN), "-b", t.Image},
	}
	for lun, image := range t.Units {
		steps = append(steps, []string{"--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", strconv.Itoa(lun), "-b", image})
	}
	if t.Digest != "" {
		for _, key := range []string{"HeaderDigest", "DataDigest"} {
			steps = append(steps, []string{"--mode", "target", "--op", "update", "--tid", tid, "-n", key, "-v", t.Digest})
		}
	}
	if t.Initiator != "" {
		steps = append(steps, []string{"--mode", "target", "--op", "bind", "--tid", tid, "-Q", t.Initiator})
	} else {
		steps = append(steps, []string{"--mode", "target", "--op", "bind", "--tid", tid, "-I", "ALL"})
	}
	if host, port, ok := strings.Cut(t.Redirect, ":"); ok {
		for _, set := range []string{"RedirectAddress=" + host, "RedirectPort=" + port, "RedirectReason=Temporary"} {
			name, value, _ := strings.Cut(set, "=")
			steps = append(steps, []string{"--mode", "target", "--op", "update", "--tid", tid, "-n", name, "-v", value})
		}
	}
	if t.Username != "" {
		steps = append(steps,
			[]string{"--mode", "account", "--op", "new", "--user", t.Username, "--password", t.Secret},
			[]string{"--mode", "account", "--op", "bind", "--tid", tid, "--user", t.Username})
	}
	if t.UsernameIn != "" {
		steps = append(steps,
			[]string{"--mode", "account", "--op", "new", "--user", t.UsernameIn, "--password", t.SecretIn},
			[]string{"--mode", "account", "--op", "bind", "--tid", tid, "--user", t.UsernameIn, "--outgoing"})
	}
	for _, step := range steps {
		if err := admin(step...); err != nil {
			return err
		}
	}
	return nil
}

// Close kills the target and waits for its end.
func (t *TGT) Close() {
	t.cancel()
	<-t.done
}

// Restart kills the target, and starts it again on its port after a while.
func (t *TGT) Restart(ctx context.Context, away time.Duration) error {
	t.Close()
	if err := wait(ctx, away); err != nil {
		return err
	}
	next, err := t.again(ctx)
	if err == nil {
		*t = *next
	}
	return err
}

// freePort returns a port of the loopback on which nothing listens now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
