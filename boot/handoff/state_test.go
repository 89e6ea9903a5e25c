package handoff

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	state := State{
		Version: "v1", Initiator: "iqn.2026-01.net.example:node",
		NIC:      NIC{Name: "eth0", Address: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, DNS: []netip.Addr{}},
		NICs:     []NIC{},
		Paths:    []Path{},
		Session:  Session{SID: 1, ReplacementTimeout: 86400},
		Warnings: []string{},
		Timeline: []Step{{0.5, "plan", "a \"line\""}},
	}
	path := filepath.Join(t.TempDir(), "rootlun", "state.json")
	for range 2 { // the second time over the first
		if err := state.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got State
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := state.Write(filepath.Join(path, "below-a-file")); err == nil {
		t.Error("written below a file")
	}
}
