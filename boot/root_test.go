package boot

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/fw"
)

func TestSplitFlags(t *testing.T) {
	for _, tt := range []struct {
		root  fw.Root
		flags uintptr
		data  string
	}{
		{fw.Root{}, 0, ""},
		{fw.Root{ReadOnly: true}, unix.MS_RDONLY, ""},
		{fw.Root{ReadOnly: true, Flags: "rw,noatime"}, unix.MS_NOATIME, ""},
		{fw.Root{Flags: "subvol=@,,ro,compress=zstd,_netdev,nodev"}, unix.MS_RDONLY | unix.MS_NODEV, "subvol=@,compress=zstd"},
	} {
		if flags, data := splitFlags(tt.root); flags != tt.flags || data != tt.data {
			t.Errorf("%+v: %#x %q, want %#x %q", tt.root, flags, data, tt.flags, tt.data)
		}
	}
}

// Every process inherits init's environment, so netroot= and its secret must
// not be in it.
func TestInitEnvironment(t *testing.T) {
	got := initEnvironment([]string{"TERM=vt100", "netroot=iscsi:user:secret@host", "iscsi_password=secret", "ip=dhcp", "quirk=1"})
	want := []string{"TERM=vt100", "quirk=1", "HOME=/"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExecError(t *testing.T) {
	for err, want := range map[error]string{
		unix.ENOENT:  "run /sbin/init: no such file or directory; check that its interpreter or dynamic loader is in the root",
		unix.ENOEXEC: "run /sbin/init: exec format error; check that the root is for this machine's architecture",
		unix.EACCES:  "run /sbin/init: permission denied",
	} {
		if got := execError("/sbin/init", err); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
