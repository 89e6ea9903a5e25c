// Package kerneltest is a stand-in for the kernel's iSCSI class in tests: it
// carries the PDUs over the socket that is bound, shows its session in a folder
// as sysfs does, and refuses what comes in the wrong order.
package kerneltest

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
	"time"

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

// Kernel does what the kernel's class does, on a netlink socket of user space.
// One session at a time.
type Kernel struct {
	Root string // of its sysfs

	t  *testing.T
	fd int

	mu      sync.Mutex
	refuse  map[string]unix.Errno // by command, or by SET_PARAM and number
	before  func(command string)  // see Before
	log     []string              // commands, in order; SET_PARAMs as "number=value"
	changed chan struct{}         // closed, and replaced, at each command
	peer    uint32
	sid     uint32
	exists  struct{ session, conn, bound, started bool }
	sock    *os.File
}

// New starts a kernel, and returns the way to it.
func New(t *testing.T) (*Kernel, *kernel.Netlink) {
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
	k := &Kernel{t: t, fd: fd, Root: t.TempDir(), peer: peer, sid: 0x00a1b2c2, refuse: map[string]unix.Errno{}, changed: make(chan struct{})}
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
	return k, netlink
}

func (k *Kernel) serve() {
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
func (k *Kernel) command(m []byte) {
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
	close(k.changed)
	k.changed = make(chan struct{})
	if before := k.before; before != nil {
		k.mu.Unlock()
		before(key)
		k.mu.Lock()
	}

	errno, refused := k.refuse[key]
	if !refused {
		errno = k.carryOut(name, event)
		if name == "SET_PARAM" && errno == 0 {
			k.show(u(24), strings.TrimRight(string(event[56:]), "\x00"))
		}
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

func (k *Kernel) carryOut(name string, event []byte) unix.Errno {
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
	switch name {
	case "CREATE_SESSION":
		k.sid++
		device := filepath.Join(k.Root, fmt.Sprintf("devices/host3/session%d", k.sid))
		k.check(os.MkdirAll(device, 0o755))
		for _, dir := range []string{k.folder("session"), k.folder("connection"), filepath.Join(k.Root, "class/scsi_host/host3")} {
			k.check(os.MkdirAll(dir, 0o755))
		}
		k.check(os.Symlink(device, filepath.Join(k.folder("session"), "device")))
		k.check(os.WriteFile(filepath.Join(k.Root, "class/scsi_host/host3/proc_name"), []byte("iscsi_tcp\n"), 0o644))
		k.attr("session", "recovery_tmo", "")
		k.attr("session", "state", "FREE")
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
		k.attr("session", "state", "LOGGED_IN")
	case "STOP_CONN":
		if e.bound {
			k.check(k.sock.Close())
		}
		e.bound, e.started = false, false
		k.attr("session", "state", "FAILED")
		k.attr("connection", "header_digest", "0")
		k.attr("connection", "data_digest", "0")
	case "DESTROY_CONN":
		e.conn = false
	case "DESTROY_SESSION":
		k.check(os.RemoveAll(k.folder("session")))
		k.check(os.RemoveAll(k.folder("connection")))
		k.check(os.RemoveAll(filepath.Join(k.Root, fmt.Sprintf("devices/host3/session%d", k.sid))))
		e.session = false
	}
	return 0
}

func pad(b []byte) []byte { return append(bytes.Clone(b), make([]byte, -len(b)&3)...) }

// carry hands PDUs up until the connection ends, and says so.
func (k *Kernel) carry(sock *os.File, sid uint32) {
	for {
		p, err := pdu.ReadPDU(sock, 1<<20)
		k.mu.Lock()
		switch {
		case k.sock != sock || !k.exists.bound: // stopped: its end is no news
			k.mu.Unlock()
			return
		case err != nil:
			k.attr("session", "state", "FAILED")
			k.tell(102, sid, 0, uint32(kernel.TCPConnClose), nil)
			k.mu.Unlock()
			return
		}
		k.tell(101, sid, 0, 0, pad(append(p.Header[:], p.Data...)))
		k.mu.Unlock()
	}
}

func (k *Kernel) tell(kind, r0, r1, r2 uint32, more []byte) {
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

func (k *Kernel) send(m []byte) {
	err := unix.Sendto(k.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: k.peer})
	if err != nil && !errors.Is(err, unix.ECONNREFUSED) { // the test is over
		k.t.Error("netlink:", err)
	}
}

func (k *Kernel) check(err error) {
	if err != nil {
		k.t.Error(err)
	}
}

// folder is that of the session, or of its connection.
func (k *Kernel) folder(class string) string {
	name := fmt.Sprintf("session%d", k.sid)
	if class == "connection" {
		name = fmt.Sprintf("connection%d:0", k.sid)
	}
	return filepath.Join(k.Root, "class/iscsi_"+class, name)
}

func (k *Kernel) attr(class, name, value string) {
	if value != "" {
		value += "\n"
	}
	k.check(os.WriteFile(filepath.Join(k.folder(class), name), []byte(value), 0o644))
}

// shown are the attributes of parameters.
var shown = map[uint32][2]string{
	0: {"connection", "max_recv_dlength"}, 2: {"connection", "header_digest"}, 3: {"connection", "data_digest"},
	4: {"session", "initial_r2t"}, 5: {"session", "max_outstanding_r2t"}, 6: {"session", "immediate_data"},
	7: {"session", "first_burst_len"}, 8: {"session", "max_burst_len"}, 15: {"session", "targetname"}, 16: {"session", "tpgt"},
	17: {"connection", "persistent_address"}, 18: {"connection", "persistent_port"},
	22: {"session", "username"}, 23: {"session", "username_in"}, 24: {"session", "password"}, 25: {"session", "password_in"},
	26: {"session", "fast_abort"}, 27: {"session", "abort_tmo"}, 28: {"session", "lu_reset_tmo"}, 35: {"session", "tgt_reset_tmo"},
	30: {"connection", "ping_tmo"}, 31: {"connection", "recv_tmo"}, 34: {"session", "initiatorname"},
}

func (k *Kernel) show(param uint32, value string) {
	if a, ok := shown[param]; ok {
		k.attr(a[0], a[1], value)
	}
}

// Change calls f while nothing else happens, which may change the session's
// files.
func (k *Kernel) Change(f func(session, connection string)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k.folder("session"), k.folder("connection"))
}

// Break ends the connection as the network does.
func (k *Kernel) Break() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check(unix.Shutdown(int(k.sock.Fd()), unix.SHUT_RDWR))
}

// Fail gives the session the state of one that has lost its connection, and says
// nothing of it.
func (k *Kernel) Fail(t *testing.T) {
	k.Change(func(session, _ string) {
		if err := os.WriteFile(filepath.Join(session, "state"), []byte("FAILED\n"), 0o644); err != nil {
			t.Error(err)
		}
	})
}

// Await waits until a command has been given since TakeLog.
func (k *Kernel) Await(t *testing.T, command string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		k.mu.Lock()
		there, changed := slices.Contains(k.log, command), k.changed
		k.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
			t.Fatalf("no %s", command)
		}
	}
}

// Lose sends what no buffer holds, which is as good as lost.
func (k *Kernel) Lose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.send(make([]byte, 70<<10))
}

// Destroy takes the session away, as another process does.
func (k *Kernel) Destroy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, command := range []string{"STOP_CONN", "DESTROY_CONN", "DESTROY_SESSION"} {
		if errno := k.carryOut(command, nil); errno != 0 {
			k.t.Error(command, errno)
		}
	}
	k.tell(104, 3, k.sid, 0, nil)
}

// Hand hands a PDU up, as one that came from the target.
func (k *Kernel) Hand(p pdu.PDU) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tell(101, k.sid, 0, 0, pad(append(p.Header[:], p.Data...)))
}

// Before has f called before each command is carried out.
func (k *Kernel) Before(f func(command string)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = f
}

// RefuseWith makes a command fail.
func (k *Kernel) RefuseWith(command string, errno unix.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse[command] = errno
}

// TakeLog returns what was asked since it was last called.
func (k *Kernel) TakeLog() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	log := k.log
	k.log = nil
	return log
}

// Commands returns a log without its parameters and PDUs.
func Commands(log []string) string {
	short := slices.DeleteFunc(slices.Clone(log), func(s string) bool {
		return strings.Contains(s, "=") || s == "SEND_PDU"
	})
	return strings.Join(short, ", ")
}

// Left says what is left in the kernel.
func (k *Kernel) Left() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.exists.session || k.exists.conn || k.exists.bound {
		return fmt.Sprintf("%+v", k.exists)
	}
	return ""
}
