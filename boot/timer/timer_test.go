package timer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Wait(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("waited %v for a minute: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := Wait(ctx, time.Minute); err != context.DeadlineExceeded || time.Since(start) != time.Second {
			t.Errorf("waited %v for ctx's second: %v", time.Since(start), err)
		}
	})
}

// TestAfter: who selects in a loop is told once.
func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		passed := After(time.Minute)
		<-passed
		if time.Since(start) != time.Minute {
			t.Errorf("a minute is %v", time.Since(start))
		}
		select {
		case <-passed:
			t.Error("told twice")
		default:
		}
	})
}
