package kernel

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const diskAdded = "add@/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sda\x00ACTION=add\x00" +
	"DEVPATH=/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sda\x00SUBSYSTEM=block\x00" +
	"MAJOR=8\x00MINOR=0\x00DEVNAME=sda\x00DEVTYPE=disk\x00DISKSEQ=1\x00SEQNUM=1000\x00"

func TestParseUevent(t *testing.T) {
	const path = "/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sda"
	tests := []struct {
		name, in string
		want     Uevent
		ok       bool
	}{
		{"disk", diskAdded, Uevent{"add", path, map[string]string{
			"ACTION": "add", "DEVPATH": path, "SUBSYSTEM": "block", "MAJOR": "8", "MINOR": "0",
			"DEVNAME": "sda", "DEVTYPE": "disk", "DISKSEQ": "1", "SEQNUM": "1000",
		}}, true},
		{"a value with =", "change@/x\x00A=b=c\x00", Uevent{"change", "/x", map[string]string{"A": "b=c"}}, true},
		{"the last value without a NUL", "add@/x\x00A=b", Uevent{"add", "/x", map[string]string{"A": "b"}}, true},
		{"udev's own messages", "libudev\x00\xfe\xed\xca\xfe", Uevent{}, false},
		{"no NUL", "add@/x", Uevent{}, false},
		{"no path", "add@\x00", Uevent{}, false},
		{"no action", "@/x\x00", Uevent{}, false},
		{"nothing", "", Uevent{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parseUevent([]byte(test.in))
			if ok != test.ok {
				t.Fatalf("ok %v, want %v", ok, test.ok)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzUevent(f *testing.F) {
	f.Add([]byte(diskAdded))
	f.Add([]byte("libudev\x00\xfe\xed\xca\xfe"))
	f.Add([]byte("add@/x\x00=\x00\x00=="))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ev, ok := parseUevent(b); ok && (ev.Action == "" || ev.DevPath == "" || ev.Env == nil) {
			t.Errorf("%+v", ev)
		}
	})
}

// Only the kernel is believed, and the context ends the wait, once.
func TestUeventsOnlyFromKernel(t *testing.T) {
	k, _ := newFakeKernel(t)
	file, err := listen(unix.NETLINK_USERSOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUevents(file)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.raw.Control(func(fd uintptr) {
		address, err := unix.Getsockname(int(fd))
		if err != nil {
			t.Error(err)
			return
		}
		k.from = address.(*unix.SockaddrNetlink).Pid
	}); err != nil {
		t.Fatal(err)
	}

	for range 2 { // the first end leaves nothing behind for the second
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			_, _, err := u.Next(ctx)
			result <- err
		}()
		k.send([]byte(diskAdded))
		for queued(t, u) { // until Next has read it
		}
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context", err)
		}
	}
}

func queued(t *testing.T, u *Uevents) bool {
	var err error
	if e := u.raw.Control(func(fd uintptr) {
		_, _, err = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); e != nil {
		t.Fatal(e)
	}
	return err == nil
}
