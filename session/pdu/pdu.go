// Package pdu encodes and decodes the PDUs of RFC 7143 that a boot initiator
// sends and meets: Login, Text, Logout, NOP, Asynchronous Message, Reject. It
// does no I/O but for reading and writing whole PDUs on a stream.
package pdu

// HeaderLen is the length of the basic header segment (RFC 7143, 11.2.1).
const HeaderLen = 48

// PDU is one protocol data unit: the basic header segment as it goes over the
// wire (big-endian) and the data segment without its padding.
type PDU struct {
	Header [HeaderLen]byte
	Data   []byte
}
