package modules

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/timer"
)

// modprobeLimit bounds one call of modprobe; drivers that load their firmware take
// seconds.
const modprobeLimit = time.Minute

// insertModule gives the module in a file to the kernel. One that the kernel can't
// uncompress is left to the program that it would call itself for a module, kmod's
// modprobe, if that is there: not every kernel is built with
// CONFIG_MODULE_DECOMPRESS, which is as old as Linux 5.17, and the images of such
// kernels have it.
func insertModule(file, options string) error {
	err := finitModule(file, options)
	if !isCompressed(file) || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	text, _ := os.ReadFile("/proc/sys/kernel/modprobe")
	program := strings.TrimSpace(string(text))
	if _, stat := os.Stat(program); stat != nil {
		return err
	}
	return runProgram(modprobeLimit, append([]string{program, moduleName(file)}, strings.Fields(options)...))
}

// runProgram runs a program, whose messages go to our standard error, and ends it
// when the limit has passed.
func runProgram(limit time.Duration, argv []string) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []uintptr{null.Fd(), 2, 2},
	})
	if err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	ended := make(chan unix.WaitStatus, 1)
	go func() { // ends with the process
		var status unix.WaitStatus
		for err := error(unix.EINTR); err == unix.EINTR; {
			_, err = unix.Wait4(pid, &status, 0, nil)
		}
		ended <- status
	}()
	select {
	case status := <-ended:
		if status != 0 {
			return fmt.Errorf("%s ended with code %d", argv[0], status.ExitStatus())
		}
		return nil
	case <-timer.After(limit):
		_ = unix.Kill(pid, unix.SIGKILL)
		return fmt.Errorf("%s did not end within %.0f s", argv[0], limit.Seconds())
	}
}
