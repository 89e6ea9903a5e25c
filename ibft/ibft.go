// Package ibft is the codec of the iSCSI Boot Firmware Table: bytes in, Table
// out, and back. It does no I/O; fw finds the bytes.
//
// The table is little-endian and packed (IBM, "iSCSI Boot Firmware Table
// (iBFT)", 1.03; the kernel's drivers/firmware/iscsi_ibft.c reads the same).
//
// Firmware writes it in many ways. Parse refuses a table whose frame is wrong
// and keeps what it can of the rest: a fault in one structure is a Problem.
// Table holds the fields as they were written; the methods of NIC, Target and
// Table in policy.go say how to read them.
package ibft

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// Table is a decoded iBFT. Structures stand in the order in which the control
// structure points to them.
type Table struct {
	Signature  string // "iBFT", "BIFT" or "IBFT"
	OEMID      string
	OEMTableID string
	Initiator  *Initiator // nil: the table has none
	NICs       []NIC
	Targets    []Target
	Problems   []Problem // optional structures that were skipped, and why
}

// Problem is something wrong with an optional structure, which was skipped, or
// with one of its fields, which was left empty or mended as Reason says. It
// never shows the text of a string: a bad offset can lead to a secret.
type Problem struct {
	Offset int    // from the start of the table
	Reason string // what was expected and what was found
}

// Initiator is the initiator structure (id 2).
type Initiator struct {
	Index       uint8
	Valid, Boot bool // flags, bits 0 and 1
	Name        string
	ISNS, SLP   netip.Addr
	RADIUS      [2]netip.Addr
}

// Origin says where a NIC's address came from.
type Origin uint8

// The values of Origin that the table knows (as NL_ADDR_ORIGIN in Windows).
const (
	OriginOther     Origin = 0
	OriginStatic    Origin = 1
	OriginWellKnown Origin = 2
	OriginDHCP      Origin = 3
	OriginRA        Origin = 4
)

// NIC is a NIC structure (id 3). An address that the table leaves empty is the
// zero netip.Addr.
type NIC struct {
	Index               uint8
	Valid, Boot, Global bool // flags, bits 0 to 2
	IP                  netip.Addr
	PrefixLen           int // 0 when the table leaves it out
	Origin              Origin
	Gateway             netip.Addr
	DNS                 [2]netip.Addr
	DHCP                netip.Addr // the server that gave the address
	VLAN                uint16     // as in the table; see VLANID
	MAC                 [6]byte    // zero when the table leaves it out
	PCI                 uint16     // bus<<8 | device<<3 | function
	Hostname            string
}

// CHAPType says which authentication a target structure asks for.
type CHAPType uint8

// The values of CHAPType.
const (
	CHAPNone   CHAPType = 0
	CHAPOneWay CHAPType = 1
	CHAPMutual CHAPType = 2
)

// Target is a target structure (id 4).
type Target struct {
	Index                   uint8
	Valid, Boot             bool // flags, bits 0 and 1
	RADIUSCHAP, RADIUSRCHAP bool // flags, bits 2 and 3
	IP                      netip.Addr
	Port                    uint16 // as in the table; see Portal
	LUN                     LUN
	CHAPType                CHAPType // as in the table; see Auth
	NIC                     uint8    // index of the NIC structure; see Table.NICOf
	Name                    string
	CHAPName                string
	CHAPSecret              Secret
	ReverseCHAPName         string
	ReverseCHAPSecret       Secret
}

// LUN is a logical unit number as SAM writes it: four two-byte levels,
// big-endian.
type LUN [8]byte

// Uint64 returns the number by which Linux knows the unit (scsilun_to_int in
// drivers/scsi/scsi_common.c).
func (l LUN) Uint64() uint64 {
	var n uint64
	for i := 0; i < len(l); i += 2 {
		n |= uint64(binary.BigEndian.Uint16(l[i:])) << (8 * i)
	}
	return n
}

// LUNFromUint64 is the reverse of Uint64 (int_to_scsilun).
func LUNFromUint64(n uint64) LUN {
	var l LUN
	for i := 0; i < len(l); i += 2 {
		binary.BigEndian.PutUint16(l[i:], uint16(n>>(8*i)))
	}
	return l
}

// Secret is a CHAP secret. It prints as "***" by every verb of fmt and in JSON,
// so that it cannot reach a log by accident; string(s) is the secret itself.
type Secret string

// String returns "***", or "" when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format is String for every verb: fmt prints the plain text for a verb that
// does not fit a string, %d, unless it finds this method.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is String, for JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
