package session

import (
	"errors"
	"os"
	"path/filepath"
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
		unit := filepath.Join(root, "devices/host2", kernel.UnitPath(1, 2, 0))
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
