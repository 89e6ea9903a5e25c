package keep

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/kerneltest"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

// log is a kernel log that can be waited for.
type log struct {
	mu      sync.Mutex
	all     string
	text    string // what says has not taken away
	changed chan struct{}
}

// String returns all of it.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(b)
	l.all += string(b)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(b), nil
}

// scene is a keeper with one session in a kernel that is none.
type scene struct {
	*testing.T
	kernel *kerneltest.Kernel
	keeper *keeper
	log    *log
	other  atomic.Bool // another manager is there
	sid    uint32
	ended  chan struct{} // the keeper has nothing left to keep
}

// newScene logs in to a target. With list, which may have a %d for the session, a
// keeper is started.
func newScene(t *testing.T, cfg session.Config, list string, edit ...func(*scene)) *scene {
	t.Helper()
	k, netlink := kerneltest.New(t)
	in := session.New(kernel.Sysfs(k.Root), netlink, nil)
	sc := &scene{T: t, kernel: k, log: &log{changed: make(chan struct{})}, ended: make(chan struct{})}
	if strings.Contains(list, "%d") {
		s, err := in.Login(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		k.TakeLog()
		sc.sid = s.SID
		list = fmt.Sprintf(list, s.SID)
	}
	sc.keeper = &keeper{
		timing: timing{time.Millisecond, 4 * time.Millisecond, 10 * time.Millisecond, time.Millisecond, time.Hour},
		in:     in, log: sc.log, other: sc.other.Load,
	}
	for _, e := range edit {
		e(sc)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sc.keeper.start(ctx, list)
	go func() {
		sc.keeper.run.Wait()
		close(sc.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-sc.ended
		if t.Failed() {
			t.Log(sc.log)
		}
	})
	return sc
}

// says waits until the log has had each text, in that order, and takes it away.
func (sc *scene) says(texts ...string) {
	sc.Helper()
	timeout := time.After(20 * time.Second)
	for _, text := range texts {
		for {
			sc.log.mu.Lock()
			i := strings.Index(sc.log.text, text)
			if i >= 0 {
				sc.log.text = sc.log.text[i+len(text):]
			}
			changed := sc.log.changed
			sc.log.mu.Unlock()
			if i >= 0 {
				break
			}
			select {
			case <-changed:
			case <-timeout:
				sc.Fatalf("the log has no %q", text)
			}
		}
	}
}

// gone waits until the keeper has nothing left to keep.
func (sc *scene) gone() {
	sc.Helper()
	select {
	case <-sc.ended:
	case <-time.After(20 * time.Second):
		sc.Fatal("the keeper goes on")
	}
}

func config(t *testing.T, target *targettest.Target) session.Config {
	t.Helper()
	c := session.Default()
	c.InitiatorName, c.TargetName = targettest.InitiatorName, targettest.TargetName
	p, err := netip.ParseAddrPort(target.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.Portal = p
	return c
}

const again = "STOP_CONN 3, BIND_CONN, START_CONN"

// A connection that breaks is made anew: with what the kernel knows, and nothing
// that it knows set again, as that may be another manager's doing.
func TestReconnect(t *testing.T) {
	const secret = " with blanks "
	target := targettest.New(t, targettest.Config{Username: "me", Secret: secret, UsernameIn: "you", SecretIn: "secret-of-yours"})
	cfg := config(t, target)
	cfg.CHAP = &login.CHAP{Username: "me", Secret: secret, UsernameIn: "you", SecretIn: "secret-of-yours"}
	cfg.Offer.HeaderDigest = []login.Digest{login.DigestCRC32C}
	cfg.Offer.MaxRecvDataSegmentLength = 65536
	sc := newScene(t, cfg, "session %d 0\n")
	for range 2 { // the second time it knows of the digest from the first
		sc.kernel.Break()
		sc.says("reconnecting to "+cfg.TargetName, "logged in to "+cfg.TargetName)
		log := sc.kernel.TakeLog()
		if got := kerneltest.Commands(log); got != again {
			t.Errorf("commands %s, want %s", got, again)
		}
		text := strings.Join(log, " ")
		if !strings.Contains(text, " 0=65536 ") || !strings.Contains(text, " 2=1 3=0 ") {
			t.Errorf("the parameters %s lack the segment length, or the header digest and none of data", text)
		}
		for _, p := range []string{" 15=", " 19=", " 24=", " 30=", " 31="} {
			if strings.Contains(text, p) {
				t.Errorf("parameter%s is set again", p)
			}
		}
	}
	if strings.Contains(sc.log.String(), "secret") || strings.Contains(sc.log.String(), secret) {
		t.Error("a secret is in the log")
	}
	if n := len(target.Logins()); n < 3 {
		t.Errorf("%d login requests", n)
	}
	sc.kernel.Destroy()
	sc.gone()
}

// At its start a session may be down already.
func TestDownAtStart(t *testing.T) {
	target := targettest.New(t, targettest.Config{})
	sc := newScene(t, config(t, target), "session %d 0\n", func(sc *scene) { sc.kernel.Fail(t) })
	sc.says("is not logged in; reconnecting", "logged in to")
}

// While another manager is there nothing is done; when it goes away what it left
// is repaired.
func TestOtherManager(t *testing.T) {
	target := targettest.New(t, targettest.Config{})
	asked := make(chan struct{}, 10)
	sc := newScene(t, config(t, target), "session %d 0\n", func(sc *scene) {
		sc.other.Store(true)
		sc.keeper.other = func() bool {
			select {
			case asked <- struct{}{}:
			default:
			}
			return sc.other.Load()
		}
	})
	sc.kernel.Break()
	for range cap(asked) + 20 { // after the break
		<-asked
	}
	if log := sc.kernel.TakeLog(); len(log) > 0 {
		t.Errorf("commands %q", log)
	}
	sc.other.Store(false)
	sc.says("reconnecting", "logged in to")

	// What it changed counts.
	second := targettest.New(t, targettest.Config{})
	sc.kernel.Change(func(_, connection string) {
		port := config(t, second).Portal.Port()
		if err := os.WriteFile(filepath.Join(connection, "persistent_port"), fmt.Appendln(nil, port), 0o644); err != nil {
			t.Error(err)
		}
	})
	sc.kernel.Break()
	sc.says("reconnecting", "logged in to", second.Addr())
}

// Another manager that appears in the midst of an attempt has the session from
// then on: no command follows that would disturb it.
func TestStepAside(t *testing.T) {
	for _, tt := range []struct{ at, commands string }{
		{"STOP_CONN", "STOP_CONN 3"},
		{"BIND_CONN", "STOP_CONN 3, BIND_CONN"},
		{"SEND_PDU", "STOP_CONN 3, BIND_CONN"},
		{"refused", "STOP_CONN 3, BIND_CONN"},
	} {
		t.Run(tt.at, func(t *testing.T) {
			var refuse atomic.Bool
			target := targettest.New(t, targettest.Config{Script: func(a *targettest.Answer) {
				if refuse.Load() && a.Login != nil {
					a.Status(0x0301)
				}
			}})
			asked := make(chan struct{}, 1000)
			sc := newScene(t, config(t, target), "session %d 0\n", func(sc *scene) {
				sc.keeper.other = func() bool {
					if sc.other.Load() {
						asked <- struct{}{}
					}
					return sc.other.Load()
				}
			})
			refuse.Store(tt.at == "refused")
			sc.kernel.Before(func(command string) {
				if command == tt.at || tt.at == "refused" && command == "SEND_PDU" {
					sc.other.Store(true)
				}
			})
			sc.kernel.Break()
			for range 20 {
				<-asked
			}
			if got := kerneltest.Commands(sc.kernel.TakeLog()); got != tt.commands {
				t.Errorf("commands %s, want %s", got, tt.commands)
			}
			refuse.Store(false)
			sc.kernel.Before(nil)
			sc.other.Store(false)
			sc.says("logged in to")
		})
	}
}

// Attempts go on until one succeeds; those that somebody has to do something for
// are far apart, and the same failure is told once.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		status uint16
		slow   bool
	}{{0x0201, true}, {0x0202, true}, {0x0203, false}, {0x0301, false}} {
		t.Run(fmt.Sprintf("%04x", tt.status), func(t *testing.T) {
			var refuse atomic.Int32
			target := targettest.New(t, targettest.Config{Lenient: true, Script: func(a *targettest.Answer) {
				if a.Login != nil && refuse.Add(-1) >= 0 {
					a.Status(tt.status)
				}
			}})
			sc := newScene(t, config(t, target), "session %d 0\n", func(sc *scene) { sc.keeper.slow = 200 * time.Millisecond })
			refuse.Store(4)
			began := time.Now()
			sc.kernel.Break()
			sc.says("reconnecting", "trying again", "logged in to")
			if strings.Count(sc.log.String(), "trying again") != 1 {
				t.Error("the same is told twice")
			}
			if took := time.Since(began); tt.slow && took < 4*150*time.Millisecond {
				t.Errorf("four attempts in %v", took)
			}
		})
	}
}

// A kernel's word that was lost is made up for by a look.
func TestLostEvents(t *testing.T) {
	target := targettest.New(t, targettest.Config{})
	sc := newScene(t, config(t, target), "session %d 0\n")
	sc.kernel.Fail(t)
	sc.kernel.Lose()
	sc.says("is not logged in; reconnecting", "logged in to")
}

// Asynchronous messages: to log out, and to wait.
func TestAsync(t *testing.T) {
	for _, tt := range []struct {
		event    uint8
		commands string
	}{
		{pdu.AsyncLogout, "SEND_PDU, " + again},
		{pdu.AsyncRenegotiate, "SEND_PDU, " + again},
		{pdu.AsyncDropConnection, again},
		{pdu.AsyncDropSession, again},
	} {
		t.Run(fmt.Sprint(tt.event), func(t *testing.T) {
			target := targettest.New(t, targettest.Config{})
			sc := newScene(t, config(t, target), "session %d 0\n")
			sc.kernel.Hand(pdu.Async{Event: pdu.AsyncSCSI}.Marshal()) // of no interest
			sc.kernel.Hand(pdu.Async{Event: 255}.Marshal())
			sc.kernel.Hand(pdu.Async{Event: tt.event, Parameter3: 5}.Marshal())
			sc.says(fmt.Sprintf("asynchronous message %d of the target; reconnecting", tt.event), "logged in to")
			log := sc.kernel.TakeLog()
			got := kerneltest.Commands(log)
			if log[0] == "SEND_PDU" { // the Logout Request, before all else
				got = "SEND_PDU, " + got
			}
			if got != tt.commands {
				t.Errorf("commands %s, want %s", got, tt.commands)
			}
			logouts := 0
			for _, p := range target.Requests() {
				if _, err := pdu.ParseLogoutRequest(p); err == nil {
					logouts++
				}
			}
			if want := strings.Count(tt.commands, "SEND_PDU"); logouts != want {
				t.Errorf("%d logouts, want %d", logouts, want)
			}
		})
	}
}

// A path that was not there while the machine booted: its disk is looked for by
// its LUN, and it is logged out again as long as there is none.
func TestPath(t *testing.T) {
	target := targettest.New(t, targettest.Config{Username: "me", Secret: "secret-of-mine"})
	record := fmt.Sprintf("# BEGIN RECORD\nnode.name = %s\nnode.tpgt = 1\niface.initiatorname = %s\nnode.conn[0].address = 127.0.0.1\nnode.conn[0].port = %d\n"+
		"node.session.auth.username = me\nnode.session.auth.password = secret-of-mine\nnode.session.timeo.replacement_timeout = 77\n# END RECORD\n",
		targettest.TargetName, targettest.InitiatorName, config(t, target).Portal.Port())
	sc := newScene(t, session.Config{}, "path 5 0 0\n"+record)
	sc.says("host3/scan", "trying again") // the stand-in has no SCSI hosts
	sc.kernel.Await(t, "DESTROY_SESSION")
	log := strings.Join(sc.kernel.TakeLog(), " ")
	for _, want := range []string{"22=me ", "24=secret-of-mine ", "19=77 ", "START_CONN UNBIND_SESSION"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	if strings.Contains(sc.log.String(), "secret-of") {
		t.Error("a secret is in the log")
	}
}

func TestList(t *testing.T) {
	for _, list := range []string{"session 1\n", "session x y z\n", "nonsense\n", "path 1\nnode.name = secret\n", "lease 1 2 3\n"} {
		sc := newScene(t, session.Config{}, list)
		sc.says("is not understood")
		sc.gone()
		if strings.Contains(sc.log.String(), "secret") {
			t.Error("a secret is in the log")
		}
	}
	sc := newScene(t, session.Config{}, "session 4711 0\n")
	sc.says("session 4711 is not kept")
	sc.gone()
	newScene(t, session.Config{}, "\n\n").gone()
}

func TestOtherManagerInProc(t *testing.T) {
	const head = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
	row := func(protocol, pid int, groups uint32) string {
		return fmt.Sprintf("00000000abcdef01 %-3d %-10d %08x 0        0        0     2        0        4711\n", protocol, pid, groups)
	}
	own := row(unix.NETLINK_ISCSI, 300, 1)
	none := head + row(0, 1, 0x7ff) + row(unix.NETLINK_ISCSI, 0, 0) + own
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"nobody", none, false},
		{"iscsid", none + row(unix.NETLINK_ISCSI, 812, 1), true},
		{"iscsid and others' groups", none + row(unix.NETLINK_ISCSI, 812, 3), true},
		{"iscsiuio", none + row(unix.NETLINK_ISCSI, 812, 2), false},
		{"a number like ours", none + row(unix.NETLINK_ISCSI, 3000, 1), true},
		{"another keeper", none + row(unix.NETLINK_ISCSI, 900, 1), false},
		{"another protocol", none + row(unix.NETLINK_KOBJECT_UEVENT, 812, 1), false},
		{"empty", "", false},
		{"cut", none[:len(none)-80], false},
	} {
		if got := otherManager(tt.text, 300, func(pid string) bool { return pid == "900" }); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// The socket of this process is the one that the kernel's table names.
func TestOwnSocket(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_USERSOCK)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		t.Fatal(err)
	}
	netlink, err := kernel.New(os.NewFile(uintptr(fd), "netlink"), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer netlink.Close()
	port, err := netlink.Port()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/net/netlink")
	if err != nil {
		t.Skip(err)
	}
	if !strings.Contains(string(text), fmt.Sprintf(" %-3d %-10d %08x ", unix.NETLINK_USERSOCK, port, 1)) {
		t.Errorf("no socket %d in\n%s", port, text)
	}
}

func TestDHCPClient(t *testing.T) {
	const udp = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	const packet = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
	l := lease{nic: 7, address: netip.MustParseAddr("10.7.0.9")}
	for _, tt := range []struct {
		name, udp, packet string
		want              bool
	}{
		{"nobody", udp + " 1: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000\n", packet, false},
		{"any address", udp + " 1: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000\n", packet, true},
		{"this address", udp + " 1: 0900070A:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000\n", packet, true},
		{"another NIC's address", udp + " 1: 0A00080A:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000\n", packet, false},
		{"a packet socket", udp, packet + "0000000000000000 3      2    0800   7     1 0      0      4711\n", true},
		{"another NIC's", udp, packet + "0000000000000000 3      2    0800   8     1 0      0      4711\n", false},
		{"a sniffer", udp, packet + "0000000000000000 3      3    0003   7     1 0      0      4711\n", false},
	} {
		if got := l.clientIn([]byte(tt.udp), []byte(tt.packet)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
