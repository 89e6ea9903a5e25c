package qemutests

import (
	"context"
	"os"
	"time"
)

// probeAccel returns the accelerator that works here: ROOTLUN_ACCEL, or kvm, or
// tcg. /dev/kvm may be there and its guests hang all the same, even after their
// firmware has run well; so a kernel has to come to its end, which is a panic
// for want of a root.
func probeAccel(ctx context.Context, kernel string) string {
	if accel := os.Getenv("ROOTLUN_ACCEL"); accel != "" {
		return accel
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return "tcg"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := run(ctx, "qemu-system-x86_64", "-accel", "kvm", "-machine", "q35", "-m", "256", "-display", "none",
		"-nodefaults", "-no-reboot", "-kernel", kernel, "-append", "panic=-1"); err != nil {
		return "tcg"
	}
	return "kvm"
}
