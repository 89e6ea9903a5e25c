package kernel

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeKernel answers on a netlink socket of user space.
type fakeKernel struct {
	t    testing.TB
	fd   int
	port uint32
	from uint32 // whose message came last
}

func newFakeKernel(t testing.TB) (*fakeKernel, *Netlink) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_USERSOCK)
	if err != nil {
		t.Skipf("no netlink for user space: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	k := &fakeKernel{t: t, fd: fd, port: address.(*unix.SockaddrNetlink).Pid}

	file, err := listen(unix.NETLINK_USERSOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(file, k.port, testHandle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return k, n
}

func (k *fakeKernel) receive() []byte {
	buf := make([]byte, datagramSize)
	n, from, err := unix.Recvfrom(k.fd, buf, 0)
	if err != nil {
		k.t.Error(err)
		return make([]byte, headerLen+eventLen)
	}
	k.from = from.(*unix.SockaddrNetlink).Pid
	return buf[:n]
}

func (k *fakeKernel) send(m []byte) {
	err := unix.Sendto(k.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: k.from})
	if err != nil {
		k.t.Error(err)
	}
}

// tell sends an event.
func (k *fakeKernel) tell(kind EventKind, sid, cid, third uint32, more ...byte) {
	m := newMessage(0, testHandle, len(more))
	order.PutUint32(m[headerLen:], uint32(kind))
	order.PutUint32(m[headerLen+offR:], sid)
	order.PutUint32(m[headerLen+offR+4:], cid)
	order.PutUint32(m[headerLen+offR+8:], third)
	copy(m[headerLen+eventLen:], more)
	k.send(m)
}

// answer sends a command back with r filled in, as the kernel does.
func (k *fakeKernel) answer(m []byte, r ...uint32) {
	m = bytes.Clone(m[:headerLen+eventLen])
	order.PutUint32(m, uint32(len(m)))
	for i, v := range r {
		order.PutUint32(m[headerLen+offR+4*i:], v)
	}
	k.send(m)
}

func TestCommands(t *testing.T) {
	const handle = "00000000 c3b2a1c0ffffffff"
	const noAnswer = "00000000000000000000000000000000"
	sock, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	tests := []struct {
		name string
		do   func(context.Context, *Netlink, *Conn) error
		want string // from nlmsg_type on, without seq and pid
	}{
		{"CREATE_SESSION", func(ctx context.Context, n *Netlink, _ *Conn) error {
			_, err := n.CreateSession(ctx, 128, 32)
			return err
		}, "0b00 0b000000" + handle + "00000000 8000 2000 00000000000000000000000000000000" + noAnswer},
		{"DESTROY_SESSION", func(ctx context.Context, n *Netlink, _ *Conn) error { return n.DestroySession(ctx, 5) },
			"0c00 0c000000" + handle + "05000000 0000000000000000000000000000000000000000" + noAnswer},
		{"UNBIND_SESSION", func(ctx context.Context, n *Netlink, _ *Conn) error { return n.UnbindSession(ctx, 5) },
			"1b00 1b000000" + handle + "05000000 0000000000000000000000000000000000000000" + noAnswer},
		{"CREATE_CONN", func(ctx context.Context, n *Netlink, _ *Conn) error {
			c, err := n.CreateConn(ctx, 5, 1)
			c.Close()
			return err
		}, "0d00 0d000000" + handle + "05000000 01000000 00000000000000000000000000000000" + noAnswer},
		{"DESTROY_CONN", func(ctx context.Context, _ *Netlink, c *Conn) error { return c.Destroy(ctx) },
			"0e00 0e000000" + handle + "07000000 01000000 00000000000000000000000000000000" + noAnswer},
		{"START_CONN", func(ctx context.Context, _ *Netlink, c *Conn) error { return c.Start(ctx) },
			"1100 11000000" + handle + "07000000 01000000 00000000000000000000000000000000" + noAnswer},
		{"STOP_CONN", func(ctx context.Context, _ *Netlink, c *Conn) error { return c.Stop(ctx, StopRecover) },
			"1200 12000000" + handle + "07000000 01000000 0000000000000000 03000000 00000000" + noAnswer},
		{"SET_PARAM", func(ctx context.Context, _ *Netlink, c *Conn) error { return c.Set(ctx, MaxBurst, "262144") },
			"1000 10000000" + handle + "07000000 01000000 08000000 07000000 0000000000000000" + noAnswer + "32363231343400"},
		{"SEND_PDU", func(ctx context.Context, _ *Netlink, c *Conn) error {
			return c.SendPDU(ctx, []byte{0x43, 0x87}, []byte("k=v"))
		}, "1300 13000000" + handle + "07000000 01000000 02000000 03000000 0000000000000000" + noAnswer + "43876b3d76"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := fromHex(t, test.want)
			k, n := newFakeKernel(t)
			c := n.Listen(7, 1)
			got := make(chan []byte, 1)
			go func() {
				m := k.receive()
				k.answer(m)
				got <- m
			}()
			if err := test.do(t.Context(), n, c); err != nil {
				t.Fatal(err)
			}
			m := <-got
			if int(order.Uint32(m)) != len(m) {
				t.Errorf("nlmsg_len is %d, the message has %d bytes", order.Uint32(m), len(m))
			}
			m = append(m[4:6:6], m[headerLen:]...)
			if diff := cmp.Diff(want, m); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("BIND_CONN", func(t *testing.T) {
		k, n := newFakeKernel(t)
		c := n.Listen(7, 1)
		got := make(chan []byte, 1)
		go func() {
			m := k.receive()
			k.answer(m)
			got <- m
		}()
		if err := c.Bind(t.Context(), sock); err != nil {
			t.Fatal(err)
		}
		m := <-got
		raw, err := sock.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if eph := order.Uint64(m[headerLen+24:]); eph != uint64(fd) {
				t.Errorf("transport_eph is %d, want the descriptor %d", eph, fd)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if leading := order.Uint32(m[headerLen+32:]); leading != 1 {
			t.Errorf("is_leading is %d", leading)
		}
	})
}

// Old kernels send every process's answers to all, and events come at any time.
func TestAnswerAmongOthers(t *testing.T) {
	k, n := newFakeKernel(t)
	c := n.Listen(7, 0)
	go func() {
		m := k.receive()
		k.tell(ReceivedPDU, 8, 0, 0, 0x23)             // another session's
		k.tell(ReceivedPDU, 7, 0, 0, 0x24)             // ours, before the answer
		k.answer(newMessage(startConn, testHandle, 0)) // a command that nobody here gave
		other := newMessage(bindConn, testHandle, 0)   // another process binds
		put(other, 8, 0, 55, 0, 1)                     //
		k.answer(other, ^uint32(0))                    // and fails
		k.send([]byte{1, 2, 3})                        // nonsense
		k.tell(ConnFailed, 7, 0, uint32(TCPConnClose)) // ours
		k.answer(m)                                    // at last
	}()
	sock, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	if err := c.Bind(t.Context(), sock); err != nil {
		t.Fatal(err)
	}
	want := []Event{{Kind: ReceivedPDU, SID: 7, PDU: []byte{0x24}}, {Kind: ConnFailed, SID: 7, Code: TCPConnClose}}
	for _, want := range want {
		got, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestRefusal(t *testing.T) {
	k, n := newFakeKernel(t)
	c := n.Listen(7, 0)
	go func() {
		k.answer(k.receive(), uint32(0xffffffff-uint32(unix.ENOTCONN)+1))
	}()
	err := c.Set(t.Context(), Password, "a secret of mine")
	var op *OpError
	if !errors.As(err, &op) || op.Op != "SET_PARAM PASSWORD" || !errors.Is(err, unix.ENOTCONN) {
		t.Fatalf("error %#v", err)
	}
	if bytes.Contains([]byte(err.Error()), []byte("secret of mine")) {
		t.Errorf("the secret is in %q", err)
	}
}

func TestStopDropsOldEvents(t *testing.T) {
	k, n := newFakeKernel(t)
	c := n.Listen(7, 0)
	go func() {
		m := k.receive()
		for range queueLen + 1 {
			k.tell(ConnFailed, 7, 0, uint32(TCPConnClose))
		}
		k.answer(m)
		m = k.receive()
		k.answer(m)
		k.tell(ReceivedPDU, 7, 0, 0, 0x23)
	}()
	if err := c.Stop(t.Context(), StopRecover); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ev, err := c.Receive(t.Context())
	if err != nil || ev.Kind != ReceivedPDU {
		t.Errorf("event %v, error %v; want the PDU that came after the stop", ev, err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	k, n := newFakeKernel(t)
	c := n.Listen(7, 0)
	go func() {
		m := k.receive()
		for range 2 * queueLen {
			k.tell(ReceivedPDU, 7, 0, 0, 0x23)
		}
		k.answer(m)
	}()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("error %v, want ErrLost", err)
	}
}

// The context ends while the kernel is at work: the wait ends, the command goes
// on, and the next one waits for its turn.
func TestContextEndsDuringCommand(t *testing.T) {
	k, n := newFakeKernel(t)
	received := make(chan []byte)
	go func() { received <- k.receive() }()

	ctx, cancel := context.WithCancel(t.Context())
	var session []byte
	created := make(chan error, 1)
	go func() {
		_, err := n.CreateSession(ctx, 0, 0)
		created <- err
	}()
	session = <-received
	cancel()

	// The kernel makes the session after all: it is taken back.
	k.answer(session, 42, 3)
	undo := k.receive()
	if c, sid := command(order.Uint16(undo[4:])), order.Uint32(undo[headerLen+offU:]); c != destroySession || sid != 42 {
		t.Errorf("then came %v for session %d, want DESTROY_SESSION for 42", c, sid)
	}
	k.answer(undo)
	if err := <-created; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that of the context", err)
	}
}

func TestLostEventsWakeReceive(t *testing.T) {
	_, n := newFakeKernel(t)
	c := n.Listen(7, 0)
	result := make(chan error)
	go func() {
		_, err := c.Receive(t.Context())
		result <- err
	}()
	n.tell(func(c *Conn) { c.deliver(Event{Kind: eventsLost}) })
	if err := <-result; !errors.Is(err, ErrLost) {
		t.Errorf("error %v, want ErrLost", err)
	}
}

func TestCloseEndsWaits(t *testing.T) {
	_, n := newFakeKernel(t)
	c := n.Listen(7, 0)
	result := make(chan error)
	go func() {
		_, err := c.Receive(t.Context())
		result <- err
	}()
	n.Close()
	if err := <-result; !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want os.ErrClosed", err)
	}
	if err := c.Start(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want os.ErrClosed", err)
	}
}

// What any process could have sent is not believed.
func TestForeignSenderIsIgnored(t *testing.T) {
	k, n := newFakeKernel(t)
	foreign, _ := newFakeKernel(t)
	c := n.Listen(7, 0)
	go func() {
		m := k.receive()
		foreign.from = k.from
		foreign.tell(ReceivedPDU, 7, 0, 0, 0x66)
		foreign.answer(m, ^uint32(0))
		k.tell(ReceivedPDU, 7, 0, 0, 0x23)
		k.answer(m)
	}()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ev, err := c.Receive(t.Context()); err != nil || len(ev.PDU) != 1 || ev.PDU[0] != 0x23 {
		t.Errorf("event %v, error %v", ev, err)
	}
}
