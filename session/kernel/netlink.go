package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupISCSID   = 1       // ISCSI_NL_GRP_ISCSID, as a bit mask
	receiveBuffer = 4 << 20 // bytes that the kernel keeps for us
	datagramSize  = 64 << 10

	// The kernel carries a command out inside sendmsg and has answered when
	// sendmsg returns. An answer that is not read by then is lost.
	answerTimeout = 5 * time.Second
)

// Netlink is an open NETLINK_ISCSI socket. Several goroutines may use it; the
// kernel gets their commands one after the other, as an answer carries nothing
// that would tell it from another's.
type Netlink struct {
	handle uint64
	port   uint32 // the kernel's: 0
	file   *os.File
	raw    syscall.RawConn
	turn   chan struct{} // holds one token while a command is under way
	done   chan struct{} // closed when the reader has ended

	mu     sync.Mutex
	await  *waiting
	conns  map[*Conn]struct{}
	failed error // why the reader ended
}

// waiting is the command under way: its message, and where the answer goes.
type waiting struct {
	message []byte
	answer  chan answer
}

// Open opens NETLINK_ISCSI for the iscsi_tcp transport. It needs CAP_SYS_ADMIN
// and the first network namespace. Close it.
func Open(sys Sysfs) (*Netlink, error) {
	handle, err := sys.Handle()
	if err != nil {
		return nil, err
	}
	file, err := listen(unix.NETLINK_ISCSI, groupISCSID)
	if err != nil {
		return nil, fmt.Errorf("NETLINK_ISCSI: %w; check that the module scsi_transport_iscsi is loaded", err)
	}
	n, err := New(file, 0, handle)
	if err != nil {
		file.Close()
		return nil, err
	}
	return n, nil
}

// New uses a netlink socket that is open and non-blocking, and takes messages
// from one port of it only: 0 is the kernel; tests have others.
func New(file *os.File, port uint32, handle uint64) (*Netlink, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	n := &Netlink{
		handle: handle,
		port:   port,
		file:   file,
		raw:    raw,
		turn:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		conns:  map[*Conn]struct{}{},
	}
	go n.read() // ends with Close, or when the socket fails
	return n, nil
}

// listen opens a netlink socket that is bound to groups and that the runtime's
// poller waits on.
func listen(protocol int, groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The limit of SO_RCVBUF is for those who may not force it.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// Port returns the socket's own number, by which /proc/net/netlink names it.
func (n *Netlink) Port() (port uint32, err error) {
	waitErr := n.raw.Control(func(fd uintptr) {
		var address unix.Sockaddr
		if address, err = unix.Getsockname(int(fd)); err == nil {
			port = address.(*unix.SockaddrNetlink).Pid
		}
	})
	return port, errors.Join(waitErr, err)
}

// Close ends all waits. Sessions live on in the kernel.
func (n *Netlink) Close() error {
	n.fail(os.ErrClosed)
	err := n.file.Close()
	<-n.done
	return err
}

// fail keeps the first reason why there will be no more messages.
func (n *Netlink) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed == nil {
		n.failed = fmt.Errorf("NETLINK_ISCSI: %w", err)
	}
}

// read hands out what arrives until the socket is closed.
func (n *Netlink) read() {
	defer close(n.done)
	buf := make([]byte, datagramSize)
	for {
		size, _, from, err := receive(n.raw, buf, nil)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			n.tell(func(c *Conn) { c.deliver(Event{Kind: eventsLost}) })
		case err != nil:
			n.fail(err)
			return
		case from == n.port:
			n.handOut(buf[:size])
		}
	}
}

// receive reads one datagram, and its control messages when there is room for
// them. from is its sender's port. A datagram that does not fit is
// unix.ENOBUFS, as one that the kernel dropped.
func receive(raw syscall.RawConn, buf, control []byte) (size, controlSize int, from uint32, err error) {
	var sender unix.Sockaddr
	var flags int
	waitErr := raw.Read(func(fd uintptr) bool {
		for {
			size, controlSize, flags, sender, err = unix.Recvmsg(int(fd), buf, control, 0)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return 0, 0, 0, waitErr
	}
	if err != nil {
		return 0, 0, 0, os.NewSyscallError("recvmsg", err)
	}
	if flags&unix.MSG_TRUNC != 0 {
		return 0, 0, 0, unix.ENOBUFS
	}
	netlink, ok := sender.(*unix.SockaddrNetlink)
	if !ok {
		return 0, 0, 0, fmt.Errorf("recvmsg: the sender is a %T", sender)
	}
	return size, controlSize, netlink.Pid, nil
}

// handOut gives each message of a datagram to whom it concerns. What cannot be
// read is nobody's.
func (n *Netlink) handOut(b []byte) {
	for len(b) > 0 {
		kind, payload, rest, err := nextMessage(b)
		if err != nil {
			return
		}
		b = rest
		if kind != 0 {
			if a, err := parseAnswer(kind, payload); err == nil {
				n.answered(a)
			}
			continue
		}
		ev, ok, err := parseEvent(payload, n.handle)
		if err != nil || !ok {
			continue
		}
		n.tell(func(c *Conn) {
			ofSession := ev.Kind == SessionUnbound || ev.Kind == SessionDestroyed
			if ev.SID == c.sid && (ofSession || ev.CID == c.cid) {
				c.deliver(ev)
			}
		})
	}
}

// answered gives an answer to the command under way. Older kernels send the
// answers to other processes' commands to us too: they ask something else.
func (n *Netlink) answered(a answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.await
	if w == nil {
		return
	}
	asked := w.message[headerLen+offHandle : headerLen+offR]
	if order.Uint16(w.message[4:]) == uint16(a.command) && string(asked) == string(a.asked[:]) {
		w.answer <- a // has room for one
		n.await = nil
	}
}

func (n *Netlink) tell(f func(*Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		f(c)
	}
}

// request is one command to the kernel.
type request struct {
	op      string // for errors
	message []byte
	// file, when not nil, is held open while the kernel looks it up, and its
	// descriptor is written into the message by putFD.
	file  *os.File
	putFD func(m []byte, fd int)
	// late undoes what the kernel did after ctx had ended. do waits for it a
	// little longer.
	late func(answer)
}

// do gives a command to the kernel and returns its answer. When ctx ends
// earlier do returns, and the command goes on; commands that follow wait for it.
func (n *Netlink) do(ctx context.Context, r *request) (answer, error) {
	fail := func(err error) (answer, error) { return answer{}, &OpError{Op: r.op, Err: err} }

	start := time.Now()
	select {
	case n.turn <- struct{}{}:
	case <-n.done:
		return fail(n.failed)
	case <-ctx.Done():
		return fail(fmt.Errorf("waited %s for its turn: %w", since(start), ctx.Err()))
	}
	if err := ctx.Err(); err != nil {
		<-n.turn
		return fail(err)
	}

	type result struct {
		answer answer
		err    error
	}
	results, ended := make(chan result), make(chan struct{})
	go func() { // ends when the kernel has carried the command out
		defer close(ended)
		a, err := n.exchange(r)
		<-n.turn
		select {
		case results <- result{a, err}:
		case <-ctx.Done():
			if err == nil && r.late != nil {
				r.late(a)
			}
		}
	}()
	select {
	case res := <-results:
		if res.err != nil {
			return fail(res.err)
		}
		return res.answer, nil
	case <-ctx.Done():
		if r.late != nil {
			late, cancel := context.WithTimeout(context.Background(), answerTimeout)
			defer cancel()
			select {
			case <-ended:
			case <-late.Done():
			}
		}
		return fail(fmt.Errorf("waited %s for the kernel: %w", since(start), ctx.Err()))
	}
}

// exchange sends a command and takes its answer.
func (n *Netlink) exchange(r *request) (answer, error) {
	w := &waiting{message: r.message, answer: make(chan answer, 1)}
	defer n.expect(nil)
	if err := n.send(r, w); err != nil {
		return answer{}, err
	}
	bound, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	select {
	case a := <-w.answer:
		return a, a.refused
	case <-n.done:
		return answer{}, n.failed
	case <-bound.Done():
		return answer{}, fmt.Errorf("no answer %v after it was carried out: %w", answerTimeout, ErrLost)
	}
}

func (n *Netlink) expect(w *waiting) {
	n.mu.Lock()
	n.await = w
	n.mu.Unlock()
}

func (n *Netlink) send(r *request, w *waiting) error {
	if r.file == nil {
		return n.sendMessage(w)
	}
	held, err := r.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = held.Control(func(fd uintptr) {
		r.putFD(r.message, int(fd))
		sendErr = n.sendMessage(w)
	})
	return errors.Join(err, sendErr)
}

func (n *Netlink) sendMessage(w *waiting) error {
	n.expect(w)
	var err error
	waitErr := n.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), w.message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: n.port})
		return err != unix.EAGAIN
	})
	if waitErr != nil { // closed
		<-n.done
		return n.failed
	}
	return os.NewSyscallError("sendmsg", err)
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
