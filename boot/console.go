package boot

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/boot/timer"
)

// waitTick is how often a wait says that it is still waiting.
const waitTick = 10 * time.Second

// maxSteps is how many lines the timeline holds, beside those that are steps.
const maxSteps = 1000

// Console tells a person what happens, one line a step, and keeps the steps
// for the timeline in state.json. Several goroutines may use it. It implements
// network.Progress.
type Console struct {
	out   io.Writer
	log   io.Writer // the kernel's log; nil: none
	start time.Time

	mu    sync.Mutex
	steps []Step
}

// Step is one line of the timeline.
type Step struct {
	Time time.Duration // since the start of /init
	Name string        // plan, network, login, disk, root, handoff; empty: a remark
	Text string
}

// NewConsole writes to out; times count from start. NewConsole is given the
// moment at which the program began, so that nothing before it is hidden.
func NewConsole(out io.Writer, start time.Time) *Console {
	return &Console{out: out, start: start}
}

// LogTo sends every line to the kernel's log as well, where the booted system
// finds it (dmesg). It goes there at the debug level, which the kernel does
// not print on the console a second time.
func (c *Console) LogTo(kmsg io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = kmsg
}

// Step says that a step is done, and what came out of it.
func (c *Console) Step(name, format string, args ...any) {
	c.line(Step{Name: name, Text: fmt.Sprintf(format, args...)})
}

// Printf says something that is no step: a warning, an attempt that failed.
func (c *Console) Printf(format string, args ...any) {
	c.line(Step{Text: fmt.Sprintf(format, args...)})
}

// Wait says every few seconds that what is still awaited, and how long the
// wait may take, until done is called.
func (c *Console) Wait(what string, limit time.Duration) (done func()) {
	return c.waitSince(time.Now(), func() string { return what }, limit)
}

// waitSince is Wait for what began earlier, and what changes.
func (c *Console) waitSince(began time.Time, what func() string, limit time.Duration) (done func()) {
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		for timer.Wait(ctx, waitTick) == nil {
			c.Printf("waiting for %s, %s", what(), elapsed(time.Since(began), limit))
		}
	})
	return sync.OnceFunc(func() { stop(); ended.Wait() })
}

// elapsed is "5 s of 60 s", or "5 s" where there is no limit.
func elapsed(d, limit time.Duration) string {
	s := fmt.Sprintf("%.0f s", d.Seconds())
	if limit > 0 {
		s += fmt.Sprintf(" of %.0f s", limit.Seconds())
	}
	return s
}

// Steps returns the timeline so far.
func (c *Console) Steps() []Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Step(nil), c.steps...)
}

func (c *Console) line(s Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Time = time.Since(c.start)
	if s.Name != "" || len(c.steps) < maxSteps { // a boot may wait for days
		c.steps = append(c.steps, s)
	}
	text := s.Text
	if s.Name != "" {
		text = s.Name + ": " + text
	}
	fmt.Fprintf(c.out, "rootlun %7.3f s  %s\n", s.Time.Seconds(), printable(text))
	if c.log != nil {
		fmt.Fprintf(c.log, "<7>rootlun: %s\n", printable(text))
	}
}

// printable replaces what a name from outside could use to forge a line or to
// drive the terminal, and the one sign of our own texts that is not ASCII: a
// serial console rarely shows it.
func printable(s string) string {
	b := []byte(strings.ReplaceAll(s, "…", "..."))
	for i, ch := range b {
		if ch < ' ' || ch == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}
