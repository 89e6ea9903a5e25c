package targettest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands in front of a target of any kind and spoils what passes.
type Proxy struct {
	listener net.Listener
	plan     func(connection int) Fault
	end      context.CancelFunc
	wait     sync.WaitGroup

	mu     sync.Mutex
	passed []Passed
}

// Fault is what becomes of one connection. A Fault with To alone is none.
type Fault struct {
	To    string        // the target, host:port; empty: none hears of the connection, and nothing is said
	Delay time.Duration // of the answers
	End   End           // how it ends; 0: as its two sides end it
	At    Passed        // when: as soon as so much has passed; a count that is negative does not matter
}

// End is how a proxy ends a connection.
type End int

const (
	Reset   End = 1 + iota // RST to both sides
	Close                  // FIN to both sides
	Silence                // neither side hears of the other again, not even that it is gone
)

// Passed is how many bytes of a connection have passed each way.
type Passed struct{ Requests, Answers int }

// AtRequest is when n bytes of the initiator's have passed.
func AtRequest(n int) Passed { return Passed{n, -1} }

// AtAnswer is when n bytes of the target's have passed.
func AtAnswer(n int) Passed { return Passed{-1, n} }

// StartProxy starts a proxy on a free port of the loopback. plan is asked what
// is to become of each connection; the first is 1. Close it.
func StartProxy(plan func(connection int) Fault) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	p := &Proxy{listener: l, plan: plan, end: end}
	p.wait.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr returns the proxy's portal.
func (p *Proxy) Addr() *net.TCPAddr { return p.listener.Addr().(*net.TCPAddr) }

// Close ends the proxy and all of its connections.
func (p *Proxy) Close() {
	p.listener.Close()
	p.end()
	p.wait.Wait()
}

// Passed returns what has passed of each connection so far.
func (p *Proxy) Passed() []Passed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Passed(nil), p.passed...)
}

func (p *Proxy) accept(ctx context.Context) {
	for n := 1; ; n++ {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.passed = append(p.passed, Passed{})
		p.mu.Unlock()
		p.wait.Go(func() { p.carry(ctx, n, c.(*net.TCPConn)) })
	}
}

// carry carries one connection to its end.
func (p *Proxy) carry(ctx context.Context, n int, initiator *net.TCPConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer initiator.Close()
	context.AfterFunc(ctx, func() { initiator.Close() })
	f := p.plan(n)
	c := &carried{Fault: f, initiator: initiator}
	if f.End == 0 {
		c.At = Passed{-1, -1}
	}
	if f.To == "" {
		c.silent.Store(true)
		c.pass(ctx, nil, initiator, -1, 0, nil)
		return
	}
	target, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.To)
	if err != nil { // nobody listens
		initiator.SetLinger(0)
		return
	}
	defer target.Close()
	context.AfterFunc(ctx, func() { target.Close() })
	c.target = target.(*net.TCPConn)

	var ways sync.WaitGroup
	count := func(of func(*Passed) *int) func(int) {
		return func(bytes int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			*of(&p.passed[n-1]) += bytes
		}
	}
	ways.Go(func() {
		c.pass(ctx, c.target, initiator, c.At.Requests, 0, count(func(p *Passed) *int { return &p.Requests }))
	})
	ways.Go(func() {
		c.pass(ctx, initiator, c.target, c.At.Answers, f.Delay, count(func(p *Passed) *int { return &p.Answers }))
	})
	ways.Wait()
}

// carried is a connection with a fault.
type carried struct {
	Fault
	initiator, target *net.TCPConn
	struck            sync.Once
	silent            atomic.Bool // nothing passes any more
}

// pass passes on what comes from one side to the other, with a delay, until it
// ends; at limit bytes, when that is not negative, the fault strikes.
func (c *carried) pass(ctx context.Context, to, from *net.TCPConn, limit int, delay time.Duration, count func(int)) {
	type piece struct {
		due  time.Time
		data []byte
	}
	queue := make(chan piece, 1024)
	go func() {
		defer close(queue)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if n > 0 {
				queue <- piece{time.Now().Add(delay), data[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	left := limit
	if left == 0 {
		c.strike()
	}
	for p := range queue {
		if wait := time.Until(p.due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if c.silent.Load() {
			continue
		}
		data := p.data
		if limit >= 0 {
			data = data[:min(len(data), left)]
		}
		count(len(data))      // first, so that who has the bytes sees them counted
		_, _ = to.Write(data) // when this side is gone, its own way ends too
		if left -= len(data); left == 0 && limit >= 0 {
			c.strike()
		}
	}
	if !c.silent.Load() {
		_ = to.CloseWrite()
	}
}

// strike ends the connection as the fault says.
func (c *carried) strike() {
	c.struck.Do(func() {
		c.silent.Store(true)
		for _, side := range []*net.TCPConn{c.initiator, c.target} {
			switch c.End {
			case Reset:
				_ = side.SetLinger(0)
				_ = side.Close()
			case Close: // not more: what is unread would make it a reset
				_ = side.CloseWrite()
			}
		}
	})
}
