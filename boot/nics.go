package boot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

// nicSet brings up the NICs that lead to the plan's targets, all at once and
// each until it is up, and tells those who wait for one. It guards the plan,
// which leases add to.
type nicSet struct {
	console *Console
	settled <-chan struct{}           // closed when the hardware that is there has its drivers; nil: it has them
	load    func(module string) error // nil: modules are there
	keep    bool                      // failed attempts leave links up, as another follows
	raise   func(context.Context, network.Config, network.Progress) (*network.Result, error)
	wired   func(context.Context, network.Progress) ([]string, error) // the names of all wired NICs

	mu      sync.Mutex
	plan    *fw.Plan
	states  map[int]*nicState // of the NICs that were started, by their place in the plan
	changed chan struct{}     // closed, and replaced, when any of these changes
	running sync.WaitGroup
}

// resolveTimeout bounds one look for a portal's name; it is made again with the
// next attempt.
const resolveTimeout = 20 * time.Second

// nicState is how far a NIC is.
type nicState struct {
	result *network.Result // nil: it is not up
	lease  error           // of one that is up: what its lease lacks
	err    error           // why the last attempt failed
	ended  bool            // it is up, or another attempt would end the same way
	many   bool            // one of several of which the plan means whichever leads to the target
}

func newNICSet(c *Console, plan *fw.Plan, settled <-chan struct{}, load func(string) error) *nicSet {
	if len(plan.NICs) == 0 { // ip=none and the like; the target is wanted all the same
		plan.NICs = []fw.NIC{{Index: -1, DHCP: true, Origin: "dhcp", From: "default", AddressFrom: "default"}}
	}
	return &nicSet{
		console: c, plan: plan, settled: settled, load: load, keep: true, raise: network.Up, wired: network.Wired,
		states: map[int]*nicState{}, changed: make(chan struct{}),
	}
}

// start starts all NICs that a target needs, or that are to learn one. They end
// with ctx.
func (n *nicSet) start(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.plan.NICs {
		if n.needed(i) {
			n.launch(ctx, i)
		}
	}
}

func (n *nicSet) needed(i int) bool {
	nic := &n.plan.NICs[i]
	if len(n.plan.Targets) == 0 {
		return nic.DHCP || nic.DHCP6
	}
	for _, t := range n.plan.Targets {
		if t.Session == "" && (t.NIC == i || t.NIC < 0) {
			return true
		}
	}
	return false
}

func (n *nicSet) launch(ctx context.Context, i int) {
	if n.states[i] == nil {
		n.states[i] = &nicState{}
		n.running.Go(func() { n.follow(ctx, i) })
	}
}

// follow brings a NIC up. That a wait ran out is no reason to give up: a switch
// or a server may still be starting.
func (n *nicSet) follow(ctx context.Context, i int) {
	if err := n.find(ctx, i); err != nil {
		n.set(ctx, i, nil, err)
		return
	}
	for {
		result, err := n.one(ctx, i)
		if again := n.set(ctx, i, result, err); !again {
			return
		}
		n.console.Printf("%v; trying again", err)
	}
}

// find makes sure that a NIC which no source names is one that can be found:
// the only one, or where there are several, whichever of them leads to the
// target.
func (n *nicSet) find(ctx context.Context, i int) error {
	n.mu.Lock()
	nic, bonds := n.plan.NICs[i], len(n.plan.Bonds)
	n.mu.Unlock()
	if nic.Name != "" || nic.MAC != "" || nic.PCI != "" || bonds > 0 {
		return nil
	}
	if n.settled != nil {
		select { // only now is it known which ones are there
		case <-n.settled:
		case <-ctx.Done():
			return fmt.Errorf("the drivers of the NICs were not loaded in time: %w", ctx.Err())
		}
	}
	names, err := n.wired(ctx, n.console)
	if err != nil || len(names) < 2 || !nic.DHCP && !nic.DHCP6 && !nic.RA || len(nic.Address) > 0 {
		return err // of a fixed address network.Up says that it needs a NIC's name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.console.Printf("no source names the NIC, and there are %d: %s are all tried", len(names), strings.Join(names, ", "))
	for t := range n.plan.Targets {
		if n.plan.Targets[t].NIC == i {
			n.plan.Targets[t].NIC = -1
		}
	}
	n.plan.NICs[i].Name, n.states[i].many = names[0], true
	for _, name := range names[1:] {
		nic.Name = name
		n.plan.NICs = append(n.plan.NICs, nic)
		n.launch(ctx, len(n.plan.NICs)-1)
		n.states[len(n.plan.NICs)-1].many = true
	}
	return nil
}

// one makes an attempt. The address that the firmware had is still better than
// none when nobody gives one now.
func (n *nicSet) one(ctx context.Context, i int) (*network.Result, error) {
	n.mu.Lock()
	nic := asked(n.plan.NICs[i])
	cfg := n.config(i, nic)
	n.mu.Unlock()
	result, err := n.raise(ctx, cfg, n.console)
	if err != nil && (nic.DHCP || nic.RA || nic.DHCP6) && len(nic.Address) > 0 && ctx.Err() == nil {
		n.console.Printf("warning: %v; going on with the firmware's own address, %v", err, nic.Address)
		nic.DHCP, nic.RA, nic.DHCP6 = false, false, false
		n.mu.Lock()
		cfg = n.config(i, nic)
		n.mu.Unlock()
		result, err = n.raise(ctx, cfg, n.console)
	}
	return result, err
}

// asked is a NIC that asks the network again for what firmware asked it.
func asked(nic fw.NIC) fw.NIC {
	switch {
	case nic.Index < 0 || nic.DHCP:
	case nic.Origin == "ra":
		nic.RA = true
	case nic.Origin == "dhcp" && slices.ContainsFunc(nic.Address, func(p netip.Prefix) bool { return p.Addr().Is6() }):
		nic.RA, nic.DHCP6 = true, true
	}
	return nic
}

// config is networkConfig with what only a running machine has.
func (n *nicSet) config(i int, nic fw.NIC) network.Config {
	cfg := networkConfig(n.plan, i, nic)
	cfg.Load, cfg.KeepLink = n.load, n.keep && !n.states[i].many
	return cfg
}

// set notes what came of an attempt, and says whether to make another.
func (n *nicSet) set(ctx context.Context, i int, result *network.Result, err error) (again bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.states[i]
	timeout := errors.Is(err, context.DeadlineExceeded)
	again = timeout && ctx.Err() == nil
	s.result, s.ended = result, !again
	switch {
	case err == nil:
		n.console.Step("network", "%s", describeNIC(result))
		s.lease = n.takeLease(i, result)
	case ctx.Err() != nil && s.err != nil: // why it failed before says more
	case !timeout:
		s.err = &configError{err}
	default:
		s.err = err
	}
	close(n.changed)
	n.changed = make(chan struct{})
	return again
}

// takeLease gives to the plan what a NIC's lease says, and says what came of
// it. The error tells what the lease lacks of a target that it should name.
func (n *nicSet) takeLease(i int, nic *network.Result) error {
	p := n.plan
	var lease fw.Lease
	switch {
	case nic.Lease != nil:
		lease = fw.Lease{
			RootPath: nic.Lease.RootPath, InitiatorName: nic.Lease.InitiatorName, Hostname: nic.Hostname,
			From: fmt.Sprintf("DHCP (%s)", nic.Lease.Server),
		}
	case nic.Lease6 == nil && p.AskDHCP == "":
		return nil
	case nic.Lease6 == nil:
		return fmt.Errorf("%s has its address without asking DHCP, so that no server could name the target (%s)", nic.Name, p.AskDHCP)
	default:
		lease.From = "DHCPv6"
	}
	if nic.Lease6 != nil {
		lease.BootFileURL = nic.Lease6.BootFileURL
	}
	initiator, targets, warnings := p.Initiator, len(p.Targets), slices.Clone(p.Warnings)
	err := p.Lease(i, lease)
	for _, w := range p.Warnings {
		if !slices.Contains(warnings, w) {
			n.console.Printf("warning: %s", w)
		}
	}
	if p.Initiator != initiator {
		describeInitiator(n.console, p.Initiator)
	}
	for _, t := range p.Targets[targets:] {
		describeTarget(n.console, t)
	}
	if err != nil && len(p.Targets) > 0 { // else it is what the boot fails with
		for _, line := range strings.Split(err.Error(), "\n") {
			n.console.Printf("warning: %s", line)
		}
	}
	return err
}

// await calls look under the lock, now and after each change, until it says
// that it has seen enough, or ctx and all NICs have ended.
func (n *nicSet) await(ctx context.Context, look func() (done bool)) {
	for last := false; ; {
		n.mu.Lock()
		done, changed := look(), n.changed
		n.mu.Unlock()
		if done || last {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			n.running.Wait() // they end with ctx too, and say what they were at
			last = true
		}
	}
}

// leading returns a NIC that is up and leads to a target: its own, or where it
// has none the first on whose link the portal is, else the first with a gateway.
// portal is not valid for a name.
func (n *nicSet) leading(ctx context.Context, t fw.Target, portal netip.Addr) (nic *network.Result, err error) {
	var errs []error
	n.await(ctx, func() bool {
		nic, errs = nil, nil
		open, own := false, n.own(t)
		for i := range n.plan.NICs {
			s := n.states[i]
			if s == nil || own && t.NIC != i {
				continue
			}
			switch r := s.result; {
			case r != nil && (own || onLink(r, portal)):
				nic = r
				return true
			case r != nil && (!portal.IsValid() || leadsTo(r, portal)):
				if nic == nil {
					nic = r
				}
			case r != nil:
				errs = append(errs, &configError{fmt.Errorf("%s has no route to %s: is a gateway missing?", r.Name, portal)})
			default:
				open = open || !s.ended
				if s.err != nil {
					errs = append(errs, s.err)
				}
			}
		}
		return nic != nil || !open
	})
	if nic != nil {
		return nic, nil
	}
	switch {
	case len(errs) > 0:
	case ctx.Err() != nil:
		errs = []error{ctx.Err()}
	default:
		errs = []error{&configError{errors.New("no NIC was to lead to it")}}
	}
	return nil, errors.Join(errs...)
}

// own says whether a target goes by one certain NIC. The caller holds the lock.
func (n *nicSet) own(t fw.Target) bool {
	return t.NIC >= 0 && (n.states[t.NIC] == nil || !n.states[t.NIC].many)
}

// bound returns the NIC that the connection to a target must leave by, as there
// are others, if only later; empty: the routes decide.
func (n *nicSet) bound(t fw.Target, nic *network.Result) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.states) > 1 && n.own(t) {
		return nic.Name
	}
	return ""
}

func onLink(nic *network.Result, portal netip.Addr) bool {
	return slices.ContainsFunc(nic.Address, func(p netip.Prefix) bool { return p.Masked().Contains(portal.WithZone("")) })
}

func leadsTo(nic *network.Result, portal netip.Addr) bool {
	for _, gateway := range []netip.Addr{nic.Gateway, nic.Gateway6} {
		if gateway.IsValid() && gateway.Is4() == portal.Is4() {
			return true
		}
	}
	for _, r := range nic.Routes {
		if r.Destination.Contains(portal) {
			return true
		}
	}
	return onLink(nic, portal) || len(nic.Address) > 0 && portal.IsLinkLocalUnicast() ||
		portal.Is6() && nic.Lease6 != nil // a /128: what is on its link the router knows
}

// all waits until each NIC is up or no attempt can bring it up, or ctx ends, and
// returns what is wrong with those that are not up. Of several of which any will
// do it waits for one.
func (n *nicSet) all(ctx context.Context) (errs []error) {
	n.await(ctx, func() bool {
		errs = nil
		open, some := false, false
		for pass := range 2 { // the second knows whether one of several is up
			for i := range n.plan.NICs {
				s := n.states[i]
				switch {
				case s == nil || pass == 0 && !s.many || s.many && some:
				case s.result != nil:
					some = some || s.many
				case pass == 1:
					open = open || !s.ended
					errs = append(errs, s.err)
				}
			}
		}
		return !open
	})
	return errs
}

// targets returns the plan's targets, whether a lease may still add some, why
// none has so far, and a channel that is closed when any of it changes.
func (n *nicSet) targets() (targets []fw.Target, more bool, lack []error, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.plan.NICs {
		if s := n.states[i]; s != nil && n.plan.AskDHCP != "" {
			more = more || !s.ended
			switch {
			case s.result != nil:
				lack = append(lack, s.lease)
			case s.err != nil:
				lack = append(lack, s.err)
			}
		}
	}
	return slices.Clone(n.plan.Targets), more, lack, n.changed
}

// sessionConfig is the function of that name, and the root, of the plan as it is
// now.
func (n *nicSet) sessionConfig(t *fw.Target) (*session.Config, *fw.Root, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	cfg, err := sessionConfig(n.plan, t)
	cfg.Resolve = n.resolve
	return cfg, &n.plan.Root, err
}

// resolve returns the addresses of a portal's host, at least one.
func (n *nicSet) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	up := n.up(nil)
	n.mu.Lock()
	plan := *n.plan
	plan.NICs = slices.Clone(plan.NICs)
	n.mu.Unlock()
	return resolve(ctx, os.DirFS("/"), &plan, up, host)
}

// up returns the NICs that are up, first, which may be nil, before the others.
func (n *nicSet) up(first *network.Result) (nics []*network.Result) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if first != nil {
		nics = append(nics, first)
	}
	for i := range n.plan.NICs {
		if s := n.states[i]; s != nil && s.result != nil && s.result != first {
			nics = append(nics, s.result)
		}
	}
	return nics
}

// from returns what described a NIC that is up.
func (n *nicSet) from(nic *network.Result) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, s := range n.states {
		if s.result == nic {
			return nicFrom(n.plan.NICs[i])
		}
	}
	return "default"
}
