package boot

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

// fakeNIC is how the attempts to bring up a NIC end.
type fakeNIC struct {
	after  time.Duration
	err    error // of all attempts but the last one
	tries  int   // until it comes up; 0: it never does
	result network.Result
}

// fakeNICs is a set of the plan's NICs that come up as nics says, by their
// names; settled and wired as on a machine that has them all.
func fakeNICs(console io.Writer, plan *fw.Plan, nics map[string]*fakeNIC, wired ...string) *nicSet {
	settled := make(chan struct{})
	close(settled)
	n := newNICSet(NewConsole(console, time.Now()), plan, settled, nil)
	n.wired = func(context.Context, network.Progress) ([]string, error) { return wired, nil }
	tries := map[string]int{}
	n.raise = func(ctx context.Context, cfg network.Config, _ network.Progress) (*network.Result, error) {
		f := nics[cfg.Name]
		select {
		case <-time.After(f.after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if tries[cfg.Name]++; f.tries == 0 || tries[cfg.Name] < f.tries {
			return nil, f.err
		}
		result := f.result
		result.Name = cfg.Name
		return &result, nil
	}
	return n
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestLeading: NICs come up at once, and each target goes by its own as soon as
// that one is there.
func TestLeading(t *testing.T) {
	broken := errors.New("no such NIC")
	portal := netip.MustParseAddr("10.2.0.1")
	gateway := netip.MustParseAddr("10.1.0.254")
	for _, tt := range []struct {
		name   string
		nics   map[string]*fakeNIC
		target int // its NIC
		want   string
		took   time.Duration
		err    string
	}{
		{"its own", map[string]*fakeNIC{"eth0": {after: time.Hour}, "eth1": {after: 2 * time.Second, tries: 1}}, 1, "eth1", 2 * time.Second, ""},
		{"its own, at the third attempt", map[string]*fakeNIC{"eth0": {after: time.Hour}, "eth1": {after: time.Second, tries: 3, err: context.DeadlineExceeded}}, 1, "eth1", 3 * time.Second, ""},
		{"its own, which can't", map[string]*fakeNIC{"eth0": {tries: 1}, "eth1": {after: time.Second, err: broken}}, 1, "", time.Second, "no such NIC"},
		{"its own, which does not in time", map[string]*fakeNIC{"eth0": {tries: 1}, "eth1": {after: 40 * time.Second, err: context.DeadlineExceeded}}, 1, "", time.Minute, "deadline exceeded"},
		{"whichever has it on its link", map[string]*fakeNIC{
			"eth0": {after: 5 * time.Second, tries: 1, result: network.Result{Address: prefixes("10.1.0.2/24")}},
			"eth1": {after: 2 * time.Second, tries: 1, result: network.Result{Address: prefixes("10.2.0.2/24")}},
		}, -1, "eth1", 2 * time.Second, ""},
		{"whichever has a gateway", map[string]*fakeNIC{
			"eth0": {after: time.Second, tries: 1, result: network.Result{Address: prefixes("10.3.0.2/24")}},
			"eth1": {after: 2 * time.Second, tries: 1, result: network.Result{Address: prefixes("10.1.0.2/24"), Gateway: gateway}},
		}, -1, "eth1", 2 * time.Second, ""},
		{"none leads there", map[string]*fakeNIC{
			"eth0": {after: time.Second, tries: 1, result: network.Result{Address: prefixes("10.3.0.2/24")}},
			"eth1": {after: 2 * time.Second, err: broken},
		}, -1, "", 2 * time.Second, "eth0 has no route to 10.2.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				target := fw.Target{Name: "a", NIC: tt.target}
				plan := &fw.Plan{NICs: []fw.NIC{{Name: "eth0"}, {Name: "eth1"}}, Targets: []fw.Target{target, {Name: "b", NIC: -1}}}
				n := fakeNICs(io.Discard, plan, tt.nics)
				began := time.Now()
				n.start(ctx)
				nic, err := n.leading(ctx, target, portal)
				if took := time.Since(began); took != tt.took {
					t.Errorf("after %v, not %v", took, tt.took)
				}
				switch {
				case tt.want != "":
					if err != nil || nic.Name != tt.want {
						t.Errorf("%v, %v; want %s", nic, err, tt.want)
					}
				case err == nil || !strings.Contains(err.Error(), tt.err):
					t.Errorf("%v, %v; want an error with %q", nic, err, tt.err)
				case (pace(err) == session.Normally) != (tt.took == time.Minute):
					t.Errorf("%v: again %v", err, pace(err))
				}
				cancel()
				n.running.Wait()
			})
		})
	}
}

// TestWhicheverNIC: with several NICs and none named, all are tried, and none
// that no target needs is touched.
func TestWhicheverNIC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var console strings.Builder
		plan := &fw.Plan{NICs: []fw.NIC{{Index: -1, DHCP: true}, {Name: "idle0", DHCP: true}}, Targets: []fw.Target{{Name: "a", NIC: 0}}}
		n := fakeNICs(&console, plan, map[string]*fakeNIC{
			"eth0": {after: time.Hour}, "eth1": {after: time.Second, tries: 1, result: network.Result{Address: prefixes("10.2.0.2/24")}},
		}, "eth0", "eth1")
		n.start(ctx)
		synctest.Wait()
		targets, _, _, _ := n.targets()
		nic, err := n.leading(ctx, targets[0], netip.MustParseAddr("10.2.0.1"))
		if err != nil || nic.Name != "eth1" {
			t.Errorf("%v, %v", nic, err)
		}
		cancel()
		n.running.Wait()
		if !strings.Contains(console.String(), "there are 2: eth0, eth1 are all tried") {
			t.Errorf("the console:\n%s", &console)
		}
	})
}

func TestNeededNICs(t *testing.T) {
	nics := []fw.NIC{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	for _, tt := range []struct {
		name string
		plan fw.Plan
		want []int
	}{
		{"nothing describes one", fw.Plan{Targets: []fw.Target{{NIC: -1}}}, []int{0}},
		{"each target its own", fw.Plan{NICs: nics, Targets: []fw.Target{{NIC: 2}, {NIC: 0}, {NIC: 2}}}, []int{0, 2}},
		{"a target anywhere", fw.Plan{NICs: nics, Targets: []fw.Target{{NIC: 1}, {NIC: -1}}}, []int{0, 1, 2}},
		{"a session is there", fw.Plan{NICs: nics, Targets: []fw.Target{{NIC: 1, Session: "session1"}, {NIC: 0}}}, []int{0}},
		{"DHCP is to name the target", fw.Plan{NICs: []fw.NIC{{Name: "a", DHCP: true}, {Name: "b"}}, AskDHCP: "root=dhcp"}, []int{0}},
	} {
		n := newNICSet(nil, &tt.plan, nil, nil)
		var got []int
		for i := range n.plan.NICs {
			if n.needed(i) {
				got = append(got, i)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestAllNICs: rootlun network waits for every NIC, but of several that nobody
// names for one.
func TestAllNICs(t *testing.T) {
	for _, tt := range []struct {
		name string
		nics []fw.NIC
		up   map[string]*fakeNIC
		want []string // that are up
		took time.Duration
		errs int
	}{
		{"each", []fw.NIC{{Name: "eth0"}, {Name: "eth1"}}, map[string]*fakeNIC{
			"eth0": {after: time.Second, tries: 1}, "eth1": {after: 2 * time.Second, tries: 1},
		}, []string{"eth0", "eth1"}, 2 * time.Second, 0},
		{"one is dead", []fw.NIC{{Name: "eth0"}, {Name: "eth1"}}, map[string]*fakeNIC{
			"eth0": {after: time.Hour}, "eth1": {after: 2 * time.Second, tries: 1},
		}, []string{"eth1"}, time.Minute, 1},
		{"whichever", []fw.NIC{{DHCP: true}}, map[string]*fakeNIC{
			"eth0": {after: time.Hour}, "eth1": {after: 2 * time.Second, tries: 1},
		}, []string{"eth1"}, 2 * time.Second, 0},
		{"none", []fw.NIC{{DHCP: true}}, map[string]*fakeNIC{
			"eth0": {after: time.Hour}, "eth1": {after: time.Hour},
		}, nil, time.Minute, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var console strings.Builder
				n := fakeNICs(&console, &fw.Plan{NICs: tt.nics, Targets: []fw.Target{{Name: "a", NIC: -1}}}, tt.up, "eth0", "eth1")
				began := time.Now()
				n.start(ctx)
				errs := n.all(ctx)
				took := time.Since(began)
				var got []string
				for _, r := range n.up(nil) {
					got = append(got, r.Name)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" || took != tt.took || len(errs) != tt.errs {
					t.Errorf("%s after %v, errors %v", diff, took, errs)
				}
				cancel()
				n.running.Wait()
			})
		})
	}
}

// TestLearnTarget: the first lease that names a target makes a way; with none
// the error has what each server lacks.
func TestLearnTarget(t *testing.T) {
	const rootPath = "iscsi:192.0.2.1::::iqn.2026-01.net.example:disk"
	lease := func(server, rootPath, initiator string) network.Result {
		return network.Result{Lease: &network.Lease{Server: netip.MustParseAddr(server), RootPath: rootPath, InitiatorName: initiator}}
	}
	for _, tt := range []struct {
		name        string
		first       network.Result
		second      network.Result
		secondAfter time.Duration
		nic         int // of the target; -1: there is none
		says        string
	}{
		{"the first", lease("192.0.2.8", rootPath, "iqn.2026-01.net.example:me"), network.Result{}, time.Hour, 0,
			"plan: initiator iqn.2026-01.net.example:me, from DHCP (192.0.2.8)"},
		{"the second", lease("192.0.2.8", "", ""), lease("192.0.2.9", rootPath, ""), time.Second, 1,
			"plan: target iqn.2026-01.net.example:disk at 192.0.2.1:3260, LUN 0, no authentication, from DHCP (192.0.2.9)"},
		{"none", lease("192.0.2.8", "", ""), lease("192.0.2.9", "/nfs", ""), time.Second, -1, ""},
		{"an address that was there", lease("192.0.2.8", "", ""), network.Result{}, time.Second, -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var console strings.Builder
				plan := &fw.Plan{
					AskDHCP: "root=dhcp", Initiator: fw.Initiator{Name: "iqn.2026-01.net.example:made", From: "the machine's UUID"},
					NICs: []fw.NIC{{Name: "eth0", DHCP: true}, {Name: "eth1", DHCP: true}},
				}
				n := fakeNICs(&console, plan, map[string]*fakeNIC{"eth0": {tries: 1, result: tt.first}, "eth1": {after: tt.secondAfter, tries: 1, result: tt.second}})
				p := newPaths(n.console, n, time.Minute, cancel, func(_ context.Context, target fw.Target, _ func()) (*Path, error) {
					return &Path{Target: target}, nil
				})
				n.start(ctx)
				path, err := p.first(ctx)
				p.finish(0)
				if !strings.Contains(console.String(), tt.says) {
					t.Errorf("the console does not say %q:\n%s", tt.says, &console)
				}
				if tt.nic >= 0 {
					if err != nil || path.Target.NIC != tt.nic {
						t.Errorf("%v, %v", path, err)
					}
					return
				}
				var step *StepError
				if !errors.As(err, &step) || !step.Final || !strings.Contains(err.Error(), "DHCP (192.0.2.8): root=dhcp asks DHCP for the target, and this server names none") ||
					!strings.Contains(err.Error(), "192.0.2.9") && !strings.Contains(err.Error(), "eth1 has its address without asking DHCP") {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}
