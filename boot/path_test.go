package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
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

// split takes those apart that are there.
func split(all []*Path) (there []*Path, missing []fw.Target) {
	for _, p := range all {
		if p.Session != nil {
			there = append(there, p)
		} else {
			missing = append(missing, p.Target)
		}
	}
	return there, missing
}

// fakePaths follows ways that end as try says, with the NICs all up.
func fakePaths(ctx context.Context, cancel context.CancelFunc, plan *fw.Plan, limit time.Duration, try func(fw.Target) (*Path, error)) *paths {
	c := NewConsole(io.Discard, time.Now())
	return newPaths(c, newNICSet(c, plan, nil, nil), limit, cancel, func(ctx context.Context, t fw.Target, wait func()) (*Path, error) {
		wait()
		path, err := try(t)
		if path != nil {
			path.Target = t
		}
		return path, err
	})
}

// However soon the time is up, the error says what was tried.
func TestPathsTimeIsUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := fakePaths(ctx, cancel, &fw.Plan{Targets: []fw.Target{{Name: "late"}}}, 0, func(fw.Target) (*Path, error) {
		return nil, unix.ECONNREFUSED
	})
	if path, err := p.first(ctx); path != nil || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v, %v", path, err)
	}
}

// A secret that was refused is not tried again at speed while another target
// still may come, and what is said at the end is why each failed.
func TestPathsTryAgain(t *testing.T) {
	refused := &login.StatusError{Class: 2, Detail: 1}
	plan := &fw.Plan{Targets: []fw.Target{{Name: "locked"}, {Name: "late"}}}
	for _, tt := range []struct {
		name     string
		up       int // the attempt at which "late" succeeds
		least    time.Duration
		most     time.Duration
		limit    time.Duration
		tries    int
		tryMost  int
		succeeds bool
	}{
		{"at once", 1, 0, 0, time.Minute, 1, 1, true},
		{"at the fourth attempt", 4, 525 * time.Millisecond, 875 * time.Millisecond, time.Minute, 4, 4, true},
		{"never", 1 << 20, 10 * time.Second, 10 * time.Second, 10 * time.Second, 6, 9, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				var mu sync.Mutex
				tries := map[string]int{}
				p := fakePaths(ctx, cancel, plan, tt.limit, func(target fw.Target) (*Path, error) {
					mu.Lock()
					defer mu.Unlock()
					tries[target.Name]++
					switch {
					case target.Name == "locked":
						return nil, refused
					case tries[target.Name] < tt.up:
						return nil, unix.ECONNREFUSED
					}
					return &Path{Session: &session.Session{}}, nil
				})
				began := time.Now()
				path, err := p.first(ctx)
				if took := time.Since(began); took < tt.least || took > tt.most { // the bubble's clock
					t.Errorf("it took %v, want %v to %v", took, tt.least, tt.most)
				}
				there, missing := split(p.finish(time.Minute))
				if n := tries["late"]; tries["locked"] != 1 || n < tt.tries || n > tt.tryMost {
					t.Errorf("tries: %v, want 1 and %d", tries, tt.tries)
				}
				if tt.succeeds {
					if err != nil || path.Target.Name != "late" || len(there) != 1 || len(missing) != 1 || missing[0].Name != "locked" {
						t.Errorf("%v, %v, there %v, missing %v", path, err, there, missing)
					}
					return
				}
				var step *StepError
				if !errors.As(err, &step) || step.Tries != tries["late"] || step.Limit != tt.limit || step.Final {
					t.Errorf("error %#v", err)
				}
				if !errors.Is(err, unix.ECONNREFUSED) || !errors.As(err, &refused) {
					t.Errorf("error %v, want both causes", err)
				}
			})
		})
	}
}

// What this machine would only do again ends the boot at once, as does what
// somebody has to mend first when the deadline is near. Without a deadline that
// is tried again, slowly, and another path that is there does not wait for it.
func TestPathsEndWhenNoneCanPass(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		limit time.Duration
		up    int // the attempt that succeeds; 0: none
		least time.Duration
		most  time.Duration
	}{
		{"a bad parameter", &login.ConfigError{}, time.Hour, 0, 0, 0},
		{"a closed door, and little time", &login.StatusError{Class: 2, Detail: 2}, 10 * time.Second, 0, 0, 0},
		{"a closed door, until it opens", &login.StatusError{Class: 2, Detail: 2}, 0, 3, 45 * time.Second, 76 * time.Second},
		{"a secret, until it is right", &login.StatusError{Class: 2, Detail: 1}, 24 * time.Hour, 10, 200 * time.Second, 340 * time.Second},
		{"a target that starts", &login.StatusError{Class: 2, Detail: 3}, 0, 20, 60 * time.Second, 100 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				if tt.limit > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), tt.limit)
				}
				defer cancel()
				var tries atomic.Int32
				p := fakePaths(ctx, cancel, &fw.Plan{Targets: []fw.Target{{}}}, tt.limit, func(fw.Target) (*Path, error) {
					if int(tries.Add(1)) == tt.up {
						return &Path{Session: &session.Session{}}, nil
					}
					return nil, tt.err
				})
				began := time.Now()
				_, err := p.first(ctx)
				took := time.Since(began)
				p.finish(0)
				if took < tt.least || took > tt.most {
					t.Errorf("it took %v", took)
				}
				var step *StepError
				if tt.up == 0 && (!errors.As(err, &step) || !step.Final || !errors.Is(err, tt.err)) || tt.up > 0 && err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Which of several disks becomes the root does not hang on which target is
// faster; the ways run at once, and none is left behind.
func TestPathsChoose(t *testing.T) {
	const never = time.Hour
	type way struct {
		name  string
		after time.Duration // never: it does not come
		disk  string
	}
	for _, tt := range []struct {
		name  string
		ways  []way
		root  string // the disk that holds what root= names; empty: it names none
		want  string // the disk
		took  time.Duration
		there int // after a grace of pathGrace
	}{
		{"one", []way{{"a", time.Second, "sda"}}, "", "sda", time.Second, 1},
		{"the first is slower", []way{{"a", 2 * time.Second, "sda"}, {"b", time.Second, "sdb"}}, "", "sda", 2 * time.Second, 2},
		{"the first is too slow", []way{{"a", 5 * time.Second, "sda"}, {"b", time.Second, "sdb"}}, "", "sdb", 3 * time.Second, 2},
		{"the first does not come", []way{{"a", never, ""}, {"b", time.Second, "sdb"}}, "", "sdb", 3 * time.Second, 1},
		{"two ways to one disk, the first is slower", []way{{"a", 2 * time.Second, "sda"}, {"a", time.Second, "sdb"}}, "", "sdb", time.Second, 2},
		{"two ways to one disk, the first is dead", []way{{"a", never, ""}, {"a", time.Second, "sdb"}}, "", "sdb", time.Second, 1},
		{"root= names the second", []way{{"a", time.Second, "sda"}, {"b", 9 * time.Second, "sdb"}}, "sdb", "sdb", 9 * time.Second, 2},
		{"root= names the one that is there first", []way{{"a", 2 * time.Second, "sda"}, {"b", time.Second, "sdb"}}, "sdb", "sdb", time.Second, 2},
		{"nobody has what root= names", []way{{"a", time.Second, "sda"}, {"b", 9 * time.Second, "sdb"}}, "sdc", "sda", 9 * time.Second, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				plan := &fw.Plan{}
				for i, w := range tt.ways {
					plan.Targets = append(plan.Targets, fw.Target{Name: w.name, Index: i})
				}
				c := NewConsole(io.Discard, time.Now())
				p := newPaths(c, newNICSet(c, plan, nil, nil), time.Minute, cancel, func(ctx context.Context, target fw.Target, _ func()) (*Path, error) {
					w := tt.ways[target.Index]
					select {
					case <-time.After(w.after):
						return &Path{Target: target, Session: &session.Session{}, Disk: session.Disk{Name: w.disk}}, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				})
				if tt.root != "" {
					p.holds = func(disk string) bool { return disk == tt.root }
				}
				began := time.Now()
				path, err := p.first(ctx)
				if err != nil || path.Disk.Name != tt.want || time.Since(began) != tt.took {
					t.Errorf("%v, %v after %v", path, err, time.Since(began))
				}
				if there, missing := split(p.finish(pathGrace)); len(there) != tt.there || len(there)+len(missing) != len(tt.ways) {
					t.Errorf("there: %v, missing: %v", there, missing)
				}
			})
		})
	}
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
		target.NIC = 0
		plan.Targets = []fw.Target{target}
		nics := newNICSet(console, plan, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		nics.start(ctx)
		defer nics.running.Wait()
		d := &drivers{initiator: func() (*session.Initiator, error) { return nil, asked }}
		_, err := tryTarget(ctx, console, target, nics, d, func() {})
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
	got := state(NewConsole(io.Discard, time.Now()), "v1", plan, path, nil, nil, "/sbin/init")
	if got.Session != (handoff.Session{SID: 3, Attached: true}) || got.NIC.Name != "" {
		t.Errorf("got %+v", got)
	}
	path.Target.Session, path.NIC, path.NICFrom = "", &network.Result{Name: "eth0"}, "ip="
	got = state(NewConsole(io.Discard, time.Now()), "v1", plan, path, nil, nil, "/sbin/init")
	if got.Session.Attached || got.Session.ReplacementTimeout != 86400 || got.NIC.Name != "eth0" || got.NIC.From != "ip=" {
		t.Errorf("got %+v", got)
	}
}

func TestPace(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want session.Pace
	}{
		{&session.OpError{Op: "log in", Err: &login.StatusError{Class: 2, Detail: 3}}, session.Normally},
		{&session.OpError{Op: "log in", Err: &login.StatusError{Class: 2, Detail: 2}}, session.Slowly},
		{&login.ConfigError{}, session.Never},
		{fmt.Errorf("%w", &configError{errors.New("no such NIC")}), session.Never},
		{errors.Join(errors.New("no such NIC"), &configError{context.DeadlineExceeded}), session.Never},
	} {
		if got := pace(tt.err); got != tt.want {
			t.Errorf("%T %v: %v", tt.err, tt.err, got)
		}
	}
}

func TestDeadline(t *testing.T) {
	param := func(name, value string) fw.Param { return fw.Param{Name: name, Value: value} }
	retries := param("node.session.initial_login_retry_max", "4")
	for _, tt := range []struct {
		name string
		plan fw.Plan
		want time.Duration
	}{
		{"a root", fw.Plan{}, 0},
		{"given", fw.Plan{Failure: fw.Failure{Timeout: 7, Fallback: "/dev/sda1"}, Params: []fw.Param{retries}}, 7 * time.Second},
		{"with a fallback", fw.Plan{Failure: fw.Failure{Fallback: "/dev/sda1"}}, 180 * time.Second},
		{"attempts", fw.Plan{Params: []fw.Param{retries}}, 60 * time.Second},
		{"attempts of their length", fw.Plan{Params: []fw.Param{retries, param("node.conn[0].timeo.login_timeout", "30")}}, 120 * time.Second},
		{"one attempt", fw.Plan{Params: []fw.Param{param("node.session.initial_login_retry_max", "0")}}, 15 * time.Second},
	} {
		if got := deadline(&tt.plan); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
