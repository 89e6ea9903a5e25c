package session

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms, 5000 * ms}
	seen := map[time.Duration]bool{}
	for range 100 {
		var b Backoff
		for i, w := range want {
			got := b.Next()
			seen[got] = true
			if got < w*3/4 || got > w*5/4 {
				t.Fatalf("pause %d is %v, want %v give or take a quarter", i+1, got, w)
			}
		}
	}
	if len(seen) < 100*len(want)/2 {
		t.Errorf("of %d pauses only %d differ", 100*len(want), len(seen))
	}
	if Jitter(0) != 0 {
		t.Error("no pause is none")
	}
}
