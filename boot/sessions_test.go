package boot

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rootlun/rootlun/session"
)

func TestUser(t *testing.T) {
	const other = "22 1 8:16 / /other rw - ext4 /dev/sdb rw\n"
	for name, tt := range map[string]struct {
		file, text string
		want       string
	}{
		"nothing":            {"proc/self/mountinfo", other, ""},
		"the root":           {"proc/self/mountinfo", other + "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n", ": sda1 is mounted on /"},
		"the disk":           {"proc/self/mountinfo", "23 1 8:0 / /mnt rw - xfs /dev/disk/by-path/x rw\n", ": sda is mounted on /mnt"},
		"btrfs":              {"proc/self/mountinfo", "23 1 0:30 /@ /srv rw - btrfs /dev/sda15 rw\n", ": sda15 is mounted on /srv"},
		"another one's name": {"proc/self/mountinfo", "23 1 8:160 / /mnt rw - xfs /dev/sda150 rw\n", ""},
		"swap":               {"proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda15  partition\t1024\t0\t-2\n", ": sda15 is swap"},
		"a volume":           {"sys/class/block/sda1/holders/dm-0", "", ": sda1 is part of dm-0"},
		"nonsense in mounts": {"proc/self/mountinfo", "\x00\n8:0\n \n/dev/sda\n", ": sda is swap"}, // and no panic
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{tt.file: {Data: []byte(tt.text)}}
			for name, text := range diskTree("iqn.x:a") {
				if strings.HasPrefix(name, "sys/class/block") {
					fsys[name] = &fstest.MapFile{Data: []byte(text)}
				}
			}
			if got := user(fsys, "sda"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A session is logged out when each of its disks could be opened alone, and that
// is not tried where it could take for ever.
func TestUnused(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(root string) error
		want string // what the error holds; empty: none
	}{
		"free": {func(string) error { return nil }, ""},
		"lost": {func(root string) error {
			return os.WriteFile(root+"sys/class/iscsi_session/session1/state", []byte("FAILED"), 0o644)
		}, "it is FAILED, so that sda cannot be asked"},
		"no node":       {func(root string) error { return os.Remove(root + "dev/sda") }, "sda cannot be taken: no such file or directory"},
		"no sysfs":      {func(root string) error { return os.RemoveAll(root + "sys") }, "no such file"},
		"without disks": {func(root string) error { return os.RemoveAll(root + "sys/class/scsi_device") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := linkTree(t, diskTree("iqn.x:a"))
			if err := tt.edit(root); err != nil {
				t.Fatal(err)
			}
			err := unused(root, &session.Session{SID: 1, HostNo: 2})
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
