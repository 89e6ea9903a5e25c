// Package login takes an iSCSI connection through the login phase (RFC 7143,
// 6 and 13) as an ordered list of steps over an interface that carries PDUs.
//
// Without credentials it starts in the operational stage and needs one
// exchange. With CHAP it needs four: AuthMethod, CHAP_A, CHAP_N and CHAP_R,
// operational keys. Where authentication is optional, and the target wants none,
// it takes three.
package login

import (
	"context"
	"time"

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
	CheckTag       bool   // responses must have our task tag, 0; the kernel, which puts in its own, checks that itself
	CHAP           *CHAP  // nil: no authentication is offered
	Offer          Params // what the initiator offers and declares
}

// CHAP holds the credentials of a session. With UsernameIn or SecretIn set the
// target must prove itself too; an empty UsernameIn then takes any name.
type CHAP struct {
	Username   string
	Secret     Secret
	UsernameIn string
	SecretIn   Secret
	Algorithms []Algorithm // in order of preference; nil: all that are known
	// Optional lets a target that wants no authentication go without; it means
	// nothing where the target must prove itself.
	Optional bool
}

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

// DefaultParams returns the offer that open-iscsi makes by default.
func DefaultParams() Params {
	return Params{
		HeaderDigest:             []Digest{DigestNone},
		DataDigest:               []Digest{DigestNone},
		ImmediateData:            true,
		MaxRecvDataSegmentLength: 262144,
		MaxBurstLength:           16776192,
		FirstBurstLength:         262144,
		DefaultTime2Wait:         2,
		MaxOutstandingR2T:        1,
		MaxConnections:           1,
		DataPDUInOrder:           true,
		DataSequenceInOrder:      true,
	}
}

// Result is what a login agreed on.
type Result struct {
	Params
	MaxXmitDataSegmentLength uint32 // the target's MaxRecvDataSegmentLength
	TSIH                     uint16
	TargetPortalGroupTag     uint16
	TargetAlias              string
	ExpStatSN                uint32    // StatSN of the last response + 1
	CmdSN                    uint32    // ExpCmdSN of the last response
	MaxCmdSN                 uint32    // of the last response
	Exchanges                int       // request and response pairs on the wire
	Algorithm                Algorithm // 0: no CHAP took place
}

// Timeout bounds a login whose context has no deadline.
const Timeout = 30 * time.Second

// Login runs the login phase on a fresh connection until the full feature
// phase is reached. Its errors are *StatusError (the target refused),
// *RedirectError (the target moved), *ProtocolError (the target broke the
// rules), *AuthError (CHAP failed on our side), *ConfigError (nothing was
// sent), or wrap what Conn returned. The connection is of no use after any.
func Login(ctx context.Context, c Conn, cfg Config) (*Result, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, Timeout)
		defer cancel()
	}
	e := newEngine(c, cfg)
	for _, step := range e.steps() {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return e.result()
}

// steps lists what a login does, in order.
func (e *engine) steps() []func(context.Context) error {
	if e.cfg.CHAP == nil {
		e.stage = pdu.Operational
		return []func(context.Context) error{e.negotiate}
	}
	e.stage = pdu.Security
	return []func(context.Context) error{
		e.chooseAuthMethod,
		e.chooseAlgorithm,
		e.authenticate,
		e.negotiate,
	}
}

// names are the keys of a session's first request (RFC 7143, 6.3).
func (e *engine) names() []pdu.Pair {
	pairs := []pdu.Pair{{Key: "InitiatorName", Value: e.cfg.InitiatorName}}
	if e.cfg.InitiatorAlias != "" {
		pairs = append(pairs, pdu.Pair{Key: "InitiatorAlias", Value: e.cfg.InitiatorAlias})
	}
	if e.cfg.TargetName != "" {
		pairs = append(pairs, pdu.Pair{Key: "TargetName", Value: e.cfg.TargetName})
	}
	if e.cfg.Discovery {
		return append(pairs, pdu.Pair{Key: "SessionType", Value: "Discovery"})
	}
	return append(pairs, pdu.Pair{Key: "SessionType", Value: "Normal"})
}

// negotiate offers the operational keys and goes to the full feature phase.
func (e *engine) negotiate(ctx context.Context) error {
	keys := e.keys.offer()
	if e.exchanges == 0 {
		keys = append(e.names(), keys...)
	}
	return e.ask(ctx, keys, true)
}

// result puts together what was agreed.
func (e *engine) result() (*Result, error) {
	r, err := e.keys.result()
	if err != nil {
		return nil, e.protocolError(err)
	}
	if e.last.TSIH == 0 && !e.cfg.Discovery {
		return nil, e.protocolErrorf("the last response has TSIH 0, expected the new session's handle")
	}
	r.TSIH = e.last.TSIH
	r.ExpStatSN = e.expStatSN
	r.CmdSN, r.MaxCmdSN = e.last.ExpCmdSN, e.last.MaxCmdSN
	r.Exchanges = e.exchanges
	r.Algorithm = e.algorithm
	return r, nil
}
