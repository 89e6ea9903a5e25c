package qemutests

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Segment is an Ethernet without a switch: a frame that one of its ports
// sends reaches all others. One port is the far side's NIC (Far); the others
// are Cables of machines.
type Segment struct {
	Name string // the far side's interface
	tap  *os.File

	mu    sync.Mutex
	ports []port
}

// port is where a cable touches a segment: with a tag, or without (0).
type port struct {
	cable *Cable
	vlan  uint16
}

// Cable leads from a machine's NIC to a segment. What it does to frames may be
// changed at any time.
type Cable struct {
	guest   *os.File // our end
	machine *os.File // QEMU's end
	native  *Segment
	tagged  map[uint16]*Segment

	mu       sync.Mutex
	filter   func(Frame) bool
	delay    time.Duration
	toGuest  chan late
	toFar    chan late
	closed   chan struct{}
	finished sync.WaitGroup
}

// Frame is an Ethernet frame on a cable.
type Frame struct {
	Data    []byte // without VLAN tag
	VLAN    uint16 // 0: it had none
	ToGuest bool
}

// EtherType returns the frame's type.
func (f Frame) EtherType() uint16 { return binary.BigEndian.Uint16(f.Data[12:]) }

// UDP returns the ports and the payload of a frame that holds IPv4 or IPv6 with
// UDP right behind the header; ok is false for another.
func (f Frame) UDP() (from, to uint16, payload []byte, ok bool) {
	ip := f.Data[14:]
	switch {
	case f.EtherType() == unix.ETH_P_IP && len(ip) >= 28 && ip[9] == unix.IPPROTO_UDP && int(ip[0]&15)*4+8 <= len(ip):
		ip = ip[int(ip[0]&15)*4:]
	case f.EtherType() == unix.ETH_P_IPV6 && len(ip) >= 48 && ip[6] == unix.IPPROTO_UDP:
		ip = ip[40:]
	default:
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint16(ip), binary.BigEndian.Uint16(ip[2:]), ip[8:], true
}

// late is a frame and when it is due.
type late struct {
	due  time.Time
	send func()
}

const (
	minFrame = 14    // destination, source, type
	maxFrame = 65550 // also what a NIC with segmentation offload sends
)

// NewCable plugs a NIC into a segment: tagged names the segments of VLANs, and
// native that of frames without a tag; nil drops these. Close it.
func NewCable(native *Segment, tagged map[uint16]*Segment) (*Cable, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds { // a burst must not be lost here
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	c := &Cable{
		guest: os.NewFile(uintptr(fds[0]), "cable"), machine: os.NewFile(uintptr(fds[1]), "cable"),
		native: native, tagged: tagged,
		toGuest: make(chan late, 4096), toFar: make(chan late, 4096), closed: make(chan struct{}),
	}
	for id, s := range tagged {
		s.plug(port{c, id})
	}
	if native != nil {
		native.plug(port{c, 0})
	}
	c.finished.Add(3)
	go c.readGuest()
	go c.deliver(c.toGuest)
	go c.deliver(c.toFar)
	return c, nil
}

// Filter makes keep decide which frames go on, in both directions; nil keeps all.
func (c *Cable) Filter(keep func(Frame) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filter = keep
}

// Delay makes each frame take that long from now on.
func (c *Cable) Delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

// Close unplugs the cable.
func (c *Cable) Close() {
	for id, s := range c.tagged {
		s.unplug(port{c, id})
	}
	if c.native != nil {
		c.native.unplug(port{c, 0})
	}
	close(c.closed)
	_ = c.machine.Close()
	_ = c.guest.Close()
	c.finished.Wait()
}

// admit puts a frame under way unless the filter drops it.
func (c *Cable) admit(f Frame, queue chan late, send func()) {
	c.mu.Lock()
	keep, delay := c.filter, c.delay
	c.mu.Unlock()
	if keep != nil && !keep(f) {
		return
	}
	select {
	case queue <- late{time.Now().Add(delay), send}:
	default: // a full queue drops, as a switch does
	}
}

// deliver sends frames in their order when they are due.
func (c *Cable) deliver(queue chan late) {
	defer c.finished.Done()
	for {
		select {
		case l := <-queue:
			if wait := time.Until(l.due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-c.closed:
					return
				}
			}
			l.send()
		case <-c.closed:
			return
		}
	}
}

// readGuest takes the machine's frames to their segments.
func (c *Cable) readGuest() {
	defer c.finished.Done()
	buf := make([]byte, maxFrame)
	for {
		n, err := c.guest.Read(buf)
		if err != nil {
			return // closed, or the machine is gone
		}
		if n < minFrame {
			continue
		}
		f := untag(slices.Clone(buf[:n]))
		s := c.native
		if f.VLAN != 0 {
			s = c.tagged[f.VLAN]
		}
		if s != nil {
			c.admit(f, c.toFar, func() { s.send(f.Data, c) })
		}
	}
}

// send puts a frame into all ports of the segment but the one it came from; nil
// is the far side.
func (s *Segment) send(frame []byte, from *Cable) {
	if from != nil {
		_, _ = s.tap.Write(frame) // of a NIC that is down nothing is expected
	}
	s.mu.Lock()
	ports := slices.Clone(s.ports)
	s.mu.Unlock()
	for _, p := range ports {
		if p.cable != from {
			f := Frame{Data: frame, VLAN: p.vlan, ToGuest: true}
			p.cable.toMachine(f)
		}
	}
}

func (c *Cable) toMachine(f Frame) {
	c.admit(f, c.toGuest, func() { _, _ = c.guest.Write(tag(f)) })
}

// readTap takes the far side's frames to the cables, until the tap is closed.
func (s *Segment) readTap() {
	buf := make([]byte, maxFrame)
	for {
		n, err := s.tap.Read(buf)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // the interface is down
			return
		case n >= minFrame:
			s.send(slices.Clone(buf[:n]), nil)
		}
	}
}

func (s *Segment) plug(p port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = append(s.ports, p)
}

func (s *Segment) unplug(p port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = slices.DeleteFunc(s.ports, func(q port) bool { return q == p })
}

const tagType = 0x8100 // IEEE 802.1Q

func untag(frame []byte) Frame {
	if len(frame) < minFrame+4 || binary.BigEndian.Uint16(frame[12:]) != tagType {
		return Frame{Data: frame}
	}
	id := binary.BigEndian.Uint16(frame[14:]) & 0xfff
	return Frame{Data: slices.Delete(frame, 12, 16), VLAN: id}
}

func tag(f Frame) []byte {
	if f.VLAN == 0 {
		return f.Data
	}
	return slices.Insert(slices.Clone(f.Data), 12, tagType>>8, tagType&0xff, byte(f.VLAN>>8), byte(f.VLAN))
}
