package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A message is a struct nlmsghdr, a struct iscsi_uevent and what follows it
// (include/scsi/iscsi_if.h), in the byte order of the machine. The event is
// {u32 type, u32 iferror, u64 transport_handle, union u [24], union r [16]}.
const (
	headerLen = unix.SizeofNlMsghdr // 16
	eventLen  = 56

	offType   = 0
	offError  = 4
	offHandle = 8
	offU      = 16 // what is asked
	offR      = 40 // what is answered, or told
)

var order = binary.NativeEndian

// command is an ISCSI_UEVENT_*: from here to the kernel.
type command uint16

const (
	createSession  command = 11
	destroySession command = 12
	createConn     command = 13
	destroyConn    command = 14
	bindConn       command = 15
	setParam       command = 16
	startConn      command = 17
	stopConn       command = 18
	sendPDU        command = 19
	unbindSession  command = 27
)

func (c command) String() string {
	switch c {
	case createSession:
		return "CREATE_SESSION"
	case destroySession:
		return "DESTROY_SESSION"
	case createConn:
		return "CREATE_CONN"
	case destroyConn:
		return "DESTROY_CONN"
	case bindConn:
		return "BIND_CONN"
	case setParam:
		return "SET_PARAM"
	case startConn:
		return "START_CONN"
	case stopConn:
		return "STOP_CONN"
	case sendPDU:
		return "SEND_PDU"
	case unbindSession:
		return "UNBIND_SESSION"
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// EventKind is an ISCSI_KEVENT_*: from the kernel, for all who listen.
type EventKind uint32

// The events. Others are ignored.
const (
	ReceivedPDU      EventKind = 101
	ConnFailed       EventKind = 102
	ifError          EventKind = 103 // never an event: a refused command's answer
	SessionDestroyed EventKind = 104
	SessionUnbound   EventKind = 105 // the session's SCSI devices are gone
	LoginState       EventKind = 109

	eventsLost EventKind = 0 // ours: the kernel dropped events
)

// Event is what the kernel says of a connection or its session.
type Event struct {
	Kind EventKind
	SID  uint32
	CID  uint32    // 0 in the events of a session
	Code ConnError // ConnFailed: why
	PDU  []byte    // ReceivedPDU: the header (48 bytes), then data and perhaps padding
}

// answer is what the kernel answers to a command.
type answer struct {
	command command
	asked   [offR - offHandle]byte // handle and u, as they were sent
	refused error                  // nil or a unix.Errno
	r       [eventLen - offR]byte
}

var errShort = errors.New("message is too short")

// newMessage returns a message with zeros for u and extra bytes after the event.
func newMessage(c command, handle uint64, extra int) []byte {
	m := make([]byte, headerLen+eventLen+extra)
	order.PutUint32(m[0:], uint32(len(m))) // nlmsg_len
	order.PutUint16(m[4:], uint16(c))      // nlmsg_type: it must equal the event's type
	event := m[headerLen:]
	order.PutUint32(event[offType:], uint32(c))
	order.PutUint64(event[offHandle:], handle)
	return m
}

// put writes 32-bit fields of u, one after the other.
func put(m []byte, fields ...uint32) {
	for i, f := range fields {
		order.PutUint32(m[headerLen+offU+4*i:], f)
	}
}

// nextMessage takes the first message off a datagram. Messages are aligned to
// four bytes (NLMSG_ALIGN).
func nextMessage(b []byte) (kind uint16, payload, rest []byte, err error) {
	if len(b) < headerLen {
		return 0, nil, nil, errShort
	}
	n := int64(order.Uint32(b))
	if n < headerLen || n > int64(len(b)) {
		return 0, nil, nil, fmt.Errorf("message says it is %d bytes long, the datagram has %d", n, len(b))
	}
	end := min((n+3)&^3, int64(len(b)))
	return order.Uint16(b[4:]), b[headerLen:n], b[end:], nil
}

// parseAnswer reads the payload of a message whose kind is that of a command.
func parseAnswer(kind uint16, b []byte) (answer, error) {
	if len(b) < eventLen {
		return answer{}, errShort
	}
	a := answer{command: command(kind)}
	copy(a.asked[:], b[offHandle:offR])
	copy(a.r[:], b[offR:eventLen])

	// A command fails in two ways: the class refuses it (the event turns into
	// IF_ERROR), or it is carried out and its return code says no.
	if EventKind(order.Uint32(b[offType:])) == ifError {
		a.refused = errno(order.Uint32(b[offError:]))
	} else if a.command != createSession && a.command != createConn {
		a.refused = errno(order.Uint32(b[offR:]))
	}
	return a, nil
}

// errno reads a return code of the kernel: 0 or a negative errno.
func errno(code uint32) error {
	switch n := int32(code); {
	case n == 0:
		return nil
	case n < 0 && n >= -4095: // MAX_ERRNO
		return unix.Errno(-n)
	default:
		return fmt.Errorf("return code %d", n)
	}
}

// parseEvent reads the payload of a message of kind 0. ok is false when the
// event is of another transport, or of a kind that is of no interest here.
func parseEvent(b []byte, handle uint64) (ev Event, ok bool, err error) {
	if len(b) < eventLen {
		return Event{}, false, errShort
	}
	if order.Uint64(b[offHandle:]) != handle {
		return Event{}, false, nil
	}
	r := b[offR:eventLen]
	ev = Event{
		Kind: EventKind(order.Uint32(b[offType:])),
		SID:  order.Uint32(r[0:]),
		CID:  order.Uint32(r[4:]),
	}
	switch ev.Kind {
	case ReceivedPDU:
		ev.PDU = append([]byte(nil), b[eventLen:]...)
	case ConnFailed:
		ev.Code = ConnError(order.Uint32(r[8:]))
	case LoginState:
	case SessionUnbound: // {sid, host_no}
		ev.CID = 0
	case SessionDestroyed: // {host_no, sid}
		ev.SID, ev.CID = ev.CID, 0
	default:
		return Event{}, false, nil
	}
	return ev, true, nil
}
