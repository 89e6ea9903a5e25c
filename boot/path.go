package boot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// DefaultTimeout bounds the way from the plan to the disk when
// rd.rootlun.timeout= does not.
const DefaultTimeout = 180 * time.Second

// Rounds of attempts are retryFirst apart at first; the pause doubles up to
// retryMost.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Path is the way to the root that was found.
type Path struct {
	Target  fw.Target
	NIC     *network.Result // nil: the session was there before, and has its own way
	NICFrom string          // what described it
	Session *session.Session
	Disk    session.Disk
	Root    string // the device that is mounted
	FSType  string
}

// reachDisk tries the plan's targets in their order until the disk of one is
// there: its NIC is brought up, the session logged in, the LUN scanned. What
// can pass (a refused connection, a busy target) is tried again until the
// deadline; what can't (a refused secret) is not.
func reachDisk(ctx context.Context, c *Console, plan *fw.Plan, drivers *drivers) (*Path, error) {
	limit := DefaultTimeout
	if plan.Failure.Timeout > 0 {
		limit = time.Duration(plan.Failure.Timeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	nics := nicSet{console: c, plan: plan, settled: drivers.loader.Coldplugged(), load: drivers.loader.Load, up: map[int]*network.Result{}, leases: map[int]error{}}
	if plan.AskDHCP != "" && len(plan.Targets) == 0 {
		if err := nics.askTarget(ctx, limit); err != nil {
			return nil, err
		}
	}
	return firstOf(ctx, c, plan.Targets, limit, func(t fw.Target, wait func()) (*Path, error) {
		t.Session = fw.Session(os.DirFS("/"), t) // an adapter may have logged in since, or out
		return tryTarget(ctx, c, plan, t, &nics, drivers, wait)
	})
}

// firstOf tries the targets, round after round, until one succeeds, none is
// left that may, or ctx ends; limit is its deadline, for people. From the first
// call of wait on it says how long it has been waiting.
func firstOf(ctx context.Context, c *Console, targets []fw.Target, limit time.Duration, try func(t fw.Target, wait func()) (*Path, error)) (*Path, error) {
	began := time.Now()
	errs := make([]error, len(targets)) // the last one of each that says more than that time is up
	hopeless := make([]bool, len(targets))
	done := func() {}
	defer func() { done() }()
	wait := sync.OnceFunc(func() { done = c.waitSince(began, targetNames(targets), limit) })
	for tries, pause := 1, retryFirst; ; tries, pause = tries+1, min(2*pause, retryMost) {
		for i, t := range targets {
			if hopeless[i] {
				continue
			}
			path, err := try(t, wait)
			if err == nil {
				return path, nil
			}
			hopeless[i] = !canPass(err)
			if errs[i] != nil && ctx.Err() != nil {
				continue // time is up, and why it failed before says more
			}
			news := errs[i] == nil || cause(err) != cause(errs[i])
			switch errs[i] = err; {
			case !news || ctx.Err() != nil: // the screen at the end says it
			case !hopeless[i]:
				c.Printf("%v; trying again", err)
			case len(targets) > 1:
				c.Printf("%v; this target is given up", err)
			}
		}
		final := !slices.Contains(hopeless, false)
		if !final {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
				continue
			case <-ctx.Done():
				timer.Stop()
			}
		}
		return nil, &StepError{Step: "reach the root's disk", Err: errors.Join(errs...), Tries: tries, Took: time.Since(began), Limit: limit, Final: final}
	}
}

// canPass says whether an attempt that failed with err may succeed later
// although nobody changes anything on this side.
func canPass(err error) bool {
	var refused *login.StatusError
	var auth *login.AuthError
	var protocol *login.ProtocolError
	var offer *login.ConfigError
	var config *configError
	switch {
	case errors.As(err, &refused):
		return refused.Class == 3 // target error, RFC 7143, 11.13.5
	case errors.As(err, &auth), errors.As(err, &protocol), errors.As(err, &offer), errors.As(err, &config), errors.Is(err, session.ErrNoLUN):
		return false
	}
	return true
}

// cause is what went wrong, without the times, which differ at each attempt.
func cause(err error) string {
	if op := (*session.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}

// tryTarget makes one attempt, and calls wait when the network is up. A session
// that has no disk is logged out again. One that an offload adapter or another
// program has already is taken as it is, and stays whatever comes of it.
func tryTarget(ctx context.Context, c *Console, plan *fw.Plan, t fw.Target, nics *nicSet, drivers *drivers, wait func()) (*Path, error) {
	cfg, err := sessionConfig(plan, t)
	if err != nil {
		return nil, err
	}
	if t.Session != "" {
		wait()
		initiator, err := drivers.initiator()
		if err != nil {
			return nil, &configError{err}
		}
		s, disk, err := attach(ctx, c, initiator, cfg, t, plan.Root)
		if err != nil {
			return nil, err
		}
		return &Path{Target: t, Session: s, Disk: disk}, nil
	}
	nic, err := nics.bringUp(ctx, t.NIC, cfg.Portal.Addr())
	if err != nil {
		return nil, err
	}
	if a := cfg.Portal.Addr(); a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" { // a table has no room for the zone
		cfg.Portal = netip.AddrPortFrom(a.WithZone(nic.Name), cfg.Portal.Port())
	}
	cfg.InitiatorName = plan.Initiator.Name // which DHCP may have named only now
	wait()
	initiator, err := drivers.initiator()
	if err != nil {
		return nil, &configError{err}
	}
	s, disk, err := logIn(ctx, c, initiator, cfg, t, plan.Root)
	if err != nil {
		return nil, err
	}
	return &Path{Target: t, NIC: nic, NICFrom: nics.from(nic), Session: s, Disk: disk}, nil
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
