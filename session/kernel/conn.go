package kernel

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// queueLen is how many events of a connection wait to be received.
const queueLen = 64

// Session is what the kernel calls a new session.
type Session struct {
	SID    uint32
	HostNo uint32
}

// CreateSession makes a session and its SCSI host. cmdsMax is a power of two
// from 16 to 4096, 0 for the kernel's own; queueDepth may be 0 too. When ctx
// ends before the kernel has answered the session is destroyed again.
func (n *Netlink) CreateSession(ctx context.Context, cmdsMax, queueDepth uint16) (Session, error) {
	m := newMessage(createSession, n.handle, 0)
	put(m, 0) // initial_cmdsn
	order.PutUint16(m[headerLen+offU+4:], cmdsMax)
	order.PutUint16(m[headerLen+offU+6:], queueDepth)
	a, err := n.do(ctx, &request{op: createSession.String(), message: m, late: func(a answer) {
		_ = n.DestroySession(context.Background(), order.Uint32(a.r[0:]))
	}})
	if err != nil {
		return Session{}, err
	}
	return Session{SID: order.Uint32(a.r[0:]), HostNo: order.Uint32(a.r[4:])}, nil
}

// DestroySession removes a session, its host and its devices. It must have no
// connection any more (unix.EBUSY).
func (n *Netlink) DestroySession(ctx context.Context, sid uint32) error {
	return n.command(ctx, destroySession, sid)
}

// UnbindSession removes a session's SCSI devices. The kernel does it on its
// own time and then says SessionUnbound.
func (n *Netlink) UnbindSession(ctx context.Context, sid uint32) error {
	return n.command(ctx, unbindSession, sid)
}

// command gives a command that has nothing but numbers in it.
func (n *Netlink) command(ctx context.Context, c command, fields ...uint32) error {
	m := newMessage(c, n.handle, 0)
	put(m, fields...)
	_, err := n.do(ctx, &request{op: c.String(), message: m})
	return err
}

// Conn is one connection of a session.
type Conn struct {
	n        *Netlink
	sid, cid uint32
	events   chan Event
	lost     atomic.Bool // the queue was full
}

// CreateConn makes a connection and listens to it. Close it. When ctx ends the
// connection may exist or not; Destroy settles it.
func (n *Netlink) CreateConn(ctx context.Context, sid, cid uint32) (*Conn, error) {
	c := n.Listen(sid, cid)
	return c, n.command(ctx, createConn, sid, cid)
}

// Listen returns a connection that exists already and listens to its events
// from now on. Close it.
func (n *Netlink) Listen(sid, cid uint32) *Conn {
	c := &Conn{n: n, sid: sid, cid: cid, events: make(chan Event, queueLen)}
	n.mu.Lock()
	n.conns[c] = struct{}{}
	n.mu.Unlock()
	return c
}

// Close ends the listening. The kernel's connection lives on.
func (c *Conn) Close() {
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.mu.Unlock()
}

// deliver must not wait: one reader serves all.
func (c *Conn) deliver(ev Event) {
	select {
	case c.events <- ev:
	default:
		c.lost.Store(true)
	}
}

// Receive returns the next event, or ErrLost when there is a gap before it, or
// ctx's error.
func (c *Conn) Receive(ctx context.Context) (Event, error) {
	if c.lost.Swap(false) {
		return Event{}, ErrLost
	}
	select { // what has arrived counts more than an end
	case ev := <-c.events:
		return received(ev)
	default:
	}
	select {
	case ev := <-c.events:
		return received(ev)
	case <-c.n.done:
		return Event{}, c.n.failed
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

func received(ev Event) (Event, error) {
	if ev.Kind == eventsLost {
		return Event{}, ErrLost
	}
	return ev, nil
}

// Bind gives a connected TCP socket to the connection. The kernel takes its own
// reference; sock may be closed afterwards, and must not be read.
func (c *Conn) Bind(ctx context.Context, sock *os.File) error {
	m := newMessage(bindConn, c.n.handle, 0)
	put(m, c.sid, c.cid, 0, 0, 1) // 64 bits of transport_eph, then is_leading
	_, err := c.n.do(ctx, &request{op: bindConn.String(), message: m, file: sock, putFD: func(m []byte, fd int) {
		order.PutUint64(m[headerLen+offU+8:], uint64(fd))
	}})
	return err
}

// Set sets a parameter. Newer kernels take it only between Bind and Stop
// (unix.ENOTCONN); unix.ENOSYS says that the transport does not know it.
func (c *Conn) Set(ctx context.Context, p Param, value string) error {
	m := newMessage(setParam, c.n.handle, len(value)+1) // a NUL ends it
	put(m, c.sid, c.cid, uint32(p), uint32(len(value)+1))
	copy(m[headerLen+eventLen:], value)
	_, err := c.n.do(ctx, &request{op: setParam.String() + " " + p.String(), message: m})
	return err
}

// SendPDU sends a PDU: its header (48 bytes) and its data, without padding. The
// kernel writes the task tag and CmdSN. Of login and text requests only one may
// be unanswered (unix.EPERM).
func (c *Conn) SendPDU(ctx context.Context, header, data []byte) error {
	m := newMessage(sendPDU, c.n.handle, len(header)+len(data))
	put(m, c.sid, c.cid, uint32(len(header)), uint32(len(data)))
	copy(m[headerLen+eventLen:], header)
	copy(m[headerLen+eventLen+len(header):], data)
	_, err := c.n.do(ctx, &request{op: sendPDU.String(), message: m})
	return err
}

// Start takes the connection to the full feature phase.
func (c *Conn) Start(ctx context.Context) error {
	return c.n.command(ctx, startConn, c.sid, c.cid)
}

// Stop shuts the socket and takes it from the connection. After a failure it
// must come before the next Bind. Events that were on their way are dropped:
// they told of the connection that has ended.
func (c *Conn) Stop(ctx context.Context, flag StopFlag) error {
	err := c.n.command(ctx, stopConn, c.sid, c.cid, 0, 0, uint32(flag)) // conn_handle is unused
	for len(c.events) > 0 {
		<-c.events
	}
	c.lost.Store(false)
	return err
}

// Destroy removes the connection. One that is not there is no error.
func (c *Conn) Destroy(ctx context.Context) error {
	err := c.n.command(ctx, destroyConn, c.sid, c.cid)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
