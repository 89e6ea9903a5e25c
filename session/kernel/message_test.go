package kernel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const testHandle = 0xffffffffc0a1b2c3

// fromHex reads bytes; spaces are for the reader. The tables are little-endian.
func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	if order.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the tables are little-endian, this machine is not")
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// event returns the payload of an event: its type, the handle, u and r.
func event(kind uint32, handle uint64, r []byte, more ...byte) []byte {
	b := make([]byte, eventLen)
	order.PutUint32(b, kind)
	order.PutUint64(b[offHandle:], handle)
	copy(b[offR:], r)
	return append(b, more...)
}

func TestParseEvent(t *testing.T) {
	const zeros = "00000000 c3b2a1c0ffffffff 000000000000000000000000000000000000000000000000"
	header := strings.Repeat("23", 48)
	tests := []struct {
		name string
		in   string
		want Event
		ok   bool
	}{
		{"RECV_PDU", "65000000" + zeros + "07000000 00000000 1122334455667788" + header + "6b3d7600",
			Event{Kind: ReceivedPDU, SID: 7, PDU: append(bytes.Repeat([]byte{0x23}, 48), 'k', '=', 'v', 0)}, true},
		{"CONN_ERROR", "66000000" + zeros + "07000000 01000000 fc030000 00000000",
			Event{Kind: ConnFailed, SID: 7, CID: 1, Code: TCPConnClose}, true},
		{"CONN_LOGIN_STATE", "6d000000" + zeros + "07000000 00000000 01000000 00000000",
			Event{Kind: LoginState, SID: 7}, true},
		{"UNBIND_SESSION is {sid, host_no}", "69000000" + zeros + "07000000 03000000 00000000 00000000",
			Event{Kind: SessionUnbound, SID: 7}, true},
		{"DESTROY_SESSION is {host_no, sid}", "68000000" + zeros + "03000000 07000000 00000000 00000000",
			Event{Kind: SessionDestroyed, SID: 7}, true},
		{"CREATE_SESSION is of no interest", "6a000000" + zeros + "03000000 07000000 00000000 00000000", Event{}, false},
		{"another transport", "66000000 00000000 0100000000000000 000000000000000000000000000000000000000000000000" +
			"07000000 01000000 fc030000 00000000", Event{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := fromHex(t, test.in)
			got, ok, err := parseEvent(in, testHandle)
			if err != nil || ok != test.ok {
				t.Fatalf("ok %v, error %v; want ok %v", ok, err, test.ok)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for n := range eventLen {
				if _, _, err := parseEvent(in[:n], testHandle); err == nil {
					t.Errorf("the first %d bytes alone are no error", n)
				}
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	tests := []struct {
		name    string
		command command
		kind    uint32
		iferror int32
		retcode int32
		want    error
	}{
		{"done", bindConn, uint32(bindConn), 0, 0, nil},
		{"refused by the class", bindConn, uint32(ifError), -int32(unix.EINVAL), 0, unix.EINVAL},
		{"refused by the transport", bindConn, uint32(bindConn), 0, -int32(unix.ENOTCONN), unix.ENOTCONN},
		{"the sid of a new session is no return code", createSession, uint32(createSession), 0, 9, nil},
		{"no session is made", createSession, uint32(ifError), -int32(unix.ENOMEM), 0, unix.ENOMEM},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := event(test.kind, testHandle, nil)
			order.PutUint32(b[offError:], uint32(test.iferror))
			order.PutUint32(b[offR:], uint32(test.retcode))
			a, err := parseAnswer(uint16(test.command), b)
			if err != nil {
				t.Fatal(err)
			}
			if a.refused != test.want {
				t.Errorf("refused: %v, want %v", a.refused, test.want)
			}
			for n := range eventLen {
				if _, err := parseAnswer(uint16(test.command), b[:n]); err == nil {
					t.Errorf("the first %d bytes alone are no error", n)
				}
			}
		})
	}
	for _, code := range []uint32{5, 0x80000000, uint32(0xffffffff - 4095)} {
		var no unix.Errno
		if err := errno(code); err == nil || errors.As(err, &no) {
			t.Errorf("return code %#x gives %v, want an error that is no errno", code, err)
		}
	}
}

func TestNextMessage(t *testing.T) {
	one := newMessage(startConn, testHandle, 1) // 73 bytes: 3 of padding follow
	two := append(append(append([]byte{}, one...), 0, 0, 0), newMessage(stopConn, testHandle, 0)...)
	kind, payload, rest, err := nextMessage(two)
	if err != nil || kind != uint16(startConn) || len(payload) != eventLen+1 {
		t.Fatalf("kind %d, %d bytes, error %v", kind, len(payload), err)
	}
	kind, payload, rest, err = nextMessage(rest)
	if err != nil || kind != uint16(stopConn) || len(payload) != eventLen || len(rest) != 0 {
		t.Fatalf("kind %d, %d bytes, %d left, error %v", kind, len(payload), len(rest), err)
	}
	for n := range len(one) {
		if _, _, _, err := nextMessage(one[:n]); err == nil {
			t.Errorf("the first %d bytes alone are no error", n)
		}
	}
	for _, size := range []uint32{0, 15, 74, 1 << 31, 1<<32 - 1} {
		b := bytes.Clone(one)
		order.PutUint32(b, size)
		if _, _, _, err := nextMessage(b); err == nil {
			t.Errorf("a length of %d in a datagram of %d bytes is no error", size, len(b))
		}
	}
}

func FuzzDatagram(f *testing.F) {
	f.Add(newMessage(bindConn, testHandle, 0))
	f.Add(append(newMessage(0, testHandle, 48), newMessage(createSession, testHandle, 0)...))
	for _, kind := range []EventKind{ReceivedPDU, ConnFailed, SessionDestroyed, SessionUnbound, LoginState} {
		m := newMessage(0, testHandle, 52)
		order.PutUint32(m[headerLen:], uint32(kind))
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := &Netlink{handle: testHandle, conns: map[*Conn]struct{}{}}
		c := n.Listen(0, 0)
		n.await = &waiting{message: newMessage(bindConn, testHandle, 0), answer: make(chan answer, 1)}
		n.handOut(b)
		for len(c.events) > 0 {
			if ev := <-c.events; len(ev.PDU) > len(b) {
				t.Errorf("%d bytes of PDU out of %d", len(ev.PDU), len(b))
			}
		}
	})
}
