package session

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/session/kernel"
)

// A unit that is no disk, such as the controller that tgt has as LUN 0, is as
// one that is not there: to try it again is of no use.
func TestUnit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		inquiry byte // the first: qualifier and type
		none    bool
	}{
		{"disk", 0, false},
		{"optical memory", 7, false},
		{"controller", 12, true},
		{"tape", 1, true},
		{"not connected", 0x7f, true},
	} {
		root := t.TempDir()
		unit := filepath.Join(root, "devices/host2", kernel.UnitPath(1, 2, 0, 0))
		class := filepath.Join(root, "class/iscsi_session/session1")
		for _, dir := range []string{unit, class} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(unit, "inquiry"), []byte{tt.inquiry, 0, 6, 2}, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, "devices/host2/session1"), filepath.Join(class, "device")); err != nil {
			t.Fatal(err)
		}
		s := &Session{SID: 1, HostNo: 2, in: &Initiator{sys: kernel.Sysfs(root)}}
		_, _, err := s.unit(0)
		if errors.Is(err, ErrNoLUN) != tt.none || !tt.none && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A session of an offload adapter: its target is not the host's only one. To
// find its disk, or not to find it, asks nothing of the kernel's class.
func TestAttach(t *testing.T) {
	k, in := newFakeKernel(t)
	const sid = 7
	class := filepath.Join(k.Root, "class/iscsi_session/session7")
	device := filepath.Join(k.Root, "devices/host2/session7")
	unit := filepath.Join(k.Root, "devices/host2", kernel.UnitPath(sid, 2, 3, 1))
	scan := filepath.Join(k.Root, "class/scsi_host/host2/scan")
	for name, text := range map[string]string{
		filepath.Join(class, "state"):                               "LOGGED_IN\n",
		filepath.Join(class, "target_id"):                           "3\n",
		filepath.Join(unit, "inquiry"):                              "\x00\x00\x06\x02",
		filepath.Join(unit, "vendor"):                               "QLOGIC\n",
		filepath.Join(unit, "block/sdb/size"):                       "2048\n",
		filepath.Join(k.Root, "class/block/sdb/size"):               "2048\n",
		filepath.Join(device, "target2:0:0/2:0:0:1/block/sda/size"): "1\n", // another session's
		scan: "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(device, filepath.Join(class, "device")); err != nil {
		t.Fatal(err)
	}
	s, err := in.Attach(sid, Default())
	if err != nil {
		t.Fatal(err)
	}
	disk, err := s.Disk(t.Context(), 1)
	if want := (Disk{Name: "sdb", LUN: 1, Size: 1 << 20, Vendor: "QLOGIC"}); err != nil || disk != want {
		t.Errorf("got %+v, %v, want %+v", disk, err, want)
	}
	if _, err := s.Disk(t.Context(), 5); !errors.Is(err, ErrNoLUN) {
		t.Errorf("LUN 5: %v", err)
	}
	if b, err := os.ReadFile(scan); err != nil || string(b) != "0 3 5" {
		t.Errorf("scanned %q, %v", b, err)
	}
	// All units are looked at: those that were there are read anew.
	rescan := filepath.Join(k.Root, "class/scsi_device/2:0:3:1/device/rescan")
	if err := os.MkdirAll(filepath.Dir(rescan), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{rescan: "", scan: "", filepath.Join(k.Root, "class/block/sdb/size"): "4096\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	disks, err := s.Disks(t.Context())
	if want := []Disk{{Name: "sdb", LUN: 1, Size: 2 << 20, Vendor: "QLOGIC"}}; err != nil || !slices.Equal(disks, want) {
		t.Errorf("got %+v, %v, want %+v", disks, err, want)
	}
	if b, err := os.ReadFile(rescan); err != nil || string(b) != "1" {
		t.Errorf("rescan is %q, %v", b, err)
	}
	if b, err := os.ReadFile(scan); err != nil || string(b) != "0 3 -" {
		t.Errorf("scanned %q, %v", b, err)
	}
	// iscsi_tcp's own calls are not for an adapter's session.
	driver := filepath.Join(k.Root, "class/scsi_host/host2/proc_name")
	if err := os.WriteFile(driver, []byte("qedi\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Logout(t.Context()); err == nil || !strings.Contains(err.Error(), "driver qedi") {
		t.Errorf("logout: %v", err)
	}
	if log := k.TakeLog(); len(log) > 0 {
		t.Errorf("the kernel was asked for %q", log)
	}
}
