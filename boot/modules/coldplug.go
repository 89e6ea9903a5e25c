package modules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/rootlun/rootlun/fw/stable"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
)

// events is what Coldplug needs of kernel.Uevents.
type events interface {
	Next(context.Context) (ev kernel.Uevent, lost bool, err error)
	Close() error
}

func listenUevents() (events, error) { return kernel.ListenUevents() }

// Coldplug loads the drivers of the devices that are there, and then, until
// ctx ends, of those that appear (the kernel's uevents). It returns nil when
// ctx has ended and the loading that it began, which nothing can interrupt. A
// driver that fails is told to Warn; an error means that no events come any
// more. Call it once.
func (l *Loader) Coldplug(ctx context.Context) error {
	queue, err := l.listen() // before the walk, so that no device is missed
	if err != nil {
		close(l.coldplugged)
		return fmt.Errorf("watch for devices: %w", err)
	}
	defer queue.Close()
	p := &plugger{l, make(chan struct{}, atOnce)}
	seen := map[*module]bool{}
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		p.walk(ctx)
		close(l.coldplugged)
	})
	for {
		ev, lost, err := queue.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watch for devices: %w", err)
		case lost:
			work.Go(func() { p.walk(ctx) })
		}
		if alias := ev.Env["MODALIAS"]; alias != "" && ev.Action == "add" {
			p.plug(alias, seen, &work)
		}
	}
}

// Coldplugged is closed when Coldplug has loaded the drivers of all devices
// that it found at the start and that appeared through these, or has failed.
func (l *Loader) Coldplugged() <-chan struct{} { return l.coldplugged }

// atOnce is how many modules are loaded at once. A driver that waits for its
// hardware must not hold up the others, however few processors there are.
const atOnce = 8

type plugger struct {
	loader *Loader
	free   chan struct{} // holds a token for each load that runs
}

// walk loads the drivers of all devices, then of those that came by it, until
// it finds nothing new.
func (p *plugger) walk(ctx context.Context) {
	seen := map[*module]bool{}
	for begun := 1; begun > 0 && ctx.Err() == nil; {
		begun = 0
		var loads sync.WaitGroup
		for _, alias := range modaliases(p.loader.sys) {
			begun += p.plug(alias, seen, &loads)
		}
		loads.Wait()
	}
}

// modaliases reads /sys/bus/*/devices/*/modalias. What cannot be read is left
// out: a device may go at any time.
func modaliases(sys string) []string {
	var found []string
	buses, _ := stable.ReadDir(os.DirFS(path.Join(sys, "bus")), ".")
	for _, bus := range buses {
		dir := path.Join(sys, "bus", bus.Name(), "devices")
		devices, _ := stable.ReadDir(os.DirFS(dir), ".")
		for _, device := range devices {
			text, err := os.ReadFile(path.Join(dir, device.Name(), "modalias"))
			if alias := strings.TrimSpace(string(text)); err == nil && alias != "" {
				found = append(found, alias)
			}
		}
	}
	return found
}

// plug begins to load the modules for an alias that are not seen yet nor on a
// blacklist, each in a goroutine of loads. It returns how many these are. One
// that another goroutine has begun is waited for.
func (p *plugger) plug(alias string, seen map[*module]bool, loads *sync.WaitGroup) (begun int) {
	for _, m := range p.loader.index.find(alias) {
		if seen[m] || p.loader.cmdline.blacklist[m.name] {
			continue
		}
		seen[m] = true
		begun++
		loads.Go(func() {
			p.free <- struct{}{}
			err := p.loader.load(m)
			<-p.free
			// ENODEV: the driver looked and found that it is not needed.
			if err != nil && p.loader.Warn != nil && !errors.Is(err, unix.ENODEV) {
				m.warn.Do(func() { p.loader.Warn(err) })
			}
		})
	}
	return begun
}
