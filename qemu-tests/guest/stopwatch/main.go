// Stopwatch runs in a guest: it runs the command in its arguments and prints
// the milliseconds until the kernel announced the next disk, and until the
// command's end; with -end before the command, the latter alone.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

const limit = 60 * time.Second

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-end" {
		cmd := exec.Command(os.Args[2], os.Args[3:]...)
		var out bytes.Buffer // a console takes its time
		cmd.Stdout, cmd.Stderr = &out, &out
		start := time.Now()
		err := cmd.Run()
		end := time.Since(start)
		if fmt.Print(out.String()); err != nil {
			log.Fatalf("stopwatch: %v", err)
		}
		fmt.Printf("stopwatch: end %.1f\n", milliseconds(end))
		return
	}
	disk, end, err := measure(exec.Command(os.Args[1], os.Args[2:]...))
	if err != nil {
		log.Fatalf("stopwatch: %v", err)
	}
	fmt.Printf("stopwatch: disk %.1f end %.1f\n", milliseconds(disk), milliseconds(end))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func measure(cmd *exec.Cmd) (disk, end time.Duration, err error) {
	events, err := listen()
	if err != nil {
		return 0, 0, err
	}
	defer events.Close()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		end = time.Since(start)
		if err != nil { // there will be no disk
			err = errors.Join(err, events.SetReadDeadline(time.Now()))
		}
		ended <- err
	}()
	event := make([]byte, 16<<10)
	for disk == 0 {
		n, err := events.Read(event)
		if err != nil {
			return 0, 0, errors.Join(fmt.Errorf("no disk: %w", err), <-ended)
		}
		if bytes.HasPrefix(event[:n], []byte("add@")) && bytes.Contains(event[:n], []byte("\x00DEVTYPE=disk\x00")) {
			disk = time.Since(start)
		}
	}
	err = <-ended
	return disk, end, err
}

// listen subscribes to the kernel's uevents.
func listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	events := os.NewFile(uintptr(fd), "uevents")
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}),
		events.SetReadDeadline(time.Now().Add(limit)))
	if err != nil {
		return nil, errors.Join(err, events.Close())
	}
	return events, nil
}
