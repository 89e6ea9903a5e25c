package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/pdu"
)

const handle = 4711

// names of the commands, by nlmsg_type (include/scsi/iscsi_if.h).
var names = map[uint16]string{
	11: "CREATE_SESSION", 12: "DESTROY_SESSION", 13: "CREATE_CONN", 14: "DESTROY_CONN", 15: "BIND_CONN",
	16: "SET_PARAM", 17: "START_CONN", 18: "STOP_CONN", 19: "SEND_PDU", 27: "UNBIND_SESSION",
}

// fakeKernel does what the kernel's class does, on a netlink socket of user
// space: it carries the PDUs over the socket that is bound, and refuses what
// comes in the wrong order. One session at a time.
type fakeKernel struct {
	t    *testing.T
	fd   int
	root string // of its sysfs

	mu     sync.Mutex
	refuse map[string]unix.Errno // by command, or by SET_PARAM and number
	log    []string              // commands, in order; SET_PARAMs as "number=value"
	peer   uint32
	sid    uint32
	exists struct{ session, conn, bound, started bool }
	sock   *os.File
}

func newFakeKernel(t *testing.T) (*fakeKernel, *Initiator) {
	t.Helper()
	open := func() (int, uint32) {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_USERSOCK)
		if err != nil {
			t.Skipf("no netlink for user space: %v", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			t.Fatal(err)
		}
		address, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		return fd, address.(*unix.SockaddrNetlink).Pid
	}
	fd, port := open()
	ours, peer := open()
	k := &fakeKernel{t: t, fd: fd, root: t.TempDir(), peer: peer, sid: 0x00a1b2c2, refuse: map[string]unix.Errno{}}
	served := make(chan struct{})
	go func() {
		k.serve()
		close(served)
	}()

	if err := unix.SetNonblock(ours, true); err != nil {
		t.Fatal(err)
	}
	netlink, err := kernel.New(os.NewFile(uintptr(ours), "netlink"), port, handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.mu.Lock()
		if k.exists.bound {
			k.exists.bound = false
			k.sock.Close()
		}
		k.mu.Unlock()
		netlink.Close()
		_ = unix.Sendto(fd, []byte{0}, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}) // ends serve
		<-served
		unix.Close(fd)
	})
	return k, &Initiator{sys: kernel.Sysfs(k.root), netlink: netlink, note: func(s string) { t.Log("note:", s) }}
}

func (k *fakeKernel) serve() {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(k.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < 16+56 {
			return
		}
		k.mu.Lock()
		m := bytes.Clone(buf[:n])
		k.command(m)
		k.mu.Unlock()
	}
}

// command carries one command out and answers it.
func (k *fakeKernel) command(m []byte) {
	order := binary.NativeEndian
	name, event := names[order.Uint16(m[4:])], m[16:]
	u := func(off int) uint32 { return order.Uint32(event[off:]) }
	entry, key := name, name
	if name == "SET_PARAM" {
		entry = fmt.Sprintf("%d=%s", u(24), bytes.TrimRight(event[56:], "\x00"))
		key = fmt.Sprintf("SET_PARAM %d", u(24))
	}
	if name == "STOP_CONN" {
		entry = fmt.Sprintf("STOP_CONN %d", u(32))
	}
	k.log = append(k.log, entry)

	errno, refused := k.refuse[key]
	if !refused {
		errno = k.carryOut(name, event)
	}
	answer := bytes.Clone(m[:16+56])
	order.PutUint32(answer, 16+56)
	if errno != 0 {
		order.PutUint32(answer[16:], 103) // ISCSI_KEVENT_IF_ERROR
		order.PutUint32(answer[16+4:], uint32(-int32(errno)))
	} else if name == "CREATE_SESSION" {
		order.PutUint32(answer[16+40:], k.sid)
		order.PutUint32(answer[16+44:], 3)
	}
	k.send(answer)
	if name == "UNBIND_SESSION" && errno == 0 {
		k.tell(105, k.sid, 3, 0, nil)
	}
}

func (k *fakeKernel) carryOut(name string, event []byte) unix.Errno {
	order, e := binary.NativeEndian, &k.exists
	needs := map[string]bool{
		"CREATE_SESSION": !e.session, "CREATE_CONN": e.session && !e.conn, "BIND_CONN": e.conn && !e.bound,
		"SET_PARAM": e.bound, "SEND_PDU": e.bound, "START_CONN": e.bound && !e.started,
		"STOP_CONN": e.conn, "DESTROY_CONN": e.conn && !e.bound, "DESTROY_SESSION": e.session && !e.conn,
		"UNBIND_SESSION": e.session,
	}
	if !needs[name] {
		return unix.EINVAL
	}
	session := filepath.Join(k.root, "class/iscsi_session", fmt.Sprintf("session%d", k.sid))
	switch name {
	case "CREATE_SESSION":
		k.sid++
		session = filepath.Join(k.root, "class/iscsi_session", fmt.Sprintf("session%d", k.sid))
		k.check(os.MkdirAll(session, 0o755))
		k.check(os.WriteFile(filepath.Join(session, "recovery_tmo"), nil, 0o644))
		e.session = true
	case "CREATE_CONN":
		e.conn = true
	case "BIND_CONN":
		// As the kernel does, it keeps its own reference.
		fd, err := unix.FcntlInt(uintptr(order.Uint64(event[24:])), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return unix.EEXIST
		}
		k.sock, e.bound = os.NewFile(uintptr(fd), "bound"), true
		go k.carry(k.sock, k.sid)
	case "SEND_PDU":
		if _, err := k.sock.Write(pad(event[56:])); err != nil {
			return unix.ENOTCONN
		}
	case "START_CONN":
		e.started = true
	case "STOP_CONN":
		if e.bound {
			k.check(k.sock.Close())
		}
		e.bound, e.started = false, false
	case "DESTROY_CONN":
		e.conn = false
	case "DESTROY_SESSION":
		k.check(os.RemoveAll(session))
		e.session = false
	}
	return 0
}

func pad(b []byte) []byte { return append(bytes.Clone(b), make([]byte, -len(b)&3)...) }

// carry hands PDUs up until the connection ends, and says so.
func (k *fakeKernel) carry(sock *os.File, sid uint32) {
	for {
		p, err := pdu.ReadPDU(sock, 1<<20)
		k.mu.Lock()
		switch {
		case k.sock != sock || !k.exists.bound: // stopped: its end is no news
			k.mu.Unlock()
			return
		case err != nil:
			k.tell(102, sid, 0, uint32(kernel.TCPConnClose), nil)
			k.mu.Unlock()
			return
		}
		k.tell(101, sid, 0, 0, pad(append(p.Header[:], p.Data...)))
		k.mu.Unlock()
	}
}

func (k *fakeKernel) tell(kind, r0, r1, r2 uint32, more []byte) {
	order := binary.NativeEndian
	m := make([]byte, 16+56, 16+56+len(more))
	order.PutUint32(m, uint32(cap(m)))
	order.PutUint32(m[16:], kind)
	order.PutUint64(m[16+8:], handle)
	order.PutUint32(m[16+40:], r0)
	order.PutUint32(m[16+44:], r1)
	order.PutUint32(m[16+48:], r2)
	k.send(append(m, more...))
}

func (k *fakeKernel) send(m []byte) {
	err := unix.Sendto(k.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: k.peer})
	if err != nil && !errors.Is(err, unix.ECONNREFUSED) { // the test is over
		k.t.Error("netlink:", err)
	}
}

func (k *fakeKernel) check(err error) {
	if err != nil {
		k.t.Error(err)
	}
}

// refuseWith makes a command fail.
func (k *fakeKernel) refuseWith(command string, errno unix.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse[command] = errno
}

// takeLog returns what was asked since it was last called.
func (k *fakeKernel) takeLog() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	log := k.log
	k.log = nil
	return log
}

// commands returns a log without its parameters and PDUs.
func commands(log []string) string {
	short := slices.DeleteFunc(slices.Clone(log), func(s string) bool {
		return strings.Contains(s, "=") || s == "SEND_PDU"
	})
	return strings.Join(short, ", ")
}

// left says what is left in the kernel.
func (k *fakeKernel) left() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.exists.session || k.exists.conn || k.exists.bound {
		return fmt.Sprintf("%+v", k.exists)
	}
	return ""
}
