package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/initramfs"
	qemutests "github.com/rootlun/rootlun/qemu-tests"
)

const (
	machinesAtOnce = 3
	// aftermath is how long a root is watched once its fault is over: the kernel
	// holds back what is written for 120 s when iscsistart has logged in.
	aftermath = 240 * time.Second
	answer    = time.Minute // within which a system's shell does what needs no disk
	portal    = "10.7.0.1"
)

// measureSurvival breaks the session of a root that is written to: by each fault
// once, and each time in a machine and on a network of its own. It fails when
// rootlun loses its root; what becomes of the peer's is only told.
func measureSurvival(ctx context.Context, lab *qemutests.Lab, dir, own string) error {
	network := fmt.Sprintf("ip=10.7.0.50::%s:255.255.255.0:node::none", portal)
	sides := []struct {
		name, image string
		parameters  []string
	}{
		{"rootlun", own, []string{network, "rd.iscsi.initiator=" + initiator, "rd.emergency=poweroff",
			fmt.Sprintf("netroot=iscsi:%s:::1:%s", portal, target)}},
		{"iscsistart", filepath.Join(lab.Peer, "initrd"), []string{network, "iscsi_initiator=" + initiator,
			"iscsi_target_name=" + target, "iscsi_target_ip=" + portal, "iscsi_target_port=3260", "iscsi_target_group=1"}},
	}
	faults := qemutests.Faults()
	fates := make([][2]fate, len(faults))
	failures := make([]error, 2*len(faults))
	slots := make(chan struct{}, machinesAtOnce)
	var running sync.WaitGroup
	for i, f := range faults {
		for j, side := range sides {
			running.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				dir := filepath.Join(dir, fmt.Sprintf("survival-%d-%s", i, side.name))
				err := os.Mkdir(dir, 0o755)
				if err == nil {
					fates[i][j], err = survive(ctx, lab, dir, side.image, side.parameters, f)
				}
				if err != nil {
					fates[i][j] = fate{}
					failures[2*i+j] = fmt.Errorf("survival: %s, %s: %w", side.name, f.Name, err)
					return
				}
				fmt.Printf("survival: %s, %s: %s\n", f.Name, side.name, fates[i][j])
			})
		}
	}
	running.Wait()
	fmt.Printf("\nwhat becomes of a root that is written to, until %.0f s after the fault; times count from its beginning\n", aftermath.Seconds())
	fmt.Printf("%-30s %-26s %s\n", "", sides[0].name, sides[1].name+", before iscsid")
	for i, f := range faults {
		fmt.Printf("%-30s %-26s %s\n", f.Name, fates[i][0], fates[i][1])
		if fates[i][0].lost() {
			failures = append(failures, fmt.Errorf("%s: rootlun's root: %s", f.Name, fates[i][0]))
		}
	}
	return errors.Join(failures...)
}

// fate is what becomes of a root, in seconds from the fault's beginning.
type fate struct {
	errors   float64 // the kernel's first I/O error; 0: none
	readOnly bool    // the file system has given up
	goesOn   float64 // something is written to it again; 0: nothing is
	watched  float64 // the end of watching; 0: it could not be watched
	spoilt   string  // what the load says when not all that it wrote is there
}

func (f fate) lost() bool { return f.errors != 0 || f.goesOn == 0 || f.spoilt != "" }

// String is what the table has.
func (f fate) String() string {
	text := fmt.Sprintf("hangs for %.0f s", f.watched)
	switch {
	case f.watched == 0:
		return "not measured"
	case f.readOnly:
		text = "root read-only"
	case f.goesOn != 0:
		text = fmt.Sprintf("goes on after %.0f s", f.goesOn)
	}
	if f.errors != 0 {
		text = fmt.Sprintf("I/O errors after %.0f s, %s", f.errors, text)
	}
	if f.spoilt != "" {
		text += ", " + f.spoilt
	}
	return text
}

// survive boots a root by an image, has its load written, makes the fault, and
// watches.
func survive(ctx context.Context, lab *qemutests.Lab, dir, image string, parameters []string, fault qemutests.Fault) (f fate, err error) {
	system := func(name string) initramfs.File {
		return initramfs.File{Source: filepath.Join(lab.Repo, "qemu-tests", "system", name), Destination: "/sbin/" + name}
	}
	root, err := lab.MakeRoot(ctx, dir, "survival", system("rootlun-agent"), system("rootlun-load"))
	if err != nil {
		return f, err
	}
	far, err := qemutests.StartFar(ctx, []string{portal + "/24"})
	if err != nil {
		return f, err
	}
	defer far.Close()
	tgt, err := far.TGT(ctx, dir, qemutests.Target{Name: target, Image: root, LUN: 1})
	if err != nil {
		return f, err
	}
	defer tgt.Close()
	cable, err := qemutests.NewCable(far.Segments[0], nil)
	if err != nil {
		return f, err
	}
	defer cable.Close()
	machine, err := lab.Start(ctx, qemutests.Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image, Net: "none", Agent: true,
		Plugs:   []qemutests.Plug{{Cable: cable, MAC: qemutests.GuestMAC}},
		Cmdline: append([]string{"root=LABEL=" + qemutests.RootLabel, "rw", "init=/sbin/rootlun-agent"}, parameters...),
	})
	if err != nil {
		return f, err
	}
	defer machine.Kill()
	if _, _, err := machine.Agent.Run(time.Now().Add(limit), "rootlun-load run >/dev/null 2>&1 & until [ -s /run/load/count ]; do sleep 0.1; done"); err != nil {
		return f, fmt.Errorf("%w; the console's log:\n%s", err, machine.Console)
	}
	before, err := look(machine)
	if err != nil {
		return f, err
	}
	if err := fault.Make(ctx, qemutests.Path{Machine: machine, Cable: cable, Target: tgt}); err != nil {
		return f, err
	}
	return watch(machine, before.uptime)
}

// watch watches a root whose fault is over until its fate is clear. began is when
// the fault did, on the machine's clock.
func watch(machine *qemutests.Running, began float64) (f fate, err error) {
	end := time.Now().Add(aftermath)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	first, err := look(machine)
	if err != nil {
		return f, err
	}
	for {
		now, err := look(machine)
		if err != nil {
			return f, err
		}
		f.watched = now.uptime - began
		f.tell(machine.Console.String(), began)
		switch {
		case f.readOnly || time.Now().After(end):
			return f, nil
		case now.written >= first.written+3:
			f.goesOn = f.watched
			out, _, err := machine.Agent.Run(time.Now().Add(limit), "rootlun-load check")
			if !strings.HasSuffix(out, " failed 0 bad 0\n") {
				f.spoilt = strings.TrimSpace(out)
			}
			f.tell(machine.Console.String(), began)
			return f, err
		}
		<-tick.C
	}
}

// tell notes what the kernel says of the root's disk and file system. /proc/mounts
// cannot be asked: Debian 12's kernel leaves "rw" there when it gives a file system up.
func (f *fate) tell(console string, began float64) {
	if times, err := find(console, `\[ *([0-9.]+)\][^\n]*I/O error`); err == nil {
		f.errors = times[0] - began
	}
	f.readOnly = strings.Contains(console, "Remounting filesystem read-only")
}

// sight is how a load is at a moment.
type sight struct {
	written int     // files
	uptime  float64 // seconds, of the machine
}

// look asks a machine how its load is. The shell needs no disk for that.
func look(machine *qemutests.Running) (s sight, err error) {
	out, _, err := machine.Agent.Run(time.Now().Add(answer),
		"until read -r written failed </run/load/count; do :; done; read -r uptime _ </proc/uptime; echo $((written - failed)) $uptime")
	if err != nil {
		return s, fmt.Errorf("%w; the console's log:\n%s", err, machine.Console)
	}
	_, err = fmt.Sscan(out, &s.written, &s.uptime)
	return s, err
}
