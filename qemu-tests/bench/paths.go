package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rootlun/rootlun/initramfs"
	qemutests "github.com/rootlun/rootlun/qemu-tests"
	"github.com/rootlun/rootlun/session/targettest"
)

const (
	manyTargets  = 8
	manyBudget   = 1.5 // times the time of one target
	deadBudget   = 1.1 // times the time with both paths alive
	tripsBudget  = 0.5 // round trips more or less than there should be
	lateness     = 20 * time.Millisecond
	deadPortal   = "10.0.2.99"
	networkStep  = `([0-9.]+) s  network: `
	diskStep     = `([0-9.]+) s  disk: `
	loggedInStep = `([0-9.]+) s  login: `
	rootStep     = `([0-9.]+) s  root: `
)

// measurePaths boots from one target and from one of eight, which is from the
// NIC's address to the last disk, and so again from targets that are far away;
// and by two paths of which one is dead, which is from the start of /init to the
// mounted root, and by two alive. An emulated machine is busy with eight targets
// where a real one waits: so those far away tell whether it waits for all at once.
func measurePaths(ctx context.Context, lab *qemutests.Lab, dir, own string, rounds int) (many, late, dead sample, err error) {
	small := filepath.Join(dir, "small.img")
	if err := os.WriteFile(small, make([]byte, 1<<20), 0o644); err != nil {
		return many, late, dead, err
	}
	targets := []qemutests.Target{{Name: target, Image: filepath.Join(dir, "root.img"), LUN: 1}}
	for i := 1; i < manyTargets; i++ {
		targets = append(targets, qemutests.Target{Name: fmt.Sprintf("%s:%d", target, i), Image: small, LUN: 1})
	}
	tgt, err := qemutests.StartTGT(ctx, dir, targets...)
	if err != nil {
		return many, late, dead, err
	}
	defer tgt.Close()
	proxy := func(delay time.Duration) (*targettest.Proxy, error) {
		return targettest.StartProxy(func(int) targettest.Fault {
			return targettest.Fault{To: fmt.Sprintf("127.0.0.1:%d", tgt.Port), Delay: delay}
		})
	}
	second, err := proxy(0)
	if err != nil {
		return many, late, dead, err
	}
	defer second.Close()
	far, err := proxy(lateness)
	if err != nil {
		return many, late, dead, err
	}
	defer far.Close()
	netroot := func(host string, port int, name string) string {
		return fmt.Sprintf("netroot=iscsi:%s::%d:1:%s", host, port, name)
	}
	boot := func(netroots ...string) (string, error) {
		return run(ctx, lab, qemutests.Machine{Dir: dir, Kernel: lab.Kernel, Initrd: own, Cmdline: append([]string{
			"ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none", "root=LABEL=" + qemutests.RootLabel, "ro",
			"rd.iscsi.initiator=" + initiator, "rd.emergency=poweroff"}, netroots...)})
	}
	one := netroot(qemutests.HostAddress, tgt.Port, target)
	var near, away []string
	for _, t := range targets {
		near = append(near, netroot(qemutests.HostAddress, tgt.Port, t.Name))
		away = append(away, netroot(qemutests.HostAddress, far.Addr().Port, t.Name))
	}
	both := []string{netroot(qemutests.HostAddress, second.Addr().Port, target), one}
	half := []string{netroot(deadPortal, tgt.Port, target), one}
	for round := range rounds {
		for _, m := range []struct {
			to       *[]float64
			from     string
			step     string
			steps    int
			netroots []string
		}{
			{&many.peer, networkStep, diskStep, 1, near[:1]}, {&many.own, networkStep, diskStep, manyTargets, near},
			{&late.peer, networkStep, diskStep, 1, away[:1]}, {&late.own, networkStep, diskStep, manyTargets, away},
			{&dead.peer, "", rootStep, 1, both}, {&dead.own, "", rootStep, 1, half},
		} {
			console, err := boot(m.netroots...)
			if err != nil {
				return many, late, dead, err
			}
			steps, err := find(console, m.step)
			if err != nil || len(steps) != m.steps {
				return many, late, dead, fmt.Errorf("%d times %s, want %d: %w; the console's log:\n%s", len(steps), m.step, m.steps, err, console)
			}
			ms := 1000 * steps[len(steps)-1]
			if m.from != "" {
				from, err := find(console, m.from)
				if err != nil {
					return many, late, dead, err
				}
				ms -= 1000 * from[0]
			}
			*m.to = append(*m.to, ms)
		}
		fmt.Printf("paths, round %d: %d targets %s, one %s; far away %s, one %s; one path dead %s, both alive %s\n", round+1,
			manyTargets, last(many.own), last(many.peer), last(late.own), last(late.peer), last(dead.own), last(dead.peer))
	}
	return many, late, dead, nil
}

//go:embed slope-init
var slopeInit []byte

// trips is what a login costs at each delay of the target's answers: medians, in
// ms, until it is done and until the disk is there.
type trips struct{ login, disk []float64 }

// delays are those of the slope.
var delays = []time.Duration{0, 20 * time.Millisecond, 40 * time.Millisecond}

// measureSlope logs in through proxies that delay the answers, round after round
// in one machine.
func measureSlope(ctx context.Context, lab *qemutests.Lab, dir string, rounds int) (open, chap trips, err error) {
	const user, secret = "bench", "secret-of-the-bench"
	disk := filepath.Join(dir, "root.img")
	tgt, err := qemutests.StartTGT(ctx, dir, qemutests.Target{Name: target + ":open", Image: disk, LUN: 1},
		qemutests.Target{Name: target + ":chap", Image: disk, LUN: 1, Username: user, Secret: secret})
	if err != nil {
		return open, chap, err
	}
	defer tgt.Close()
	var ports []string
	for _, delay := range delays {
		proxy, err := targettest.StartProxy(func(int) targettest.Fault {
			return targettest.Fault{To: fmt.Sprintf("127.0.0.1:%d", tgt.Port), Delay: delay}
		})
		if err != nil {
			return open, chap, err
		}
		defer proxy.Close()
		ports = append(ports, fmt.Sprint(proxy.Addr().Port))
	}
	credentials := filepath.Join(dir, "credentials")
	text := fmt.Sprintf("node.session.auth.username = %s\nnode.session.auth.password = %s\n", user, secret)
	if err := os.WriteFile(credentials, []byte(text), 0o600); err != nil {
		return open, chap, err
	}
	image, err := lab.MakeGuest(dir, slopeInit, []string{"virtio_pci", "virtio_net", "sd_mod", "iscsi_tcp", "crc32c_generic"},
		initramfs.File{Source: credentials, Destination: "/credentials"},
		initramfs.File{Source: filepath.Join(dir, "rootlun"), Destination: "/usr/bin/rootlun"})
	if err != nil {
		return open, chap, err
	}
	console, err := run(ctx, lab, qemutests.Machine{Dir: dir, Kernel: lab.Kernel, Initrd: image,
		Cmdline: []string{"quiet", "bench.portal=" + qemutests.HostAddress, "bench.ports=" + strings.Join(ports, ","),
			"bench.target=" + target, fmt.Sprint("bench.rounds=", rounds)}})
	if err != nil {
		return open, chap, err
	}
	for kind, t := range map[string]*trips{"open": &open, "chap": &chap} {
		for _, port := range ports {
			logins, err1 := find(console, "slope: "+kind+" "+port+` \d+[^@]*?`+loggedInStep)
			disks, err2 := find(console, "slope: "+kind+" "+port+` 1\s[^@]*?`+diskStep)
			if err := errors.Join(err1, err2); err != nil || len(logins) != 5*rounds || len(disks) != rounds {
				return open, chap, fmt.Errorf("not every login was measured: %w; the console's log:\n%s", err, console)
			}
			t.login = append(t.login, 1000*median(logins))
			t.disk = append(t.disk, 1000*median(disks))
		}
	}
	return open, chap, nil
}

// slope prints the times at each delay and their slope over the delays, which is
// the count of round trips; want is what it should be, 0 when nobody says.
func slope(what string, times []float64, want float64) error {
	var x, y, xx, xy float64
	n := float64(len(delays))
	fmt.Printf("%-44s", what)
	for i, delay := range delays {
		d := float64(delay.Milliseconds())
		x, y, xx, xy = x+d, y+times[i], xx+d*d, xy+d*times[i]
		fmt.Printf(" %6.0f", times[i])
	}
	trips := (n*xy - x*y) / (n*xx - x*x) // least squares
	fmt.Printf(" %10.2f", trips)
	if want > 0 {
		fmt.Printf(" %6.0f", want)
	}
	fmt.Println()
	if want > 0 && (trips > want+tripsBudget || trips < want-tripsBudget) {
		return fmt.Errorf("%s: %.2f round trips, want %.0f", what, trips, want)
	}
	return nil
}
