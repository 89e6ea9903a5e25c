// Package login takes an iSCSI connection through the login phase (RFC 7143,
// 6 and 13) as an ordered list of steps over an interface that carries PDUs.
package login

import (
	"context"

	"github.com/rootlun/rootlun/session/pdu"
)

// Conn carries PDUs of one connection. The kernel's NETLINK_ISCSI, a TCP
// stream and a script in a test implement it.
type Conn interface {
	// Send hands one PDU over. It does not wait for an answer.
	Send(ctx context.Context, p pdu.PDU) error
	// Receive returns the next PDU, or ctx's error, or the reason why the
	// connection ended.
	Receive(ctx context.Context) (pdu.PDU, error)
}

// Config is what an initiator brings to a login.
type Config struct {
	InitiatorName  string
	InitiatorAlias string // left out when empty
	TargetName     string // empty in a discovery session
	Discovery      bool   // SessionType=Discovery
	ISID           [6]byte
	CID            uint16
	CmdSN          uint32 // the kernel overwrites it
	ExpStatSN      uint32 // 0, or that of the connection being reinstated
	CHAP           *CHAP  // nil: no authentication is offered
	Offer          Params // what the initiator offers and declares
}

// CHAP holds the credentials of a session. With UsernameIn or SecretIn set the
// target must prove itself too.
type CHAP struct {
	Username   string
	Secret     Secret
	UsernameIn string
	SecretIn   Secret
	Algorithms []Algorithm // in order of preference; nil: all that are known
}

// Secret is a CHAP secret. It prints as "***" by every verb of fmt.
type Secret string

// String returns "***", or "" when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Algorithm is a CHAP_A value (RFC 7143, 12.1.3; IANA's PPP registry).
type Algorithm int

// The digests of CHAP.
const (
	MD5     Algorithm = 5
	SHA1    Algorithm = 6
	SHA256  Algorithm = 7
	SHA3256 Algorithm = 8
)

// Digest is one value of HeaderDigest or DataDigest (RFC 7143, 13.1).
type Digest string

// The digests.
const (
	DigestNone   Digest = "None"
	DigestCRC32C Digest = "CRC32C"
)

// Params are the operational parameters of a normal session. As an offer, the
// digests are lists in order of preference; as a result each has one entry.
type Params struct {
	HeaderDigest             []Digest
	DataDigest               []Digest
	InitialR2T               bool
	ImmediateData            bool
	MaxRecvDataSegmentLength uint32 // declared by us: what we accept
	MaxBurstLength           uint32
	FirstBurstLength         uint32
	DefaultTime2Wait         uint16 // seconds
	DefaultTime2Retain       uint16 // seconds
	MaxOutstandingR2T        uint16
	MaxConnections           uint16
	ErrorRecoveryLevel       uint8
	DataPDUInOrder           bool
	DataSequenceInOrder      bool
}

// Result is what a login agreed on.
type Result struct {
	Params
	MaxXmitDataSegmentLength uint32 // the target's MaxRecvDataSegmentLength
	TSIH                     uint16
	TargetPortalGroupTag     uint16
	TargetAlias              string
	ExpStatSN                uint32 // StatSN of the last response + 1
	CmdSN                    uint32 // ExpCmdSN of the last response
	MaxCmdSN                 uint32
	Exchanges                int       // request and response pairs on the wire
	Algorithm                Algorithm // 0: no CHAP took place
}

// Login runs the login phase on a fresh connection until the full feature
// phase is reached. Its errors are *StatusError (the target refused),
// *RedirectError (the target moved), *ProtocolError (the target broke the
// rules), *AuthError (CHAP failed on our side), or wrap what Conn returned.
func Login(ctx context.Context, c Conn, cfg Config) (*Result, error) {
	panic("not written yet")
}
