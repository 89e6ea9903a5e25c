package session

import (
	"math/rand/v2"
	"time"
)

// Attempts at what may pass by itself are backoffFirst apart at first; the pause
// doubles up to backoffMost.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// Backoff says how long to wait between attempts. The zero Backoff is at its
// beginning.
type Backoff struct{ last time.Duration }

// Next returns the pause after an attempt that failed: 100 ms the first time,
// then twice the one before up to 5 s, all of it jittered.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, backoffFirst), backoffMost)
	return Jitter(b.last)
}

// Jitter returns d, give or take a quarter: machines that lost the same target
// must not ask for it in step.
func Jitter(d time.Duration) time.Duration { return d - d/4 + rand.N(d/2+1) }
