// Bench measures rootlun and its peers side by side, in the same machine, round
// after round in turn, and prints the medians and their ratios:
//
//   - boot: from the start of /init to the root's own init, against an image of
//     Debian's initramfs-tools with open-iscsi; by rootlun's image, and by that
//     image with rootlun's scripts;
//   - network: from a NIC that is down, and from one that is up, to its address by
//     DHCP (in `rootlun network`, once the plan is read), against klibc's
//     ipconfig, whose first request of a NIC that was down is lost; the former
//     is parted at the moment when the link has its carrier;
//   - login: from the start of `rootlun login` to the disk, against iscsistart;
//   - paths: eight targets against one, and a dead path of two against none, both
//     in rootlun alone;
//   - slope: logins to a target whose answers come later and later;
//   - survival: what becomes of a root when its session breaks, against one that
//     iscsistart has logged in to and no iscsid keeps yet.
//
// The times are the guest's own. It ends with code 1 when a ratio is over the
// budget, or when rootlun's root does not survive.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/rootlun/rootlun/initramfs"
	qemutests "github.com/rootlun/rootlun/qemu-tests"
)

const (
	target    = "iqn.2025-01.bench.rootlun:disk"
	initiator = "iqn.2025-01.bench.rootlun:machine"
	budget    = 0.2 // of the peer's time
	limit     = 5 * time.Minute

	upBudget   = 2  // both wait for the same server, and for little else
	restBudget = 20 // ms beyond the protocol's round trips
)

func main() {
	qemutests.FarMain()
	rounds := flag.Int("rounds", 5, "how often each is measured")
	peerOnly := flag.Bool("peer", false, "measure the peers alone")
	initiators := flag.Int("storm", 0, "have so many initiators log in at once, and measure nothing else")
	survivalOnly := flag.Bool("survival", false, "break the roots' sessions, and measure nothing else")
	flag.Parse()
	ctx := context.Background()
	var err error
	if *initiators > 0 {
		err = storms(ctx, *initiators)
	} else {
		err = prepared(ctx, *peerOnly, func(lab *qemutests.Lab, dir, own string) error {
			if *survivalOnly {
				return measureSurvival(ctx, lab, dir, own)
			}
			err := bench(ctx, lab, dir, own, *rounds)
			if own == "" {
				return err
			}
			return errors.Join(err, measureSurvival(ctx, lab, dir, own))
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// sample holds the milliseconds of each side, round by round.
type sample struct{ own, peer []float64 }

// prepared has measure work with the lab, a folder of its own, and rootlun's image
// (empty when only the peers are asked for).
func prepared(ctx context.Context, peerOnly bool, measure func(lab *qemutests.Lab, dir, own string) error) error {
	lab, err := qemutests.NewLab(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rootlun-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	own := ""
	if !peerOnly {
		if own, err = lab.MakeImage(ctx, dir); err != nil {
			return err
		}
	}
	return measure(lab, dir, own)
}

func bench(ctx context.Context, lab *qemutests.Lab, dir, own string, rounds int) error {
	peerOnly := own == ""
	boot, tools, err := measureBoots(ctx, lab, dir, own, rounds)
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	down, carrier, up, err := measureNetwork(ctx, lab, dir, own, rounds)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	login, err := measureLogins(ctx, lab, dir, own, rounds)
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	var many, late, dead sample
	var open, chap trips
	if !peerOnly {
		if many, late, dead, err = measurePaths(ctx, lab, dir, own, rounds); err != nil {
			return fmt.Errorf("paths: %w", err)
		}
		if open, chap, err = measureSlope(ctx, lab, dir, rounds); err != nil {
			return fmt.Errorf("slope: %w", err)
		}
	}
	fmt.Printf("\nmedians of %d rounds, in ms of the guest's clock (QEMU, %s)\n", rounds, lab.Accel)
	fmt.Printf("%-44s %9s %9s %7s %7s\n", "", "rootlun", "peer", "ratio", "budget")
	err = errors.Join(
		compare("/init to the root's init; initramfs-tools", boot, peerOnly, budget),
		compare("the same, inside initramfs-tools; open-iscsi", tools, peerOnly, 1),
		compare("link to address by DHCP; klibc's ipconfig", down, peerOnly, budget),
		compareRest(down, carrier, up, peerOnly),
		compare("the same, when its link is up already", up, peerOnly, upBudget),
		compare("login to the disk; iscsistart", login, peerOnly, budget))
	if peerOnly {
		return err
	}
	fmt.Printf("\n%-44s %9s %9s\n", "", "rootlun", "itself")
	err = errors.Join(err,
		compare(fmt.Sprintf("address to the disks of %d targets; of one", manyTargets), many, false, 0),
		compare(fmt.Sprintf("the same, when answers take %d ms", lateness.Milliseconds()), late, false, manyBudget),
		compare("/init to the root, a path dead; both alive", dead, false, deadBudget))
	fmt.Printf("\n%-44s", "with the target's answers later by")
	for _, delay := range delays {
		fmt.Printf(" %3d ms", delay.Milliseconds())
	}
	fmt.Printf(" %10s %6s\n", "trips", "want")
	return errors.Join(err,
		slope("login, no authentication", open.login, 1),
		slope("login, CHAP", chap.login, 4),
		slope("login and disk, no authentication", open.disk, 0),
		slope("login and disk, CHAP", chap.disk, 0))
}

// compare prints a row; a budget of 0 is none.
func compare(what string, s sample, peerOnly bool, budget float64) error {
	peer := median(s.peer)
	if peerOnly {
		fmt.Printf("%-44s %9s %9.0f\n", what, "", peer)
		return nil
	}
	own := median(s.own)
	fmt.Printf("%-44s %9.0f %9.0f %7.3f", what, own, peer, own/peer)
	if budget == 0 {
		fmt.Println("       -")
		return nil
	}
	fmt.Printf(" %7.3f\n", budget)
	if own/peer > budget {
		return fmt.Errorf("%s: %.3f of the peer's time is over the budget of %.3f", what, own/peer, budget)
	}
	return nil
}

// compareRest parts the time from link to address: until the link has its
// carrier, and the protocol after that. What its round trips take says the peer
// that asks when the link is up, give or take its own time. The fastest rounds
// are compared, as a busy machine only adds.
func compareRest(down, carrier, up sample, peerOnly bool) error {
	if peerOnly {
		return nil
	}
	var rest []float64
	for i := range down.own {
		rest = append(rest, down.own[i]-carrier.own[i])
	}
	fmt.Printf("%-44s %9.0f\n", "  of that, until the NIC has its carrier", median(carrier.own))
	fastest, peer := slices.Min(rest), slices.Min(up.peer)
	fmt.Printf("%-44s %9.0f %9.0f %7s %4.0f ms\n", "  and from then on at best; ipconfig, link up", fastest, peer, "", peer+restBudget)
	if fastest > peer+restBudget {
		return fmt.Errorf("from carrier to address: %.0f ms are over the budget of %.0f ms", fastest, peer+restBudget)
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// measureBoots boots the same root from the same target by each image: rootlun's
// and the peer's, and the peer's with rootlun's scripts and as it is.
func measureBoots(ctx context.Context, lab *qemutests.Lab, dir, own string, rounds int) (s, tools sample, err error) {
	root, err := lab.MakeRoot(ctx, dir, "bench")
	if err != nil {
		return s, tools, err
	}
	disk := qemutests.Target{Name: target, Image: root, LUN: 1}
	tgt, err := qemutests.StartTGT(ctx, dir, disk)
	if err != nil {
		return s, tools, err
	}
	defer tgt.Close()
	common := []string{"ip=dhcp", "root=LABEL=" + qemutests.RootLabel, "ro"}
	ours := append(common[:len(common):len(common)], fmt.Sprintf("netroot=iscsi:%s::%d:%d:%s", qemutests.HostAddress, tgt.Port, disk.LUN, target),
		"rd.iscsi.initiator="+initiator, "rd.emergency=poweroff")
	inside := ""
	if own != "" {
		if inside, err = toolsImage(lab, dir); err != nil {
			return s, tools, err
		}
	}
	for round := range rounds {
		if own != "" {
			ms, err := boot(ctx, lab, dir, own, ours)
			if err != nil {
				return s, tools, fmt.Errorf("rootlun: %w", err)
			}
			s.own = append(s.own, ms)
			if ms, err = boot(ctx, lab, dir, inside, ours); err != nil {
				return s, tools, fmt.Errorf("rootlun in initramfs-tools: %w", err)
			}
			tools.own = append(tools.own, ms)
		}
		ms, err := boot(ctx, lab, dir, filepath.Join(lab.Peer, "initrd"), append(common,
			"iscsi_initiator="+initiator, "iscsi_target_name="+target, "iscsi_target_ip="+qemutests.HostAddress,
			fmt.Sprintf("iscsi_target_port=%d", tgt.Port), "iscsi_target_group=1"))
		if err != nil {
			return s, tools, fmt.Errorf("initramfs-tools: %w", err)
		}
		s.peer = append(s.peer, ms)
		fmt.Printf("boot, round %d: rootlun %s, inside initramfs-tools %s, initramfs-tools %.0f ms\n", round+1, last(s.own), last(tools.own), ms)
	}
	tools.peer = s.peer
	return s, tools, nil
}

// toolsImage is the peer's image with rootlun and its scripts, as initramfs-tools
// would have put them in.
func toolsImage(lab *qemutests.Lab, dir string) (image string, err error) {
	files := []initramfs.File{{Source: filepath.Join(dir, "rootlun"), Destination: "/usr/sbin/rootlun"}}
	for _, name := range []string{"init-premount", "local-bottom"} {
		order, folder := filepath.Join(dir, name), "/scripts/"+name
		if err := os.WriteFile(order, []byte(folder+"/rootlun\n[ -e /conf/param.conf ] && . /conf/param.conf\n"), 0o644); err != nil {
			return "", err
		}
		files = append(files, initramfs.File{Source: order, Destination: folder + "/ORDER"},
			initramfs.File{Source: filepath.Join(lab.Repo, "initramfs/initramfs-tools", name), Destination: folder + "/rootlun"})
	}
	peer, err := os.ReadFile(filepath.Join(lab.Peer, "initrd"))
	if err != nil {
		return "", err
	}
	both := bytes.NewBuffer(peer)
	if err := initramfs.Build(both, initramfs.Config{Files: files, Compress: "zstd"}); err != nil {
		return "", err
	}
	image = filepath.Join(dir, "tools-initrd")
	return image, os.WriteFile(image, both.Bytes(), 0o600)
}

func last(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f ms", values[len(values)-1])
}

// boot boots once and returns the time between two lines of the kernel's log.
func boot(ctx context.Context, lab *qemutests.Lab, dir, image string, parameters []string) (float64, error) {
	console, err := run(ctx, lab, qemutests.Machine{Dir: dir, Kernel: lab.Kernel, Initrd: image, Cmdline: parameters})
	if err != nil {
		return 0, err
	}
	start, err1 := find(console, `\[ *([0-9.]+)\] Run /init as init process`)
	end, err2 := find(console, `\[ *([0-9.]+)\] root's init starts`)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%w in the console's log:\n%s", err, console)
	}
	return (end[0] - start[0]) * 1000, nil
}

//go:embed network-init
var networkInit []byte

// measureNetwork brings the same NIC up by each, round after round in one machine,
// from a link that is down and from one that is up.
func measureNetwork(ctx context.Context, lab *qemutests.Lab, dir, own string, rounds int) (down, carrier, up sample, err error) {
	stopwatch := filepath.Join(dir, "stopwatch")
	if err := lab.Compile(ctx, stopwatch, "./qemu-tests/guest/stopwatch"); err != nil {
		return down, carrier, up, err
	}
	libraries, err := filepath.Glob(filepath.Join(lab.Cache, "libklibc", "lib", "klibc-*.so"))
	if err != nil || len(libraries) != 1 {
		return down, carrier, up, fmt.Errorf("klibc's library: %q, %w", libraries, err)
	}
	files := []initramfs.File{
		{Source: stopwatch, Destination: "/bin/stopwatch"},
		{Source: filepath.Join(lab.Cache, "klibc-utils", "usr/lib/klibc/bin/ipconfig"), Destination: "/bin/ipconfig"},
		{Source: libraries[0], Destination: "/lib/" + filepath.Base(libraries[0])},
	}
	if own != "" {
		files = append(files, initramfs.File{Source: filepath.Join(dir, "rootlun"), Destination: "/usr/bin/rootlun"})
	}
	image, err := lab.MakeGuest(dir, networkInit, []string{"virtio_pci", "virtio_net", "af_packet"}, files...)
	if err != nil {
		return down, carrier, up, err
	}
	console, err := run(ctx, lab, qemutests.Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image,
		Cmdline: []string{"quiet", "ip=eth0:dhcp", "rd.iscsi.initiator=" + initiator, "netroot=iscsi:" + qemutests.HostAddress + "::::" + target,
			fmt.Sprint("bench.rounds=", rounds)},
	})
	if err != nil {
		return down, carrier, up, err
	}
	for link, s := range map[string]*sample{"down": &down, "up": &up} {
		s.peer, err = find(console, `network: `+link+` ipconfig[^@]*?stopwatch: end ([0-9.]+)`)
		if err == nil && own != "" {
			plan, err1 := find(console, `network: `+link+` rootlun[^@]*?([0-9.]+) s  plan: target`)
			s.own, err = find(console, `network: `+link+` rootlun[^@]*?([0-9.]+) s  network: eth0`)
			err = errors.Join(err, err1)
			has, err2 := find(console, `network: `+link+` rootlun[^@]*?([0-9.]+) s  eth0 has its link`)
			err = errors.Join(err, err2)
			for i := range min(len(plan), len(has), len(s.own)) {
				s.own[i] = 1000 * (s.own[i] - plan[i])
				if link == "down" {
					carrier.own = append(carrier.own, 1000*(has[i]-plan[i]))
				}
			}
		}
		if err != nil || len(s.peer) != rounds || own != "" && len(s.own) != rounds {
			return down, carrier, up, fmt.Errorf("not every round was measured: %w; the console's log:\n%s", err, console)
		}
	}
	return down, carrier, up, nil
}

//go:embed login-init
var loginInit []byte

// measureLogins logs in to a new target each time, all in one machine.
func measureLogins(ctx context.Context, lab *qemutests.Lab, dir, own string, rounds int) (s sample, err error) {
	disk := filepath.Join(dir, "root.img")
	var targets []qemutests.Target
	for i := range 2 * rounds {
		targets = append(targets, qemutests.Target{Name: fmt.Sprintf("%s:%d", target, i+1), Image: disk, LUN: 1})
	}
	tgt, err := qemutests.StartTGT(ctx, dir, targets...)
	if err != nil {
		return s, err
	}
	defer tgt.Close()
	stopwatch, peer := filepath.Join(dir, "stopwatch"), filepath.Join(dir, "iscsistart")
	files := []initramfs.File{{Source: stopwatch, Destination: "/bin/stopwatch"}}
	if err := lab.Compile(ctx, stopwatch, "./qemu-tests/guest/stopwatch"); err != nil {
		return s, err
	}
	if err := os.Mkdir(peer, 0o755); err != nil {
		return s, err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", filepath.Join(lab.Peer, "iscsistart.tar"), "-C", peer).CombinedOutput(); err != nil {
		return s, fmt.Errorf("tar: %w: %s", err, out)
	}
	for _, folder := range []string{"sbin", "lib", "lib64"} {
		files = append(files, initramfs.File{Source: filepath.Join(peer, folder), Destination: "/" + folder})
	}
	if own != "" {
		files = append(files, initramfs.File{Source: filepath.Join(dir, "rootlun"), Destination: "/usr/bin/rootlun"})
	}
	image, err := lab.MakeGuest(dir, loginInit, []string{"virtio_pci", "virtio_net", "sd_mod", "iscsi_tcp", "crc32c_generic"}, files...)
	if err != nil {
		return s, err
	}
	console, err := run(ctx, lab, qemutests.Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image,
		Cmdline: []string{"quiet", "bench.portal=" + qemutests.HostAddress, fmt.Sprint("bench.port=", tgt.Port),
			"bench.target=" + target, fmt.Sprint("bench.rounds=", rounds)},
	})
	if err != nil {
		return s, err
	}
	s.peer, err = find(console, `login: iscsistart[^@]*?stopwatch: disk ([0-9.]+)`)
	if err == nil && own != "" {
		s.own, err = find(console, `login: rootlun[^@]*?stopwatch: disk ([0-9.]+)`)
	}
	if err != nil || len(s.peer) != rounds || own != "" && len(s.own) != rounds {
		return s, fmt.Errorf("not every login was measured: %w; the console's log:\n%s", err, console)
	}
	return s, nil
}

// run runs a machine to its end and returns what its console showed.
func run(ctx context.Context, lab *qemutests.Lab, m qemutests.Machine) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := lab.Start(ctx, m)
	if err != nil {
		return "", err
	}
	if err := r.Wait(); err != nil {
		return "", fmt.Errorf("%w; the console's log:\n%s", err, r.Console)
	}
	return r.Console.String(), nil
}

// find returns the numbers that the pattern's group finds.
func find(text, pattern string) ([]float64, error) {
	var found []float64
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return nil, err
		}
		found = append(found, n)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s is not there", pattern)
	}
	return found, nil
}
