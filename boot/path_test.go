package boot

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// A secret that was refused is not tried again while another target still may
// come, and what is said at the end is why each failed.
func TestFirstOf(t *testing.T) {
	refused := &login.StatusError{Class: 2, Detail: 1}
	targets := []fw.Target{{Name: "locked"}, {Name: "late"}}
	for _, tt := range []struct {
		name      string
		up        int // the attempt at which "late" succeeds
		limit     time.Duration
		lateTries int
		took      time.Duration
	}{
		{"at once", 1, time.Minute, 1, 0},
		{"in the fourth round", 4, time.Minute, 4, 700 * time.Millisecond},
		{"never", 1 << 20, 10 * time.Second, 7, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				tries := map[string]int{}
				began := time.Now()
				path, err := firstOf(ctx, NewConsole(io.Discard, began), targets, tt.limit, func(target fw.Target, wait func()) (*Path, error) {
					tries[target.Name]++
					switch {
					case target.Name == "locked":
						return nil, refused
					case tries[target.Name] < tt.up:
						return nil, unix.ECONNREFUSED
					}
					return &Path{Target: target}, nil
				})
				if tries["locked"] != 1 || tries["late"] != tt.lateTries {
					t.Errorf("tries: %v, want 1 and %d", tries, tt.lateTries)
				}
				if took := time.Since(began); took != tt.took { // the bubble's clock
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if tt.up <= tt.lateTries {
					if err != nil || path.Target.Name != "late" {
						t.Errorf("%v, %v", path, err)
					}
					return
				}
				var step *StepError
				if !errors.As(err, &step) || step.Tries != tt.lateTries || step.Limit != tt.limit {
					t.Errorf("error %#v", err)
				}
				if !errors.Is(err, unix.ECONNREFUSED) || !errors.As(err, &refused) {
					t.Errorf("error %v, want both causes", err)
				}
			})
		})
	}
}

func TestFirstOfEndsWhenNothingCanPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := firstOf(t.Context(), NewConsole(io.Discard, began), []fw.Target{{}, {}}, time.Hour, func(fw.Target, func()) (*Path, error) {
			return nil, session.ErrNoLUN
		})
		if !errors.Is(err, session.ErrNoLUN) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A session that is there already needs no NIC: one that cannot be brought up
// is an error without that session only.
func TestTryTargetAttaches(t *testing.T) {
	plan := &fw.Plan{
		Initiator: fw.Initiator{Name: "iqn.2026-01.net.example:node"},
		NICs:      []fw.NIC{{Name: "there is none"}},
		Timeouts:  fw.Timeouts{Link: time.Millisecond},
	}
	asked := errors.New("the way to the kernel is asked for")
	try := func(name string) error {
		target := fw.Target{Name: "iqn.2026-01.net.example:root", Host: "192.0.2.1", Port: 3260, Session: name}
		console := NewConsole(io.Discard, time.Now())
		nics := nicSet{console: console, plan: plan, up: map[int]*network.Result{}}
		d := &drivers{initiator: func() (*session.Initiator, error) { return nil, asked }}
		_, err := tryTarget(t.Context(), console, plan, target, &nics, d, func() {})
		return err
	}
	if err := try("session3"); !errors.Is(err, asked) {
		t.Errorf("with a session: %v", err)
	}
	if err := try(""); err == nil || errors.Is(err, asked) {
		t.Errorf("without: %v", err)
	}
}

// The state has no NIC and no timers of a session that was there before.
func TestStateOfAttached(t *testing.T) {
	plan := &fw.Plan{}
	path := &Path{
		Target:  fw.Target{Name: "iqn.2026-01.net.example:root", Host: "192.0.2.1", Port: 3260, Session: "session3"},
		Session: &session.Session{SID: 3, Config: session.Default()},
	}
	got := state(NewConsole(io.Discard, time.Now()), "v1", plan, path, "/sbin/init")
	if got.Session != (handoff.Session{SID: 3, Attached: true}) || got.NIC.Name != "" {
		t.Errorf("got %+v", got)
	}
	path.Target.Session, path.NIC, path.NICFrom = "", &network.Result{Name: "eth0"}, "ip="
	got = state(NewConsole(io.Discard, time.Now()), "v1", plan, path, "/sbin/init")
	if got.Session.Attached || got.Session.ReplacementTimeout != 86400 || got.NIC.Name != "eth0" || got.NIC.From != "ip=" {
		t.Errorf("got %+v", got)
	}
}

func TestCanPass(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{unix.ECONNREFUSED, true},
		{context.DeadlineExceeded, true},
		{&session.OpError{Op: "log in", Err: &login.StatusError{Class: 3, Detail: 1}}, true},
		{&session.OpError{Op: "log in", Err: &login.StatusError{Class: 2, Detail: 3}}, false},
		{&login.AuthError{}, false},
		{&login.ProtocolError{}, false},
		{&login.ConfigError{}, false},
		{&configError{errors.New("no such NIC")}, false},
		{session.ErrNoLUN, false},
	} {
		if got := canPass(tt.err); got != tt.want {
			t.Errorf("%T %v: %v", tt.err, tt.err, got)
		}
	}
}
