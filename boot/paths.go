package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/boot/timer"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

// DefaultTimeout bounds what is not for a root: rootlun network, and the way to
// a disk that rd.rootlun.fallback= has a substitute for. For a root there is no
// end, but what rd.rootlun.timeout= or rd.iscsi.login_retry_max= sets.
const DefaultTimeout = 180 * time.Second

// pathGrace is how long a way is waited for when another is there already.
const pathGrace = 2 * time.Second

// paths follows the ways to all targets of the plan, all at once: the NIC that
// leads there, the login, the scan.
type paths struct {
	console *Console
	nics    *nicSet
	limit   time.Duration // of the way to the first disk, for people; 0: none
	try     func(ctx context.Context, t fw.Target, wait func()) (*Path, error)
	holds   func(disk string) bool // whether it is the disk of the root that root= names; nil: it names none

	cancel  context.CancelFunc
	running sync.WaitGroup
	began   time.Time
	wait    func() // says from now on what is waited for
	done    func() // ends that

	mu      sync.Mutex
	ways    []way         // one a target, in the plan's order
	changed chan struct{} // closed, and replaced, when one of them changes
	chosen  bool          // the root's is there: failures are of no interest any more
}

// way is how far the way to a target is.
type way struct {
	target fw.Target
	path   *Path // nil: it is not there
	err    error // why the last attempt failed
	tries  int
	ended  bool // it is there, or another attempt would end the same way
	slow   bool // somebody has to act before an attempt can succeed: nothing waits for it
}

// reachDisk brings up the NICs and logs in to the targets of the plan, all at
// once, until the disk of the root is there, or the deadline if there is one.
// holds says whether a disk is that. The other ways are followed on, until finish.
func reachDisk(ctx context.Context, c *Console, plan *fw.Plan, drivers *drivers, holds func(root fw.Root, disk string) bool) (*Path, *paths, error) {
	limit := deadline(plan)
	ctx, cancel := context.WithCancel(ctx)
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	nics := newNICSet(c, plan, drivers.loader.Coldplugged(), drivers.loader.Load)
	root := plan.Root
	p := newPaths(c, nics, limit, cancel, func(ctx context.Context, t fw.Target, wait func()) (*Path, error) {
		t.Session = fw.Session(os.DirFS("/"), t) // an adapter may have logged in since, or out
		return tryTarget(ctx, c, t, nics, drivers, wait)
	})
	if root.Device != "" {
		p.holds = func(disk string) bool { return holds(root, disk) }
	}
	nics.start(ctx)
	path, err := p.first(ctx)
	if err != nil {
		p.finish(0)
		return nil, nil, err
	}
	return path, p, nil
}

// deadline is how long the way to the disk may take; 0: any time.
func deadline(plan *fw.Plan) time.Duration {
	switch {
	case plan.Failure.Timeout > 0:
		return time.Duration(plan.Failure.Timeout) * time.Second
	case plan.Failure.Fallback != "":
		return DefaultTimeout
	}
	// What iscsid.conf says of it: that many attempts, each as long as a login may take.
	cfg := session.Default()
	var attempts time.Duration
	for _, p := range plan.Params {
		if p.Name == "node.session.initial_login_retry_max" {
			n, _ := strconv.ParseUint(p.Value, 10, 16)
			attempts = max(1, time.Duration(n))
		}
		_ = cfg.Set(p.Name, p.Value) // each login says what is wrong with it
	}
	return attempts * cfg.Timers.Login
}

func newPaths(c *Console, nics *nicSet, limit time.Duration, cancel context.CancelFunc, try func(context.Context, fw.Target, func()) (*Path, error)) *paths {
	p := &paths{console: c, nics: nics, limit: limit, try: try, cancel: cancel, began: time.Now(), changed: make(chan struct{}), done: func() {}}
	p.wait = sync.OnceFunc(func() {
		done := c.waitSince(p.began, p.waitedFor, limit)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done = done
	})
	return p
}

// first returns the path to the root's disk as soon as it is there.
func (p *paths) first(ctx context.Context) (*Path, error) {
	defer p.quiet()
	var grace <-chan struct{}
	over := false // the grace of the ways that come before one that is there
	last := false // ctx has ended, and all that ends with it
	for {
		targets, more, lack, nicsChanged := p.nics.targets()
		p.mu.Lock()
		for i := len(p.ways); i < len(targets) && !last; i++ {
			p.ways = append(p.ways, way{target: targets[i]})
			p.running.Go(func() { p.follow(ctx, i, targets[i]) })
		}
		ended := !p.anyWay(func(w *way) bool { return !w.ended })
		best, sure := p.choose(over)
		changed := p.changed
		p.mu.Unlock()
		if best != nil && grace == nil {
			grace = timer.After(pathGrace)
		}
		final := ended && !more && ctx.Err() == nil
		if best != nil && (sure || final || last) {
			return best, nil
		}
		if final || last {
			return nil, p.failed(lack, final)
		}
		select {
		case <-changed:
		case <-nicsChanged:
		case <-grace:
			over = true
		case <-ctx.Done():
		}
		if last = ctx.Err() != nil; last { // all end with it, and say what they were at
			p.running.Wait()
			p.nics.running.Wait()
		}
	}
}

// choose returns the path to take as things stand, and whether no better one can
// be expected. root= decides, else the plan's order: a target that comes first
// and is another disk is given a while, so that the same disk becomes the root
// at each boot. The caller holds the lock.
func (p *paths) choose(over bool) (best *Path, sure bool) {
	open := false // a way that comes before, and to another disk, is not there yet
	for _, w := range p.ways {
		switch {
		case w.path == nil:
			open = open || !w.ended && !w.slow
		case p.holds != nil && p.holds(w.path.Disk.Name):
			p.chosen = true
			return w.path, true
		case best == nil:
			best = w.path
			sure = p.holds == nil && (over || !open || p.sameDisk(w))
		}
	}
	p.chosen = sure
	return best, sure
}

// sameDisk says whether all ways that come before w lead to the same unit.
func (p *paths) sameDisk(w way) bool {
	for _, o := range p.ways {
		if o.target.Name != w.target.Name || o.target.LUN != w.target.LUN {
			return false
		}
		if o.path == w.path {
			break
		}
	}
	return true
}

// follow makes attempts until the disk is there, none can succeed, or ctx ends.
func (p *paths) follow(ctx context.Context, i int, t fw.Target) {
	for backoff := (session.Backoff{}); ; {
		path, err := p.try(ctx, t, p.wait)
		pause := backoff.Next()
		if pace(err) == session.Slowly {
			pause = session.Jitter(session.SlowPause)
		}
		if again := p.note(ctx, i, path, err, pause); !again {
			return
		}
		if err := timer.Wait(ctx, pause); err != nil {
			p.note(ctx, i, nil, err, 0)
			return
		}
	}
}

// note takes note of what came of an attempt, and says whether to make another
// after that pause.
func (p *paths) note(ctx context.Context, i int, path *Path, err error, pause time.Duration) (again bool) {
	when := pace(err)
	if end, ok := ctx.Deadline(); ok && when == session.Slowly && time.Until(end) < pause {
		when = session.Never // before that
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.ways[i]
	if ctx.Err() == nil || w.tries == 0 {
		w.tries++
	}
	w.path = path
	again = err != nil && when != session.Never && ctx.Err() == nil
	w.ended, w.slow = !again, when == session.Slowly
	news := w.err == nil || err != nil && session.Cause(err) != session.Cause(w.err)
	if err != nil && (w.err == nil || ctx.Err() == nil) { // else why it failed before says more
		w.err = err
	}
	switch {
	case err == nil || !news || ctx.Err() != nil || p.chosen: // the screen at the end says it
	case again && when == session.Slowly:
		p.console.Printf("%v; trying again every %.0f s", err, session.SlowPause.Seconds())
	case again:
		p.console.Printf("%v; trying again", err)
	case len(p.ways) > 1:
		p.console.Printf("%v; this target is given up", err)
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return again
}

// waitedFor says which targets are not there, and why.
func (p *paths) waitedFor() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, w := range p.ways {
		name := fmt.Sprintf("%s at %s", w.target.Title(), w.target.Portal())
		if w.err != nil {
			why, _, _ := strings.Cut(session.Cause(w.err), "; check ") // which was said when it came up
			name += fmt.Sprintf(" (%s)", why)
		}
		names = append(names, name)
	}
	return strings.Join(names, " or ")
}

// quiet ends what says that something is waited for.
func (p *paths) quiet() {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	done()
}

// failed is the error of a boot whose disk is not there. final says that another
// attempt would end the same way; lack is why DHCP named no target.
func (p *paths) failed(lack []error, final bool) error {
	step := &StepError{Step: "reach the root's disk", Took: time.Since(p.began), Limit: p.limit, Final: final}
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, w := range p.ways {
		errs = append(errs, w.err)
		step.Tries = max(step.Tries, w.tries)
	}
	if len(p.ways) == 0 {
		step.Step, step.Tries, errs = "learn the target from DHCP", 1, lack
		if len(lack) == 0 {
			errs = []error{errors.New("no NIC asks DHCP, which is to name the target")}
		}
	}
	step.Err = errors.Join(errs...)
	return step
}

// anyWay says whether one of the ways is such. The caller holds the lock.
func (p *paths) anyWay(such func(*way) bool) bool {
	for i := range p.ways {
		if such(&p.ways[i]) {
			return true
		}
	}
	return false
}

// finish ends the following of ways that are not there: at once where none can
// still succeed, else when grace has passed since the call. It returns a path for each
// target, in the plan's order; what is not there has no Session.
func (p *paths) finish(grace time.Duration) (all []*Path) {
	over := timer.After(grace)
	for waiting := true; waiting; {
		p.mu.Lock()
		waiting = p.anyWay(func(w *way) bool { return !w.ended && !w.slow })
		changed := p.changed
		p.mu.Unlock()
		if waiting {
			select {
			case <-changed:
			case <-over:
				waiting = false
			}
		}
	}
	p.cancel()
	p.running.Wait()
	p.nics.running.Wait()
	for _, w := range p.ways {
		if w.path == nil {
			w.path = &Path{Target: w.target}
		}
		all = append(all, w.path)
	}
	return all
}

// pace says at what pace to try again after err.
func pace(err error) session.Pace {
	if _, ok := errors.AsType[*configError](err); ok {
		return session.Never
	}
	return session.Retry(err)
}
