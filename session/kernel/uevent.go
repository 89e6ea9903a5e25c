package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupKernel = 1       // what the kernel says itself; udev's own group is 2
	ueventSize  = 8 << 10 // UEVENT_BUFFER_SIZE is 2048, plus the path
)

// Uevent is one message of NETLINK_KOBJECT_UEVENT (lib/kobject_uevent.c).
type Uevent struct {
	Action  string            // "add", "remove", "change", …
	DevPath string            // below /sys, with a leading slash
	Env     map[string]string // SUBSYSTEM, MODALIAS, DEVNAME, …
}

// Uevents is a subscription to the kernel's uevents. One goroutine reads it.
type Uevents struct {
	file *os.File
	raw  syscall.RawConn
	buf  [ueventSize]byte
}

// ListenUevents subscribes. Events from then on are kept until read.
func ListenUevents() (*Uevents, error) {
	file, err := listen(unix.NETLINK_KOBJECT_UEVENT, groupKernel)
	if err != nil {
		return nil, fmt.Errorf("NETLINK_KOBJECT_UEVENT: %w", err)
	}
	u, err := newUevents(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("NETLINK_KOBJECT_UEVENT: %w", err)
	}
	return u, nil
}

func newUevents(file *os.File) (*Uevents, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var setErr error
	err = raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	return &Uevents{file: file, raw: raw}, errors.Join(err, setErr)
}

// Next waits for the next event, or returns ctx's error. Lost is true when the
// kernel dropped events since the last call (ENOBUFS): look at sysfs again; ev
// is empty then.
func (u *Uevents) Next(ctx context.Context) (ev Uevent, lost bool, err error) {
	if err := ctx.Err(); err != nil {
		return Uevent{}, false, err
	}
	wait, err := endWith(ctx, u.file.SetReadDeadline)
	if err != nil {
		return Uevent{}, false, err
	}
	defer wait()

	for {
		control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
		n, controlSize, from, err := receive(u.raw, u.buf[:], control)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return Uevent{}, true, nil
		case err != nil && ctx.Err() != nil:
			return Uevent{}, false, ctx.Err()
		case err != nil:
			return Uevent{}, false, fmt.Errorf("NETLINK_KOBJECT_UEVENT: %w", err)
		}
		if from != 0 || !sentByRoot(control[:controlSize]) {
			continue
		}
		if ev, ok := parseUevent(u.buf[:n]); ok {
			return ev, false, nil
		}
	}
}

// Close ends the subscription.
func (u *Uevents) Close() error { return u.file.Close() }

// endWith makes waits on a file end when ctx does. The function it returns
// takes that back.
func endWith(ctx context.Context, setDeadline func(time.Time) error) (undo func(), err error) {
	if err := setDeadline(time.Time{}); err != nil {
		return nil, err
	}
	ran := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(time.Unix(1, 0)) // long ago
		close(ran)
	})
	return func() {
		if !stop() {
			<-ran // it must not set the deadline of a later wait
		}
	}, nil
}

// parseUevent reads "ACTION@DEVPATH", NUL, and "KEY=VALUE", NUL, …
func parseUevent(b []byte) (Uevent, bool) {
	head, rest, ok := strings.Cut(string(b), "\x00")
	if !ok {
		return Uevent{}, false
	}
	action, path, ok := strings.Cut(head, "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") {
		return Uevent{}, false
	}
	ev := Uevent{Action: action, DevPath: path, Env: map[string]string{}}
	for _, line := range strings.Split(rest, "\x00") {
		if key, value, ok := strings.Cut(line, "="); ok {
			ev.Env[key] = value
		}
	}
	return ev, true
}

// sentByRoot says whether a datagram's credentials are root's; the kernel's
// own are.
func sentByRoot(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			return cred.Uid == 0
		}
	}
	return false
}
