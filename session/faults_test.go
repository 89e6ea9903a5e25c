package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/targettest"
)

// The faults of these tests are a proxy's, in front of tgt.

// held is what a process holds on to.
type held struct{ goroutines, sockets int }

func holds(t *testing.T) held {
	t.Helper()
	const folder = "/proc/self/fd"
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	h := held{goroutines: runtime.NumGoroutine()}
	for _, f := range files {
		if to, _ := os.Readlink(folder + "/" + f.Name()); strings.HasPrefix(to, "socket:") {
			h.sockets++
		}
	}
	return h
}

// settles waits until no more is held than before.
func settles(t *testing.T, before held) {
	t.Helper()
	const limit = 20 * time.Second
	deadline := time.After(limit)
	for {
		now := holds(t)
		if now.goroutines <= before.goroutines && now.sockets <= before.sockets {
			return
		}
		select {
		case <-deadline:
			stacks := make([]byte, 1<<16)
			t.Fatalf("after %v %+v are held, %+v were before:\n%s", limit, now, before, stacks[:runtime.Stack(stacks, true)])
		case <-time.After(time.Millisecond):
		}
	}
}

// spoiled is a target of tgt behind a proxy whose fault can be changed.
type spoiled struct {
	t     *testing.T
	tgt   *targettest.TGT
	proxy *targettest.Proxy
	fault atomic.Pointer[targettest.Fault] // of the connections to come
	cfg   Config
}

// newSpoiled makes a target that wants mutual CHAP, or nothing.
func newSpoiled(t *testing.T, chap bool) *spoiled {
	t.Helper()
	s := &spoiled{t: t, tgt: targettest.StartTGT(t), cfg: Default()}
	s.tgt.Target("1")
	s.cfg.InitiatorName, s.cfg.TargetName = "iqn.2001-04.com.example:initiator", targettest.TGTName("1")
	if chap {
		s.cfg.CHAP = &login.CHAP{
			Username: "node", Secret: "secret-of-the-node", UsernameIn: "disk", SecretIn: "secret-of-the-disk",
			Algorithms: []login.Algorithm{login.MD5}, // that tgt is right about
		}
		for account, option := range map[string]string{"node --password secret-of-the-node": "", "disk --password secret-of-the-disk": " --outgoing"} {
			s.tgt.Run("--op new --mode account --user " + account)
			s.tgt.Run("--op bind --mode account --tid 1 --user " + strings.Fields(account)[0] + option)
		}
	}
	s.renew()
	return s
}

// renew starts a new proxy, which spoils nothing yet.
func (s *spoiled) renew() {
	s.t.Helper()
	s.fault.Store(&targettest.Fault{To: s.tgt.Portal})
	proxy, err := targettest.StartProxy(func(int) targettest.Fault { return *s.fault.Load() })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(proxy.Close)
	s.proxy, s.cfg.Portal = proxy, netip.MustParseAddrPort(proxy.Addr().String())
}

// cut has a connection end at a byte.
func (s *spoiled) cut(end targettest.End, at targettest.Passed) {
	s.fault.Store(&targettest.Fault{To: s.tgt.Portal, End: end, At: at})
}

// last returns what has passed of the latest connection.
func (s *spoiled) last() targettest.Passed {
	passed := s.proxy.Passed()
	return passed[len(passed)-1]
}

// good logs in, and out again, and returns what passed until each.
func (s *spoiled) good(in *Initiator) (login, logout targettest.Passed) {
	s.t.Helper()
	s.fault.Store(&targettest.Fault{To: s.tgt.Portal})
	session, err := in.Login(s.t.Context(), s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	login = s.last()
	if err := session.Logout(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return login, s.last()
}

// eachByte makes an attempt for each byte from the first to before the last at
// which a connection can be reset, and for some at which it can be closed.
func (s *spoiled) eachByte(first, last targettest.Passed, attempt func(fault string)) {
	s.t.Helper()
	before := holds(s.t)
	for _, way := range []struct {
		name string
		end  targettest.End
		step int
	}{{"reset", targettest.Reset, 1}, {"close", targettest.Close, 7}} {
		for n := first.Requests; n < last.Requests; n += way.step {
			s.cut(way.end, targettest.AtRequest(n))
			attempt(fmt.Sprintf("%s at byte %d of the requests", way.name, n))
			settles(s.t, before)
		}
		for n := first.Answers; n < last.Answers; n += way.step {
			s.cut(way.end, targettest.AtAnswer(n))
			attempt(fmt.Sprintf("%s at byte %d of the answers", way.name, n))
			settles(s.t, before)
		}
	}
}

// missed says that the latest connection was too short for its fault: in CHAP
// the length of a number is a matter of chance.
func (s *spoiled) missed() bool {
	at, passed := s.fault.Load().At, s.last()
	return passed.Requests < at.Requests || passed.Answers < at.Answers
}

// passing wants an error that a later attempt may not meet, and that shows no secret.
func (s *spoiled) passing(fault string, err error) {
	s.t.Helper()
	switch {
	case err == nil:
		s.t.Errorf("%s: no error", fault)
	case Retry(err) != Normally:
		s.t.Errorf("%s: %v: it is not tried again at once", fault, err)
	case strings.Contains(err.Error(), "secret-of"):
		s.t.Errorf("%s: the error shows a secret: %v", fault, err)
	}
}

// forgets waits until tgt has no session.
func (s *spoiled) forgets() {
	s.t.Helper()
	const limit = 20 * time.Second
	for deadline := time.Now().Add(limit); ; {
		out, err := s.tgt.Adm("--op", "show", "--mode", "target")
		if err == nil && !strings.Contains(out, "I_T nexus:") {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("tgt has sessions after %v: %v\n%s", limit, err, out)
		}
	}
}

func TestLoginCutAtEachByte(t *testing.T) {
	for name, chap := range map[string]bool{"no authentication": false, "mutual CHAP": true} {
		t.Run(name, func(t *testing.T) {
			s := newSpoiled(t, chap)
			k, in := newFakeKernel(t)
			end, _ := s.good(in)
			s.eachByte(targettest.Passed{}, end, func(fault string) {
				session, err := in.Login(t.Context(), s.cfg)
				if err == nil && s.missed() {
					if err := session.Logout(t.Context()); err != nil {
						t.Fatal(err)
					}
				} else {
					s.passing(fault, err)
				}
				if left := k.Left(); left != "" {
					t.Fatalf("%s: left in the kernel: %s", fault, left)
				}
			})
			s.forgets()
			s.good(in)
		})
	}
}

// A logout that is cut is one all the same.
func TestLogoutCutAtEachByte(t *testing.T) {
	s := newSpoiled(t, false)
	k, in := newFakeKernel(t)
	login, logout := s.good(in)
	login.Requests, login.Answers = login.Requests+1, login.Answers+1 // till there the login can fail
	s.eachByte(login, logout, func(fault string) {
		session, err := in.Login(t.Context(), s.cfg)
		if err == nil {
			err = session.Logout(t.Context())
		}
		if left := k.Left(); err != nil || left != "" {
			t.Fatalf("%s: %v; left in the kernel: %s", fault, err, left)
		}
	})
	s.forgets()
}

// Nothing is asked of the target of a session that the kernel has lost: its
// disks would wait for an answer until the replacement timeout.
func TestLogoutOfLostSession(t *testing.T) {
	k, in := newFakeKernel(t)
	session, err := in.Login(t.Context(), config(t, targettest.New(t, targettest.Config{})))
	if err != nil {
		t.Fatal(err)
	}
	k.TakeLog()
	state := filepath.Join(k.Root, fmt.Sprintf("class/iscsi_session/session%d/state", session.SID))
	if err := os.WriteFile(state, []byte("FAILED\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = "STOP_CONN 1, STOP_CONN 1, DESTROY_CONN, DESTROY_SESSION"
	if got := strings.Join(k.TakeLog(), ", "); got != want {
		t.Errorf("commands %s, want %s", got, want)
	}
}

// A session whose reconnection is cut stays, and comes back when it is not.
func TestReconnectCutAtEachByte(t *testing.T) {
	s := newSpoiled(t, false)
	k, in := newFakeKernel(t)
	login, _ := s.good(in)
	session, err := in.Login(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Reconnect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.eachByte(targettest.Passed{}, login, func(fault string) {
		s.passing(fault, session.Reconnect(t.Context(), nil))
		if left := k.Left(); !strings.Contains(left, "session:true conn:true bound:false") {
			t.Fatalf("%s: in the kernel is %s", fault, left)
		}
	})
	s.fault.Store(&targettest.Fault{To: s.tgt.Portal})
	if err := session.Reconnect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.forgets()
}

func TestDiscoveryCutAtEachByte(t *testing.T) {
	s := newSpoiled(t, false)
	list, err := Discover(t.Context(), s.cfg)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	const logout = 48 // bytes, each way
	all := s.last()
	s.eachByte(targettest.Passed{}, targettest.Passed{Requests: all.Requests - logout, Answers: all.Answers - logout}, func(fault string) {
		_, err := Discover(t.Context(), s.cfg)
		s.passing(fault, err)
	})
	s.eachByte(targettest.Passed{Requests: all.Requests - logout + 1, Answers: all.Answers - logout + 1}, all, func(fault string) {
		if again, err := Discover(t.Context(), s.cfg); err != nil || len(again) != 1 {
			t.Errorf("%s: %v, %v", fault, again, err)
		}
	})
	s.forgets()
}

// A target that takes the connection and then says nothing, or too late, costs
// the time that an attempt has, and leaves nothing.
func TestSilence(t *testing.T) {
	s := newSpoiled(t, false)
	k, in := newFakeKernel(t)
	half := targettest.Fault{To: s.tgt.Portal, End: targettest.Silence}
	at := func(at targettest.Passed) targettest.Fault { f := half; f.At = at; return f }
	for _, tt := range []struct {
		name  string
		fault targettest.Fault
	}{
		{"nobody there", targettest.Fault{}},
		{"half-open after the handshake", half},
		{"half-open in a request", at(targettest.AtRequest(100))},
		{"half-open after the request", at(targettest.AtAnswer(0))},
		{"half-open in the answer's header", at(targettest.AtAnswer(47))},
		{"half-open in its data", at(targettest.AtAnswer(100))},
		{"the answer comes late", targettest.Fault{To: s.tgt.Portal, Delay: 400 * time.Millisecond}},
	} {
		for what, attempt := range map[string]func(context.Context, Config) error{
			"login":     func(ctx context.Context, cfg Config) error { _, err := in.Login(ctx, cfg); return err },
			"discovery": func(ctx context.Context, cfg Config) error { _, err := Discover(ctx, cfg); return err },
		} {
			t.Run(tt.name+", "+what, func(t *testing.T) {
				s.t = t
				before := holds(t)
				s.renew()
				s.fault.Store(&tt.fault)
				cfg := s.cfg
				cfg.Timers.Login = 200 * time.Millisecond
				err := attempt(t.Context(), cfg)
				s.passing(tt.name, err)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the error is %v", err)
				}
				if left := k.Left(); left != "" {
					t.Errorf("left in the kernel: %s", left)
				}
				s.proxy.Close()
				settles(t, before)
				s.renew()
				s.good(in)
				s.proxy.Close()
			})
		}
	}
	s.t = t
	s.forgets()
}
