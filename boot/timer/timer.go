// Package timer waits for a time to come. A deadline and time.AfterFunc do it,
// so that nothing needs the runtime's timers with channels, 4 KB of them.
package timer

import (
	"context"
	"time"
)

// Wait waits for d, or until ctx ends, whose error it then returns.
func Wait(ctx context.Context, d time.Duration) error {
	bound, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-bound.Done()
	return ctx.Err()
}

// After returns a channel that can be received from once, when d has passed.
func After(d time.Duration) <-chan struct{} {
	passed := make(chan struct{}, 1)
	time.AfterFunc(d, func() { passed <- struct{}{} })
	return passed
}
