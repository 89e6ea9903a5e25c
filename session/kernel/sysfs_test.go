package kernel

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newSysfs builds a tree as the kernel has it for session 7 on host 3 with the
// units 1 (a disk), 2 (a disk without its block device) and 0 (a controller).
func newSysfs(t *testing.T) Sysfs {
	t.Helper()
	root := t.TempDir()
	const session = "devices/platform/host3/session7"
	const class = session + "/iscsi_session/session7"
	files := map[string]string{
		"class/iscsi_transport/tcp/handle":                    "18446744072646406851\n",
		class + "/targetname":                                 "iqn.2001-04.com.example:disk\n",
		class + "/username":                                   "(null)\n",
		class + "/password":                                   "<NULL>\n",
		class + "/recovery_tmo":                               "120\n",
		class + "/target_id":                                  "2\n",
		session + "/target3:0:0/3:0:0:1/inquiry":              "\x00\x00\x05\x02",
		session + "/target3:0:0/3:0:0:1/vendor":               "IET     \n",
		session + "/target3:0:0/3:0:0:1/model":                "VIRTUAL-DISK    \n",
		session + "/target3:0:0/3:0:0:1/queue_depth":          "32\n",
		session + "/target3:0:0/3:0:0:1/block/sda/size":       "204800\n",
		session + "/target3:0:0/3:0:0:2/inquiry":              "\x00\x00\x05\x02",
		session + "/target3:0:0/3:0:0:0/inquiry":              "\x2c\x00\x05\x02",
		"devices/platform/host3/scsi_host/host3/scan":         "",
		"devices/c/connection7:0/persistent_address":          "192.0.2.1\n",
		"devices/platform/host4/session12/iscsi_session/dir1": "",
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"class/iscsi_session/session7":         "../../" + class,
		"class/iscsi_session/session12":        "../../devices/platform/host4/session12/iscsi_session",
		class + "/device":                      "../../../session7",
		"class/scsi_host/host3":                "../../devices/platform/host3/scsi_host/host3",
		"class/iscsi_connection/connection7:0": "../../devices/c/connection7:0",
		"class/block/sda":                      "../../" + session + "/target3:0:0/3:0:0:1/block/sda",
	}
	for name, target := range links {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	return Sysfs(root)
}

func TestSysfsReads(t *testing.T) {
	s := newSysfs(t)
	handle, err := s.Handle()
	if err != nil || handle != testHandle {
		t.Errorf("handle %#x, error %v", handle, err)
	}
	sids, err := s.Sessions()
	if diff := cmp.Diff([]uint32{7, 12}, sids); err != nil || diff != "" {
		t.Errorf("sessions: error %v (-want +got):\n%s", err, diff)
	}
	host, err := s.HostNo(7)
	if err != nil || host != 3 {
		t.Errorf("host %d, error %v", host, err)
	}
	if got, none := s.TargetID(7), s.TargetID(12); got != 2 || none != 0 {
		t.Errorf("targets %d and %d, want 2 and 0", got, none)
	}
	for name, want := range map[string]string{"targetname": "iqn.2001-04.com.example:disk", "username": "", "password": ""} {
		got, err := s.SessionAttr(7, name)
		if err != nil || got != want {
			t.Errorf("%s is %q, error %v; want %q", name, got, err, want)
		}
	}
	if got, err := s.ConnAttr(7, 0, "persistent_address"); err != nil || got != "192.0.2.1" {
		t.Errorf("persistent_address is %q, error %v", got, err)
	}
	if size, err := s.BlockSize("sda"); err != nil || size != 100<<20 {
		t.Errorf("size %d, error %v", size, err)
	}
}

func TestUnit(t *testing.T) {
	s := newSysfs(t)
	tests := []struct {
		lun   uint64
		want  Unit
		block string
	}{
		{1, Unit{Vendor: "IET", Model: "VIRTUAL-DISK", QueueDepth: "32"}, "sda"},
		{2, Unit{}, ""},
		{0, Unit{Qualifier: 1, Type: 12}, ""},
	}
	for _, test := range tests {
		u, err := s.Unit(7, 3, 0, test.lun)
		if err != nil {
			t.Fatal(err)
		}
		block, err := u.Block()
		if err != nil || block != test.block {
			t.Errorf("LUN %d: block %q, error %v; want %q", test.lun, block, err, test.block)
		}
		u.Dir = ""
		if diff := cmp.Diff(test.want, u); diff != "" {
			t.Errorf("LUN %d (-want +got):\n%s", test.lun, diff)
		}
	}
	if _, err := s.Unit(7, 3, 0, 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LUN 5: error %v, want fs.ErrNotExist", err)
	}
}

// What is below sysfs is read as it is, in one line, and without what drives a
// terminal.
func TestAttr(t *testing.T) {
	s := newSysfs(t)
	unit := UnitDir(3, 0, 1)
	if diff := cmp.Diff("class/scsi_device/3:0:0:1/device/", unit); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"state": " run\nning\x1b[2J\x7f\n", "block/sd\x1ba/size": "1"} {
		path := filepath.Join(s.path(unit), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := []string{s.Attr(unit + "state"), s.Attr(unit + "none"), s.Attr("class/iscsi_session/session7/username"), s.Disk(unit), s.Disk(UnitDir(3, 0, 9))}
	if diff := cmp.Diff([]string{" run?ning?[2J?", "", "", "sd?a", ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSysfsWrites(t *testing.T) {
	s := newSysfs(t)
	for d, want := range map[time.Duration]string{86400 * time.Second: "86400", -time.Second: "off", 0: "0"} {
		// A real attribute takes each write whole; a file keeps its old tail.
		if err := os.WriteFile(s.session(7, "recovery_tmo"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.PinRecoveryTimeout(7, d); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.SessionAttr(7, "recovery_tmo"); got != want {
			t.Errorf("%v is written as %q, want %q", d, got, want)
		}
	}
	if err := s.Scan(3, 2, 16385); err != nil {
		t.Fatal(err)
	}
	if got, _ := readAttr(s.path("class/scsi_host/host3/scan")); got != "0 2 16385" {
		t.Errorf("scan is %q", got)
	}
	if err := s.PinRecoveryTimeout(8, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a session that is not there: error %v", err)
	}
}

func TestWithoutISCSI(t *testing.T) {
	s := Sysfs(t.TempDir())
	if _, err := s.Handle(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if sids, err := s.Sessions(); err != nil || len(sids) != 0 {
		t.Errorf("sessions %v, error %v", sids, err)
	}
}

func TestAttributesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(path, make([]byte, 3*attrSize), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := readFile(path); err != nil || len(b) != attrSize {
		t.Errorf("%d bytes, error %v", len(b), err)
	}
}
