package qemutests

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
)

// Storm is a room of machines whose power comes back: all log in to one target
// at once, with the engine and the pauses of a boot, over plain TCP. A machine
// that loses its session comes back as one that booted then, after a first pause.
type Storm struct {
	Initiators int
	Portal     string // host:port
	Target     string
	// Restart, when not nil, takes the target away and brings it back. It is
	// called once, when half of the initiators are there.
	Restart func(context.Context) error
}

// StormResult is what became of it. Times count from the beginning.
type StormResult struct {
	Attempts [][]StormAttempt // of each initiator
	Failed   int              // attempts
	Lost     int              // sessions
	Away     time.Duration    // when the target went, and
	Back     time.Duration    // when it had come back; 0: it did not go
	All      time.Duration    // when all were logged in at the same time
}

// StormAttempt is one attempt to log in.
type StormAttempt struct {
	At       time.Duration
	LoggedIn bool
}

// loginTimeout is that of an attempt, session.Default's.
var loginTimeout = session.Default().Timers.Login

// Run returns when all initiators are logged in, or ctx ends.
func (s Storm) Run(ctx context.Context) (*StormResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &weather{Storm: s, result: &StormResult{Attempts: make([][]StormAttempt, s.Initiators)}, changed: make(chan struct{}, 1)}
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range s.Initiators {
		running.Go(func() {
			<-start
			w.initiator(ctx, i)
		})
	}
	w.began = time.Now()
	close(start)
	err := w.wait(ctx)
	cancel()
	running.Wait()
	return w.result, err
}

// weather is a storm under way.
type weather struct {
	Storm
	began   time.Time
	changed chan struct{} // has one when the count of sessions has changed

	mu       sync.Mutex
	sessions int
	over     bool // what is lost from now on is of our own doing
	result   *StormResult
}

// wait waits for half of the sessions, the restart, and all of the sessions.
func (w *weather) wait(ctx context.Context) error {
	if w.Restart != nil {
		if err := w.reach(ctx, w.Initiators/2); err != nil {
			return err
		}
		w.result.Away = time.Since(w.began)
		if err := w.Restart(ctx); err != nil {
			return err
		}
		w.result.Back = time.Since(w.began)
	}
	err := w.reach(ctx, w.Initiators)
	w.result.All = time.Since(w.began)
	return err
}

// reach waits until there are n sessions.
func (w *weather) reach(ctx context.Context, n int) error {
	for {
		w.mu.Lock()
		sessions := w.sessions
		w.over = n == w.Initiators && sessions >= n
		w.mu.Unlock()
		if sessions >= n {
			return nil
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d initiators are logged in: %w", sessions, w.Initiators, ctx.Err())
		}
	}
}

// count adds to what is counted.
func (w *weather) count(sessions int, of *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.sessions += sessions
	if of != nil {
		*of++
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// initiator is one machine.
func (w *weather) initiator(ctx context.Context, i int) {
	var pause session.Backoff
	for ctx.Err() == nil {
		at := time.Since(w.began)
		c, err := w.login(ctx, i)
		w.result.Attempts[i] = append(w.result.Attempts[i], StormAttempt{at, err == nil})
		if err == nil {
			w.count(1, nil)
			hangUp := context.AfterFunc(ctx, func() { c.Close() })
			io.Copy(io.Discard, c) // until the session ends
			hangUp()
			c.Close()
			w.count(-1, &w.result.Lost)
			pause = session.Backoff{}
		} else if ctx.Err() == nil {
			w.count(0, &w.result.Failed)
		}
		timer := time.NewTimer(pause.Next())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// login makes one attempt.
func (w *weather) login(ctx context.Context, i int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.Portal)
	if err != nil {
		return nil, err
	}
	if _, err := login.Login(ctx, &pdu.Stream{ReadWriter: c}, login.Config{
		InitiatorName: fmt.Sprintf("iqn.2025-01.storm.rootlun:machine-%d", i),
		TargetName:    w.Target,
		ISID:          [6]byte{0, 2, 0x3d, 0, 0, 1},
		Offer:         login.DefaultParams(),
	}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
