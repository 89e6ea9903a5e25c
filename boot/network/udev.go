package network

import (
	"context"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// udevTimeout bounds the wait for udev, which has a queue of all devices.
const udevTimeout = 10 * time.Second

// awaitUdev waits, where udev runs, until it has done its part with a NIC that just
// came: it may give it another name, which the kernel allows from 6.2 on even when
// it is up. What udev has seen to has a file in its database (systemd,
// sd-device/device-private.c, device_update_db).
func (h host) awaitUdev(ctx context.Context, l *link, p Progress) error {
	done, data := fmt.Sprint("n", l.index), path.Join(h.run, "udev/data")
	if _, err := os.Stat(path.Join(h.run, "udev/control")); err != nil || h.run == "" {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	_ = os.MkdirAll(data, 0o755) // as udev does with the first device
	if _, err := unix.InotifyAddWatch(fd, data, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	_ = events.SetReadDeadline(time.Now().Add(udevTimeout))
	defer context.AfterFunc(ctx, func() { events.Close() })()
	for buf := make([]byte, 4096); ; {
		if _, err := os.Stat(path.Join(data, done)); err == nil {
			return nil
		}
		if _, err := events.Read(buf); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			p.Printf("%s: udev has not seen to it in %s; going on without", l.name, seconds(udevTimeout))
			return nil
		}
	}
}
