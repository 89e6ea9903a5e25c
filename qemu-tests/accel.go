package qemutests

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

// probeAccel returns the accelerator that works here. /dev/kvm may be there and
// its guests hang all the same, so a guest of five bytes has to prove it: it
// ends QEMU by a write to the isa-debug-exit device.
func probeAccel(ctx context.Context) string {
	if accel := os.Getenv("ROOTLUN_ACCEL"); accel != "" {
		return accel
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return "tcg"
	}
	sector := make([]byte, 512)
	copy(sector, []byte{
		0xb0, 0x10, // mov al, 16
		0xe6, 0xf4, // out 0xf4, al
		0xf4, // hlt
	})
	sector[510], sector[511] = 0x55, 0xaa
	file, err := os.CreateTemp("", "rootlun-probe-")
	if err != nil {
		return "tcg"
	}
	defer os.Remove(file.Name())
	_, err = file.Write(sector)
	if errors.Join(err, file.Close()) != nil {
		return "tcg"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "kvm", "-m", "16", "-display", "none",
		"-net", "none", "-device", "isa-debug-exit,iobase=0xf4", "-drive", "format=raw,file="+file.Name()).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 16<<1|1 {
		return "kvm"
	}
	return "tcg"
}
