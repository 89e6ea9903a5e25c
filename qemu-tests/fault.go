package qemutests

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Path is what leads a machine to its root.
type Path struct {
	Machine *Running
	Cable   *Cable // of its first NIC
	Target  *TGT
}

// Fault breaks a path for a while.
type Fault struct {
	Name string
	Make func(context.Context, Path) error // returns when the path could be used again
}

// Faults are those that a root has to survive, whoever keeps its session.
func Faults() []Fault {
	gone := func(seconds int) Fault {
		return Fault{fmt.Sprintf("the target is gone for %d s", seconds), func(ctx context.Context, p Path) error {
			return p.Target.Restart(ctx, time.Duration(seconds)*time.Second)
		}}
	}
	down := func(seconds int) Fault {
		return Fault{fmt.Sprintf("the link is down for %d s", seconds), func(ctx context.Context, p Path) error {
			p.Machine.SetLink(0, false)
			defer p.Machine.SetLink(0, true)
			return wait(ctx, time.Duration(seconds)*time.Second)
		}}
	}
	return []Fault{
		gone(5), gone(30), gone(150),
		{"the connection is reset", func(_ context.Context, p Path) error { p.Cable.Reset(); return nil }},
		down(10), down(45), // longer than SCSI's patience of 30
	}
}

// wait waits that long, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reset gives the machine's connection to a portal, on port 3260, a reset in place
// of the next segment. It takes the place of the filter.
func (c *Cable) Reset() {
	var done atomic.Bool
	c.Filter(func(f Frame) bool {
		tcp := f.Data[14:]
		switch {
		case f.EtherType() == unix.ETH_P_IP && len(tcp) >= 40 && tcp[9] == unix.IPPROTO_TCP:
			tcp = tcp[int(tcp[0]&15)*4:]
		case f.EtherType() == unix.ETH_P_IPV6 && len(tcp) >= 60 && tcp[6] == unix.IPPROTO_TCP:
			tcp = tcp[40:]
		default:
			return true
		}
		if !f.ToGuest || len(tcp) < 20 || binary.BigEndian.Uint16(tcp) != 3260 || done.Swap(true) {
			return true
		}
		// RFC 1624, 3: what a field adds to the checksum.
		sum := uint32(^binary.BigEndian.Uint16(tcp[16:]))
		const flagReset = 0x04
		if tcp[13]&flagReset == 0 {
			sum += flagReset
			tcp[13] |= flagReset
		}
		binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum+sum>>16))
		return true
	})
}
