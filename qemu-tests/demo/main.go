// Demo boots a machine from an iSCSI disk before one's eyes: its firmware
// publishes an iBFT, tgt serves a small root, and the root's init reports.
// It ends with code 0 when that init ran from the iSCSI disk.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	qemutests "github.com/rootlun/rootlun/qemu-tests"
)

const (
	initiator = "iqn.2025-01.demo.rootlun:machine"
	target    = "iqn.2025-01.demo.rootlun:disk"
	limit     = 5 * time.Minute // for a boot that nobody talks to
)

func main() {
	shell := flag.Bool("shell", false, "stay at a shell in the booted root")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := demo(ctx, *shell)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, shell bool) error {
	dir, err := os.MkdirTemp("", "rootlun-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("demo: building rootlun, its image and a root file system; starting tgt")
	lab, err := qemutests.NewLab(ctx)
	if err != nil {
		return err
	}
	image, err := lab.MakeImage(ctx, dir)
	if err != nil {
		return err
	}
	disk := qemutests.Target{Name: target, LUN: 1}
	if disk.Image, err = lab.MakeRoot(ctx, dir, "demo"); err != nil {
		return err
	}
	tgt, err := qemutests.StartTGT(ctx, dir, disk)
	if err != nil {
		return err
	}
	defer tgt.Close()
	table, err := qemutests.WriteTable(dir, qemutests.FirmwareTable(initiator, uint16(tgt.Port), disk))
	if err != nil {
		return err
	}
	m := qemutests.Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image, ACPI: table, Copy: os.Stdout,
		Cmdline: []string{"rd.iscsi.firmware", "rd.emergency=poweroff", "rd.rootlun.timeout=60", "loglevel=4"},
	}
	if shell {
		m.Stdin = os.Stdin
		m.Cmdline = append(m.Cmdline, "test.end=shell")
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	fmt.Printf("demo: the machine starts (QEMU, %s)\n", lab.Accel)
	machine, err := lab.Start(ctx, m)
	if err != nil {
		return err
	}
	if err := machine.Wait(); err != nil {
		return err
	}
	report, err := machine.Report()
	if err != nil {
		return err
	}
	return tell(report)
}

// tell prints the timeline, and checks from what the root's init ran.
func tell(report qemutests.Report) error {
	var state struct {
		Timeline []struct {
			Milliseconds float64 `json:"ms"`
			Name         string  `json:"step"`
			Text         string  `json:"text"`
		} `json:"timeline"`
	}
	if err := json.Unmarshal([]byte(report["/run/rootlun/state.json"]), &state); err != nil {
		return fmt.Errorf("/run/rootlun/state.json: %w", err)
	}
	fmt.Println("\ndemo: the timeline, in milliseconds since the start of /init")
	for _, step := range state.Timeline {
		fmt.Printf("%8.0f  %-8s %s\n", step.Milliseconds, step.Name, step.Text)
	}
	session := report.Text("/sys/class/iscsi_session/session*/targetname")
	device := report.Text("/sys/class/iscsi_session/session*/device/target*/*/block/*")
	if session != target || device == "" || !strings.Contains(report["/proc/mounts"], "/dev/"+device+" / ext4 ") {
		return errors.New("the root's init did not run from the iSCSI disk")
	}
	fmt.Printf("demo: the root's init ran from /dev/%s, the disk of %s\n", device, session)
	return nil
}
