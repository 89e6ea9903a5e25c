package boot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/boot/timer"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// DefaultTimeout bounds the way from the plan to the disk when
// rd.rootlun.timeout= does not.
const DefaultTimeout = 180 * time.Second

// Attempts are retryFirst apart at first, give or take a quarter; the pause doubles up to retryMost.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// pathGrace is how long a way is waited for when another is there already.
const pathGrace = 2 * time.Second

// Path is a way to a disk.
type Path struct {
	Target  fw.Target
	NIC     *network.Result // nil: the session was there before, and has its own way
	NICFrom string          // what described it
	Session *session.Session
	Disk    session.Disk
	Root    string // the device that is mounted
	FSType  string
}

// paths follows the ways to all targets of the plan, all at once: the NIC that
// leads there, the login, the scan.
type paths struct {
	console *Console
	nics    *nicSet
	limit   time.Duration // of the way to the first disk, for people
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
}

// reachDisk brings up the NICs and logs in to the targets of the plan, all at
// once, until the disk of the root is there. What can pass (a refused connection,
// a busy target) is tried again until the deadline; what can't (a refused
// secret) is not. The other ways are followed on, until finish.
func reachDisk(ctx context.Context, c *Console, plan *fw.Plan, drivers *drivers) (*Path, *paths, error) {
	limit := DefaultTimeout
	if plan.Failure.Timeout > 0 {
		limit = time.Duration(plan.Failure.Timeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	nics := newNICSet(c, plan, drivers.loader.Coldplugged(), drivers.loader.Load)
	root := plan.Root
	p := newPaths(c, nics, limit, cancel, func(ctx context.Context, t fw.Target, wait func()) (*Path, error) {
		t.Session = fw.Session(os.DirFS("/"), t) // an adapter may have logged in since, or out
		return tryTarget(ctx, c, t, nics, drivers, wait)
	})
	if root.Device != "" {
		p.holds = func(disk string) bool {
			_, err := lookForRoot(os.DirFS("/"), root, disk)
			return err == nil
		}
	}
	nics.start(ctx)
	path, err := p.first(ctx)
	if err != nil {
		p.finish(0)
		return nil, nil, err
	}
	return path, p, nil
}

func newPaths(c *Console, nics *nicSet, limit time.Duration, cancel context.CancelFunc, try func(context.Context, fw.Target, func()) (*Path, error)) *paths {
	p := &paths{console: c, nics: nics, limit: limit, try: try, cancel: cancel, began: time.Now(), changed: make(chan struct{}), done: func() {}}
	p.wait = sync.OnceFunc(func() {
		targets, _, _, _ := nics.targets()
		done := c.waitSince(p.began, targetNames(targets), limit)
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
	for {
		targets, more, lack, nicsChanged := p.nics.targets()
		p.mu.Lock()
		for i := len(p.ways); i < len(targets); i++ {
			p.ways = append(p.ways, way{target: targets[i]})
			p.running.Go(func() { p.follow(ctx, i, targets[i]) })
		}
		ended := !slices.ContainsFunc(p.ways, func(w way) bool { return !w.ended })
		best, sure := p.choose(over)
		changed := p.changed
		p.mu.Unlock()
		if best != nil && grace == nil {
			grace = timer.After(pathGrace)
		}
		final := ended && !more && ctx.Err() == nil
		if best != nil && (sure || final || ctx.Err() != nil) {
			return best, nil
		}
		if final || ctx.Err() != nil {
			return nil, p.failed(lack, final)
		}
		select {
		case <-changed:
		case <-nicsChanged:
		case <-grace:
			over = true
		case <-ctx.Done():
			p.running.Wait() // all end with ctx, and say what they were at
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
			open = open || !w.ended
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
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		path, err := p.try(ctx, t, p.wait)
		if again := p.note(ctx, i, path, err); !again {
			return
		}
		// Machines that lost the same target must not ask for it in step.
		if err := timer.Wait(ctx, pause-pause/4+rand.N(pause/2)); err != nil {
			p.note(ctx, i, nil, err)
			return
		}
	}
}

// note takes note of what came of an attempt, and says whether to make another.
func (p *paths) note(ctx context.Context, i int, path *Path, err error) (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.ways[i]
	if ctx.Err() == nil || w.tries == 0 {
		w.tries++
	}
	w.path = path
	again = err != nil && canPass(err) && ctx.Err() == nil
	w.ended = !again
	news := w.err == nil || err != nil && cause(err) != cause(w.err)
	if err != nil && (w.err == nil || ctx.Err() == nil) { // else why it failed before says more
		w.err = err
	}
	switch {
	case err == nil || !news || ctx.Err() != nil || p.chosen: // the screen at the end says it
	case again:
		p.console.Printf("%v; trying again", err)
	case len(p.ways) > 1:
		p.console.Printf("%v; this target is given up", err)
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return again
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

// finish ends the following of ways that are not there: at once where none can
// still succeed, else when grace has passed since the call. It returns a path for each
// target, in the plan's order; what is not there has no Session.
func (p *paths) finish(grace time.Duration) (all []*Path) {
	over := timer.After(grace)
	for waiting := true; waiting; {
		p.mu.Lock()
		waiting = slices.ContainsFunc(p.ways, func(w way) bool { return !w.ended })
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

// canPass says whether an attempt that failed with err may succeed later
// although nobody changes anything on this side.
func canPass(err error) bool {
	if refused, ok := errors.AsType[*login.StatusError](err); ok {
		return refused.Class == 3 // target error, RFC 7143, 11.13.5
	}
	_, auth := errors.AsType[*login.AuthError](err)
	_, protocol := errors.AsType[*login.ProtocolError](err)
	_, offer := errors.AsType[*login.ConfigError](err)
	_, config := errors.AsType[*configError](err)
	return !auth && !protocol && !offer && !config && !errors.Is(err, session.ErrNoLUN)
}

// cause is what went wrong, without the times, which differ at each attempt.
func cause(err error) string {
	if op, ok := errors.AsType[*session.OpError](err); ok {
		err = op.Err
	}
	return err.Error()
}

// tryTarget makes one attempt, and calls wait when the network is up. A session
// that has no disk is logged out again. One that an offload adapter or another
// program has already is taken as it is, and stays whatever comes of it.
func tryTarget(ctx context.Context, c *Console, t fw.Target, nics *nicSet, drivers *drivers, wait func()) (*Path, error) {
	var nic *network.Result
	var err error
	hosts := []netip.Addr{{}}
	if t.Session == "" {
		portal, _ := netip.ParseAddr(t.Host)
		if nic, err = nics.leading(ctx, t, portal); err != nil {
			return nil, err
		}
		if hosts, err = nics.resolve(ctx, t.Host); err != nil {
			return nil, err
		}
	}
	wait()
	initiator, err := drivers.initiator()
	if err != nil {
		return nil, &configError{err}
	}
	if t.Session != "" {
		cfg, root, err := nics.sessionConfig(t)
		if err != nil {
			return nil, err
		}
		s, disk, err := attach(ctx, c, initiator, cfg, t, root)
		if err != nil {
			return nil, err
		}
		return &Path{Target: t, Session: s, Disk: disk}, nil
	}
	var errs []error
	for _, host := range hosts {
		if host.Is6() && host.IsLinkLocalUnicast() && host.Zone() == "" { // a table has no room for the zone
			host = host.WithZone(nic.Name)
		}
		at := t
		at.Host = host.String()
		cfg, root, err := nics.sessionConfig(at)
		if err != nil {
			return nil, err
		}
		cfg.Interface = nics.bound(t, nic)
		s, disk, err := logIn(ctx, c, initiator, cfg, t, root)
		if err == nil {
			return &Path{Target: t, NIC: nic, NICFrom: nics.from(nic), Session: s, Disk: disk}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Login loads the initiator's drivers where they are missing, logs in once and
// returns the LUN's disk: the part of a boot that rootlun login does alone.
func Login(ctx context.Context, c *Console, cfg session.Config, lun uint64) (session.Disk, error) {
	sys := os.DirFS("/sys")
	if !exists(sys, "class/iscsi_transport/tcp") || !exists(sys, "bus/scsi/drivers/sd") {
		loader, _, err := newLoader()
		if err != nil {
			return session.Disk{}, err
		}
		if err := loadNeeded(loader); err != nil {
			return session.Disk{}, err
		}
	}
	initiator, err := openInitiator(c)
	if err != nil {
		return session.Disk{}, err
	}
	defer initiator.Close()
	_, disk, err := logIn(ctx, c, initiator, cfg, fw.Target{LUN: ibft.LUNFromUint64(lun)}, fw.Root{})
	return disk, err
}

// logIn logs in and finds the disk. A session that has no disk is logged out
// again.
func logIn(ctx context.Context, c *Console, initiator *session.Initiator, cfg session.Config, t fw.Target, root fw.Root) (*session.Session, session.Disk, error) {
	s, err := initiator.Login(ctx, cfg)
	if err != nil {
		return nil, session.Disk{}, err
	}
	c.Step("login", "session %d: %s at %s, %s", s.SID, cfg.TargetName, cfg.Portal, authentication(s))
	disk, err := findDisk(ctx, c, s, t, root)
	if err != nil {
		if out := s.Logout(context.WithoutCancel(ctx)); out != nil {
			c.Printf("warning: %v", out)
		}
		return nil, session.Disk{}, err
	}
	c.Step("disk", "%s", describeDisk(disk))
	return s, disk, nil
}

// findDisk returns the disk of the target's LUN. Where no source names the LUN
// and 0 is no disk (tgt's is a controller), it is the one that holds the root,
// or the first.
func findDisk(ctx context.Context, c *Console, s *session.Session, t fw.Target, root fw.Root) (session.Disk, error) {
	disk, err := s.Disk(ctx, t.LUN.Uint64())
	if !t.AnyLUN || !errors.Is(err, session.ErrNoLUN) {
		return disk, err
	}
	disks, err := s.Disks(ctx)
	if err != nil {
		return session.Disk{}, err
	}
	disk = disks[0]
	for _, d := range disks {
		if _, err := lookForRoot(os.DirFS("/"), root, d.Name); err == nil {
			disk = d
			break
		}
	}
	c.Printf("no LUN is named and LUN 0 is no disk: LUN %d is taken, of %d disks", disk.LUN, len(disks))
	return disk, nil
}

// attach finds the disk of a session that is there already.
func attach(ctx context.Context, c *Console, initiator *session.Initiator, cfg session.Config, t fw.Target, root fw.Root) (*session.Session, session.Disk, error) {
	sid, err := strconv.ParseUint(strings.TrimPrefix(t.Session, "session"), 10, 32)
	if err != nil {
		return nil, session.Disk{}, &configError{err}
	}
	s, err := initiator.Attach(uint32(sid), cfg)
	if err != nil {
		return nil, session.Disk{}, err
	}
	c.Step("login", "session %d is there already: %s at %s", s.SID, cfg.TargetName, cfg.Portal)
	disk, err := findDisk(ctx, c, s, t, root)
	if err != nil {
		return nil, session.Disk{}, err
	}
	c.Step("disk", "%s", describeDisk(disk))
	return s, disk, nil
}

// configError is a failure that only a change on this machine can mend.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

func authentication(s *session.Session) string {
	switch {
	case s.Config.CHAP == nil:
		return "no authentication"
	case s.Config.CHAP.SecretIn != "":
		return "mutual CHAP, " + s.Algorithm.String()
	}
	return "CHAP, " + s.Algorithm.String()
}

func targetNames(targets []fw.Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, fmt.Sprintf("%s at %s", t.Name, t.Portal()))
	}
	return strings.Join(names, " or ")
}

// bytesText is a size for a person: "64 MiB".
func bytesText(n uint64) string {
	for _, u := range [...]struct {
		name string
		size uint64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if n >= u.size {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
