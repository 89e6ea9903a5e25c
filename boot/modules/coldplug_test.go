package modules

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
)

// fakeEvents is a subscription whose events a test sends.
type fakeEvents struct {
	queue  chan kernel.Uevent
	lost   chan struct{}
	broken chan error
	closed bool
}

func (f *fakeEvents) Next(ctx context.Context) (kernel.Uevent, bool, error) {
	select {
	case ev := <-f.queue:
		return ev, false, nil
	case <-f.lost:
		return kernel.Uevent{}, true, nil
	case err := <-f.broken:
		return kernel.Uevent{}, false, err
	case <-ctx.Done():
		return kernel.Uevent{}, false, ctx.Err()
	}
}

func (f *fakeEvents) Close() error {
	f.closed = true
	return nil
}

func addDevice(t *testing.T, sys, bus, name, modalias string) {
	t.Helper()
	dir := filepath.Join(sys, "bus", bus, "devices", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "modalias"), []byte(modalias+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

const (
	virtioPCI = "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00"
	virtioNet = "virtio:d00000001v00001AF4"
	mellanox  = "pci:v000015B3d00001003sv1sd1bc1sc1i1"
)

// A device that is there, one that a driver brings, one that an event tells,
// one whose event was lost, and one on the blacklist.
func TestColdplug(t *testing.T) {
	l, r := testLoader(t, "modprobe.blacklist=mlx4-core", map[string]error{"crc32c-intel.ko": unix.ENODEV, "crc32c_generic.ko": unix.ENOEXEC})
	addDevice(t, l.sys, "pci", "0000:00:02.0", virtioPCI)
	addDevice(t, l.sys, "pci", "0000:00:03.0", virtioPCI)
	addDevice(t, l.sys, "pci", "0000:00:04.0", mellanox)
	addDevice(t, l.sys, "cpu", "cpu0", "crypto-crc32c")
	addDevice(t, l.sys, "acpi", "none", "")
	loaded := make(chan string, 20)
	insert := l.insert
	l.insert = func(path, options string) error {
		name := moduleName(path)
		if name == "virtio_pci" {
			addDevice(t, l.sys, "virtio", "virtio0", virtioNet)
		}
		err := insert(path, options)
		loaded <- name
		return err
	}
	var mu sync.Mutex
	var warnings []string
	l.Warn = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, err.Error())
	}
	ev := &fakeEvents{queue: make(chan kernel.Uevent), lost: make(chan struct{}), broken: make(chan error)}
	l.listen = func() (events, error) { return ev, nil }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Coldplug(ctx) }()

	<-l.Coldplugged()
	for range 6 {
		<-loaded
	}
	got := slices.Sorted(slices.Values(r.calls))
	want := []string{"crc32c-intel.ko", "crc32c_generic.ko", "failover.ko", "virtio.ko", "virtio_net.ko", "virtio_pci.ko"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded at the start (-want +got):\n%s", diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "crc32c_generic.ko") {
		t.Errorf("warnings %q, want one, of crc32c_generic", warnings)
	}

	ev.queue <- kernel.Uevent{Action: "add", Env: map[string]string{"MODALIAS": mellanox}}
	ev.queue <- kernel.Uevent{Action: "remove", Env: map[string]string{"MODALIAS": "circle_b"}}
	ev.queue <- kernel.Uevent{Action: "add", Env: map[string]string{"MODALIAS": "net-pf-16-proto-8"}}
	if name := <-loaded; name != "scsi_transport_iscsi" {
		t.Errorf("an event loaded %s, want scsi_transport_iscsi", name)
	}
	addDevice(t, l.sys, "platform", "late", "libiscsi")
	ev.lost <- struct{}{}
	if name := <-loaded; name != "libiscsi" {
		t.Errorf("the walk after lost events loaded %s, want libiscsi", name)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("error %v at the end, want none", err)
	}
	if !ev.closed {
		t.Error("the subscription was not closed")
	}
}

func TestColdplugErrors(t *testing.T) {
	failure := errors.New("no netlink")
	l, _ := testLoader(t, "", nil)
	l.listen = func() (events, error) { return nil, failure }
	if err := l.Coldplug(t.Context()); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
	<-l.Coldplugged() // nobody waits in vain
	l, _ = testLoader(t, "", nil)
	ev := &fakeEvents{broken: make(chan error, 1)}
	ev.broken <- failure
	l.listen = func() (events, error) { return ev, nil }
	if err := l.Coldplug(t.Context()); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
}
