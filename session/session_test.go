package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/kerneltest"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/targettest"
)

func newFakeKernel(t *testing.T) (*kerneltest.Kernel, *Initiator) {
	t.Helper()
	k, netlink := kerneltest.New(t)
	return k, New(kernel.Sysfs(k.Root), netlink, func(s string) { t.Log("note:", s) })
}

func config(t *testing.T, target *targettest.Target) Config {
	t.Helper()
	c := Default()
	c.InitiatorName = "iqn.2001-04.com.example:initiator"
	c.TargetName = targettest.TargetName
	c.Portal = portal(t, target)
	return c
}

func portal(t *testing.T, target *targettest.Target) netip.AddrPort {
	t.Helper()
	p, err := netip.ParseAddrPort(target.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLogin(t *testing.T) {
	target := targettest.New(t, targettest.Config{
		Username: "me", Secret: "secret-of-mine", UsernameIn: "you", SecretIn: "secret-of-yours", StatSN: 100,
	})
	k, in := newFakeKernel(t)
	k.RefuseWith("SET_PARAM 35", unix.ENOSYS) // a kernel without TGT_RESET_TMO
	cfg := config(t, target)
	cfg.CHAP = &login.CHAP{Username: "me", Secret: "secret-of-mine", UsernameIn: "you", SecretIn: "secret-of-yours"}
	cfg.Offer.HeaderDigest = []login.Digest{login.DigestCRC32C, login.DigestNone}
	s, err := in.Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.SID != 0xa1b2c3 || s.HostNo != 3 || s.Portal != cfg.Portal {
		t.Errorf("session %#x, host %d, portal %v", s.SID, s.HostNo, s.Portal)
	}
	want := []string{
		"CREATE_SESSION", "CREATE_CONN", "BIND_CONN",
		"15=" + targettest.TargetName, "17=127.0.0.1", fmt.Sprintf("18=%d", cfg.Portal.Port()), "19=86400",
		"22=me", "23=you", "24=secret-of-mine", "25=secret-of-yours", "26=1", "27=15", "28=30", "35=30",
		"30=0", "31=0", "32=default", "34=iqn.2001-04.com.example:initiator", "43=0",
		"SEND_PDU", "SEND_PDU", "SEND_PDU", "SEND_PDU",
		"0=262144", fmt.Sprintf("1=%d", s.MaxXmitDataSegmentLength), "2=1", "3=0", "4=0", "5=1", "6=1",
		fmt.Sprintf("7=%d", s.FirstBurstLength), fmt.Sprintf("8=%d", s.MaxBurstLength), "9=1", "10=1", "11=0",
		"14=104", fmt.Sprintf("16=%d", s.TargetPortalGroupTag), "START_CONN",
	}
	if diff := cmp.Diff(want, k.TakeLog()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	pinned, err := os.ReadFile(filepath.Join(k.Root, "class/iscsi_session/session10597059/recovery_tmo"))
	if err != nil || string(pinned) != "86400" {
		t.Errorf("recovery_tmo is %q, error %v", pinned, err)
	}
	first := target.Requests()[0]
	if got, want := first.Header[8:14], []byte{0x00, 0x02, 0x3d, 0xa1, 0xb2, 0xc3}; string(got) != string(want) {
		t.Errorf("ISID % x, want % x", got, want)
	}

	if err := s.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(k.TakeLog(), ", "), "UNBIND_SESSION, SEND_PDU, STOP_CONN 1, DESTROY_CONN, DESTROY_SESSION"; got != want {
		t.Errorf("logout: %s, want %s", got, want)
	}
}

// A preference among digests asks for no authentication.
func TestAlgorithmsAlone(t *testing.T) {
	target := targettest.New(t, targettest.Config{})
	_, in := newFakeKernel(t)
	cfg := config(t, target)
	if err := cfg.Set("node.session.auth.chap_algs", "SHA256"); err != nil {
		t.Fatal(err)
	}
	s, err := in.Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Config.CHAP != nil || s.Exchanges != 1 {
		t.Errorf("CHAP %v, %d exchanges", s.Config.CHAP, s.Exchanges)
	}
}

// Whatever fails, nothing of the attempt is left, and the error says what.
func TestFailureLeavesNothing(t *testing.T) {
	const undone = "STOP_CONN 1, DESTROY_CONN, DESTROY_SESSION"
	tests := []struct {
		refuse, op string
		commands   string
	}{
		{"CREATE_SESSION", "create session", "CREATE_SESSION"},
		{"CREATE_CONN", "create connection", "CREATE_SESSION, CREATE_CONN, " + undone},
		{"BIND_CONN", "bind", "CREATE_SESSION, CREATE_CONN, BIND_CONN, " + undone},
		{"SET_PARAM 15", "set parameter", "CREATE_SESSION, CREATE_CONN, BIND_CONN, " + undone},
		{"SEND_PDU", "log in", "CREATE_SESSION, CREATE_CONN, BIND_CONN, " + undone},
		{"SET_PARAM 16", "set parameter", "CREATE_SESSION, CREATE_CONN, BIND_CONN, " + undone},
		{"START_CONN", "start", "CREATE_SESSION, CREATE_CONN, BIND_CONN, START_CONN, " + undone},
	}
	for _, test := range tests {
		t.Run(test.refuse, func(t *testing.T) {
			target := targettest.New(t, targettest.Config{})
			k, in := newFakeKernel(t)
			k.RefuseWith(test.refuse, unix.EIO)
			_, err := in.Login(t.Context(), config(t, target))
			var op *OpError
			if !errors.As(err, &op) || op.Op != test.op || !errors.Is(err, unix.EIO) {
				t.Errorf("error %v, want op %q and EIO", err, test.op)
			}
			if got := kerneltest.Commands(k.TakeLog()); got != test.commands {
				t.Errorf("commands %s, want %s", got, test.commands)
			}
			if left := k.Left(); left != "" {
				t.Errorf("left in the kernel: %s", left)
			}
		})
	}
}

func TestTargetFaultsLeaveNothing(t *testing.T) {
	tests := []struct {
		name   string
		script targettest.Script
		is     func(error) bool
	}{
		{"refused", targettest.Refuse(0x0203), func(err error) bool {
			var status *login.StatusError
			return errors.As(err, &status) && status.Class == 2 && status.Detail == 3
		}},
		{"closed", func(a *targettest.Answer) { a.Cut = 1 }, func(err error) bool {
			var conn kernel.ConnError
			return errors.As(err, &conn) && conn == kernel.TCPConnClose
		}},
		{"silent", func(a *targettest.Answer) { a.Stall = true }, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
		{"redirected for ever", nil, func(err error) bool {
			var moved *login.RedirectError
			return errors.As(err, &moved) && strings.Contains(err.Error(), "gave up after 8 redirects")
		}},
		{"redirected to a name", targettest.Redirect(0x0101, "storage.example.com:3260"), func(err error) bool {
			return strings.Contains(err.Error(), "storage.example.com:3260") && strings.Contains(err.Error(), "not an address")
		}},
		{"redirected to nowhere", targettest.Redirect(0x0102, "0.0.0.0"), func(err error) bool {
			var moved *login.RedirectError
			return errors.As(err, &moved)
		}},
		{"redirected to a dead portal", targettest.Redirect(0x0101, "127.0.0.1:1"), func(err error) bool {
			return errors.Is(err, unix.ECONNREFUSED) && strings.Contains(err.Error(), "follow its redirect to 127.0.0.1:1")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var target *targettest.Target
			script := test.script
			if script == nil {
				script = func(a *targettest.Answer) { targettest.Redirect(0x0101, target.Addr())(a) }
			}
			target = targettest.New(t, targettest.Config{Script: script})
			k, in := newFakeKernel(t)
			cfg := config(t, target)
			if test.name == "silent" {
				cfg.Timers.Login = 50 * time.Millisecond
			}
			_, err := in.Login(t.Context(), cfg)
			if err == nil || !test.is(err) {
				t.Errorf("error %v", err)
			}
			if left := k.Left(); left != "" {
				t.Errorf("left in the kernel: %s", left)
			}
		})
	}
}

func TestDeadPortalCostsNothing(t *testing.T) {
	k, in := newFakeKernel(t)
	cfg := Default()
	cfg.InitiatorName, cfg.TargetName = "iqn.2001-04.com.example:initiator", targettest.TargetName
	cfg.Portal = netip.MustParseAddrPort("127.0.0.1:1")
	_, err := in.Login(t.Context(), cfg)
	var op *OpError
	if !errors.As(err, &op) || op.Op != "connect" || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
	if log := k.TakeLog(); len(log) != 0 {
		t.Errorf("the kernel was asked for %v", log)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := targettest.New(t, targettest.Config{Script: func(a *targettest.Answer) {
		a.Stall = true
		cancel()
	}})
	k, in := newFakeKernel(t)
	_, err := in.Login(ctx, config(t, target))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left := k.Left(); left != "" {
		t.Errorf("left in the kernel: %s", left)
	}
}

func TestConfigIsChecked(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
	}{
		{"no initiator", func(c *Config) { c.InitiatorName = "" }},
		{"no target", func(c *Config) { c.TargetName = "" }},
		{"no portal", func(c *Config) { c.Portal = netip.AddrPort{} }},
		{"no time", func(c *Config) { c.Timers.Login = 0 }},
	}
	for _, test := range tests {
		cfg := Default()
		cfg.InitiatorName, cfg.TargetName, cfg.Portal = "iqn.a", "iqn.b", netip.MustParseAddrPort("192.0.2.1:3260")
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		test.change(&cfg)
		if cfg.check() == nil {
			t.Errorf("%s: no error", test.name)
		}
	}
}
