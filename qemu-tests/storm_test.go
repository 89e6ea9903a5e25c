package qemutests

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestStorm: 200 initiators at once, whose target goes away for 2 s when half of
// them are there. All log in, and none comes back earlier than its pauses allow.
func TestStorm(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tgtd"); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.img")
	if err := makeSparse(image, 1<<20); err != nil {
		t.Fatal(err)
	}
	tgt, err := StartTGT(ctx, dir, Target{Name: targetName, Image: image, LUN: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { tgt.Close() }()
	const initiators = 200
	r, err := Storm{
		Initiators: initiators, Portal: fmt.Sprintf("127.0.0.1:%d", tgt.Port), Target: targetName,
		Restart: func(ctx context.Context) error { return tgt.Restart(ctx, 2*time.Second) },
	}.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost < initiators/2 || r.Failed == 0 {
		t.Errorf("%d sessions lost, %d attempts failed: the target did not go away", r.Lost, r.Failed)
	}
	for i, attempts := range r.Attempts {
		pause := 100 * time.Millisecond
		for n := 1; n < len(attempts); n++ {
			if attempts[n-1].LoggedIn {
				pause = 100 * time.Millisecond
			}
			if after := attempts[n].At - attempts[n-1].At; after < pause*3/4 {
				t.Errorf("initiator %d: attempt %d comes after %v, want a pause of %v, give or take a quarter", i, n+1, after, pause)
			}
			pause = min(2*pause, 5*time.Second)
		}
	}
	t.Logf("%d initiators: away at %v, back at %v, all there at %v, %d attempts failed", initiators, r.Away, r.Back, r.All, r.Failed)
}
