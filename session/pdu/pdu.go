// Package pdu encodes and decodes the PDUs of RFC 7143 that a boot initiator
// sends and meets: Login, Text, Logout, NOP, Asynchronous Message, Reject. It
// does no I/O but for reading and writing whole PDUs on a stream.
//
// Each PDU is a struct with a Marshal method and a Parse function. Parse checks
// opcode and lengths, copies nothing, and leaves the meaning of the fields to
// its caller.
package pdu

import (
	"encoding/binary"
	"fmt"
)

// HeaderLen is the length of the basic header segment (RFC 7143, 11.2.1).
const HeaderLen = 48

// DefaultMaxData is the longest data segment before a side has declared its
// MaxRecvDataSegmentLength, and during the whole login phase (RFC 7143, 13.12).
const DefaultMaxData = 8192

// NoTag is the reserved value of initiator and target task tags.
const NoTag = 0xffffffff

// PDU is one protocol data unit: the basic header segment as it goes over the
// wire (big-endian) and the data segment without its padding.
type PDU struct {
	Header [HeaderLen]byte
	Data   []byte
}

// Opcode is the kind of a PDU (RFC 7143, 11.2.1.2).
type Opcode uint8

// The opcodes known here.
const (
	OpNOPOut         Opcode = 0x00
	OpLoginRequest   Opcode = 0x03
	OpTextRequest    Opcode = 0x04
	OpLogoutRequest  Opcode = 0x06
	OpNOPIn          Opcode = 0x20
	OpLoginResponse  Opcode = 0x23
	OpTextResponse   Opcode = 0x24
	OpLogoutResponse Opcode = 0x26
	OpAsync          Opcode = 0x32
	OpReject         Opcode = 0x3f
)

// String is the RFC's name of the PDU.
func (o Opcode) String() string {
	switch o {
	case OpNOPOut:
		return "NOP-Out"
	case OpLoginRequest:
		return "Login Request"
	case OpTextRequest:
		return "Text Request"
	case OpLogoutRequest:
		return "Logout Request"
	case OpNOPIn:
		return "NOP-In"
	case OpLoginResponse:
		return "Login Response"
	case OpTextResponse:
		return "Text Response"
	case OpLogoutResponse:
		return "Logout Response"
	case OpAsync:
		return "Asynchronous Message"
	case OpReject:
		return "Reject"
	}
	return fmt.Sprintf("PDU with opcode 0x%02x", uint8(o))
}

// Opcode returns the PDU's opcode without the immediate bit.
func (p *PDU) Opcode() Opcode { return Opcode(p.Header[0] & 0x3f) }

// DataLen returns the header's DataSegmentLength.
func (p *PDU) DataLen() int {
	return int(p.Header[5])<<16 | int(p.Header[6])<<8 | int(p.Header[7])
}

// SetData makes b the data segment and enters its length into the header. b is
// shorter than 16 MiB.
func (p *PDU) SetData(b []byte) {
	p.Data = b
	p.Header[5], p.Header[6], p.Header[7] = byte(len(b)>>16), byte(len(b)>>8), byte(len(b))
}

// Error says where a PDU or a text is malformed.
type Error struct {
	What   string // "Login Response", "text"
	Offset int    // into the header, or into the text
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: offset %d: %s", e.What, e.Offset, e.Reason)
}

func malformed(what string, offset int, format string, args ...any) error {
	return &Error{what, offset, fmt.Sprintf(format, args...)}
}

// Bits of byte 0 and byte 1.
const (
	flagImmediate = 0x40 // byte 0
	flagFinal     = 0x80 // byte 1: F of most PDUs, T of Login
	flagContinue  = 0x40 // byte 1: C of Login and Text
)

// open checks what all PDUs have in common and returns the data segment. Data
// may be longer than the header says: the kernel hands over padding too.
func (p *PDU) open(op Opcode) ([]byte, error) {
	if p.Opcode() != op {
		return nil, malformed(op.String(), 0, "this is a %v", p.Opcode())
	}
	if n := p.Header[4]; n != 0 {
		return nil, malformed(op.String(), 4, "%d words of additional header, expected none", n)
	}
	n := p.DataLen()
	if n > len(p.Data) {
		return nil, malformed(op.String(), 5, "data segment of %d bytes announced, %d came", n, len(p.Data))
	}
	return p.Data[:n:n], nil
}

// newPDU starts a PDU with its first two bytes and its data.
func newPDU(op Opcode, immediate bool, flags byte, data []byte) PDU {
	var p PDU
	p.Header[0] = byte(op)
	if immediate {
		p.Header[0] |= flagImmediate
	}
	p.Header[1] = flags
	p.SetData(data)
	return p
}

func (p *PDU) immediate() bool           { return p.Header[0]&flagImmediate != 0 }
func (p *PDU) flag(bit byte) bool        { return p.Header[1]&bit != 0 }
func (p *PDU) u16(off int) uint16        { return binary.BigEndian.Uint16(p.Header[off:]) }
func (p *PDU) u32(off int) uint32        { return binary.BigEndian.Uint32(p.Header[off:]) }
func (p *PDU) put16(off int, v uint16)   { binary.BigEndian.PutUint16(p.Header[off:], v) }
func (p *PDU) put32(off int, v uint32)   { binary.BigEndian.PutUint32(p.Header[off:], v) }
func (p *PDU) lun() [8]byte              { return [8]byte(p.Header[8:16]) }
func (p *PDU) putLUN(lun [8]byte)        { copy(p.Header[8:16], lun[:]) }
func (p *PDU) putSN(stat, exp, m uint32) { p.put32(24, stat); p.put32(28, exp); p.put32(32, m) }

// flags builds byte 1 from its two common bits.
func flags(final, cont bool) byte {
	var b byte
	if final {
		b |= flagFinal
	}
	if cont {
		b |= flagContinue
	}
	return b
}
