package pdu

// TextRequest is the Text Request PDU (RFC 7143, 11.10).
type TextRequest struct {
	Immediate bool
	Final     bool // F
	Continue  bool // C: the text goes on in the next request
	LUN       [8]byte
	ITT       uint32
	TTT       uint32 // NoTag in the first request
	CmdSN     uint32
	ExpStatSN uint32
	Data      []byte // text
}

// Marshal encodes the request.
func (m TextRequest) Marshal() PDU {
	p := newPDU(OpTextRequest, m.Immediate, flags(m.Final, m.Continue), m.Data)
	p.putLUN(m.LUN)
	p.put32(16, m.ITT)
	p.put32(20, m.TTT)
	p.put32(24, m.CmdSN)
	p.put32(28, m.ExpStatSN)
	return p
}

// ParseTextRequest decodes a Text Request.
func ParseTextRequest(p PDU) (TextRequest, error) {
	data, err := p.open(OpTextRequest)
	if err != nil {
		return TextRequest{}, err
	}
	return TextRequest{
		Immediate: p.immediate(), Final: p.flag(flagFinal), Continue: p.flag(flagContinue), LUN: p.lun(),
		ITT: p.u32(16), TTT: p.u32(20), CmdSN: p.u32(24), ExpStatSN: p.u32(28), Data: data,
	}, nil
}

// TextResponse is the Text Response PDU (RFC 7143, 11.11).
type TextResponse struct {
	Final    bool // F
	Continue bool // C: the text goes on in the next response
	LUN      [8]byte
	ITT      uint32
	TTT      uint32 // NoTag in the last response
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	Data     []byte // text
}

// Marshal encodes the response.
func (m TextResponse) Marshal() PDU {
	p := newPDU(OpTextResponse, false, flags(m.Final, m.Continue), m.Data)
	p.putLUN(m.LUN)
	p.put32(16, m.ITT)
	p.put32(20, m.TTT)
	p.putSN(m.StatSN, m.ExpCmdSN, m.MaxCmdSN)
	return p
}

// ParseTextResponse decodes a Text Response.
func ParseTextResponse(p PDU) (TextResponse, error) {
	data, err := p.open(OpTextResponse)
	if err != nil {
		return TextResponse{}, err
	}
	return TextResponse{
		Final: p.flag(flagFinal), Continue: p.flag(flagContinue), LUN: p.lun(), ITT: p.u32(16), TTT: p.u32(20),
		StatSN: p.u32(24), ExpCmdSN: p.u32(28), MaxCmdSN: p.u32(32), Data: data,
	}, nil
}

// Reasons of a Logout Request (RFC 7143, 11.14.1).
const (
	LogoutSession    = 0 // close the session
	LogoutConnection = 1 // close the connection
)

// LogoutRequest is the Logout Request PDU (RFC 7143, 11.14).
type LogoutRequest struct {
	Immediate bool
	Reason    uint8
	ITT       uint32
	CID       uint16 // means nothing with LogoutSession
	CmdSN     uint32
	ExpStatSN uint32
}

// Marshal encodes the request.
func (m LogoutRequest) Marshal() PDU {
	p := newPDU(OpLogoutRequest, m.Immediate, flagFinal|m.Reason&0x7f, nil)
	p.put32(16, m.ITT)
	p.put16(20, m.CID)
	p.put32(24, m.CmdSN)
	p.put32(28, m.ExpStatSN)
	return p
}

// ParseLogoutRequest decodes a Logout Request.
func ParseLogoutRequest(p PDU) (LogoutRequest, error) {
	if _, err := p.open(OpLogoutRequest); err != nil {
		return LogoutRequest{}, err
	}
	return LogoutRequest{
		Immediate: p.immediate(), Reason: p.Header[1] & 0x7f, ITT: p.u32(16), CID: p.u16(20),
		CmdSN: p.u32(24), ExpStatSN: p.u32(28),
	}, nil
}

// LogoutResponse is the Logout Response PDU (RFC 7143, 11.15).
type LogoutResponse struct {
	Response    uint8 // 0: closed
	ITT         uint32
	StatSN      uint32
	ExpCmdSN    uint32
	MaxCmdSN    uint32
	Time2Wait   uint16 // seconds
	Time2Retain uint16 // seconds
}

// Marshal encodes the response.
func (m LogoutResponse) Marshal() PDU {
	p := newPDU(OpLogoutResponse, false, flagFinal, nil)
	p.Header[2] = m.Response
	p.put32(16, m.ITT)
	p.putSN(m.StatSN, m.ExpCmdSN, m.MaxCmdSN)
	p.put16(40, m.Time2Wait)
	p.put16(42, m.Time2Retain)
	return p
}

// ParseLogoutResponse decodes a Logout Response.
func ParseLogoutResponse(p PDU) (LogoutResponse, error) {
	if _, err := p.open(OpLogoutResponse); err != nil {
		return LogoutResponse{}, err
	}
	return LogoutResponse{
		Response: p.Header[2], ITT: p.u32(16), StatSN: p.u32(24), ExpCmdSN: p.u32(28), MaxCmdSN: p.u32(32),
		Time2Wait: p.u16(40), Time2Retain: p.u16(42),
	}, nil
}

// NOPOut is the NOP-Out PDU (RFC 7143, 11.18).
type NOPOut struct {
	Immediate bool
	LUN       [8]byte
	ITT       uint32 // NoTag: no answer wanted
	TTT       uint32 // NoTag, or that of the NOP-In answered
	CmdSN     uint32
	ExpStatSN uint32
	Data      []byte // ping
}

// Marshal encodes the NOP-Out.
func (m NOPOut) Marshal() PDU {
	p := newPDU(OpNOPOut, m.Immediate, flagFinal, m.Data)
	p.putLUN(m.LUN)
	p.put32(16, m.ITT)
	p.put32(20, m.TTT)
	p.put32(24, m.CmdSN)
	p.put32(28, m.ExpStatSN)
	return p
}

// ParseNOPOut decodes a NOP-Out.
func ParseNOPOut(p PDU) (NOPOut, error) {
	data, err := p.open(OpNOPOut)
	if err != nil {
		return NOPOut{}, err
	}
	return NOPOut{
		Immediate: p.immediate(), LUN: p.lun(), ITT: p.u32(16), TTT: p.u32(20), CmdSN: p.u32(24),
		ExpStatSN: p.u32(28), Data: data,
	}, nil
}

// NOPIn is the NOP-In PDU (RFC 7143, 11.19).
type NOPIn struct {
	LUN      [8]byte
	ITT      uint32 // that of the NOP-Out answered, or NoTag
	TTT      uint32 // not NoTag: an answer is wanted
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	Data     []byte // the ping sent back
}

// Marshal encodes the NOP-In.
func (m NOPIn) Marshal() PDU {
	p := newPDU(OpNOPIn, false, flagFinal, m.Data)
	p.putLUN(m.LUN)
	p.put32(16, m.ITT)
	p.put32(20, m.TTT)
	p.putSN(m.StatSN, m.ExpCmdSN, m.MaxCmdSN)
	return p
}

// ParseNOPIn decodes a NOP-In.
func ParseNOPIn(p PDU) (NOPIn, error) {
	data, err := p.open(OpNOPIn)
	if err != nil {
		return NOPIn{}, err
	}
	return NOPIn{
		LUN: p.lun(), ITT: p.u32(16), TTT: p.u32(20), StatSN: p.u32(24), ExpCmdSN: p.u32(28),
		MaxCmdSN: p.u32(32), Data: data,
	}, nil
}

// Events of an Asynchronous Message (RFC 7143, 11.9.1).
const (
	AsyncSCSI           = 0 // sense data in Data
	AsyncLogout         = 1 // the target asks for a logout within Parameter3 seconds
	AsyncDropConnection = 2 // the target will drop connection Parameter1
	AsyncDropSession    = 3 // the target will drop the session
	AsyncRenegotiate    = 4 // the target asks for a negotiation within Parameter3 seconds
)

// Async is the Asynchronous Message PDU (RFC 7143, 11.9).
type Async struct {
	LUN        [8]byte
	StatSN     uint32
	ExpCmdSN   uint32
	MaxCmdSN   uint32
	Event      uint8
	VCode      uint8
	Parameter1 uint16
	Parameter2 uint16
	Parameter3 uint16
	Data       []byte
}

// Marshal encodes the message.
func (m Async) Marshal() PDU {
	p := newPDU(OpAsync, false, flagFinal, m.Data)
	p.putLUN(m.LUN)
	p.put32(16, NoTag)
	p.putSN(m.StatSN, m.ExpCmdSN, m.MaxCmdSN)
	p.Header[36], p.Header[37] = m.Event, m.VCode
	p.put16(38, m.Parameter1)
	p.put16(40, m.Parameter2)
	p.put16(42, m.Parameter3)
	return p
}

// ParseAsync decodes an Asynchronous Message.
func ParseAsync(p PDU) (Async, error) {
	data, err := p.open(OpAsync)
	if err != nil {
		return Async{}, err
	}
	return Async{
		LUN: p.lun(), StatSN: p.u32(24), ExpCmdSN: p.u32(28), MaxCmdSN: p.u32(32), Event: p.Header[36],
		VCode: p.Header[37], Parameter1: p.u16(38), Parameter2: p.u16(40), Parameter3: p.u16(42), Data: data,
	}, nil
}

// Reject is the Reject PDU (RFC 7143, 11.17).
type Reject struct {
	Reason   uint8
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	DataSN   uint32
	Data     []byte // the header of the PDU that was rejected
}

// Marshal encodes the Reject.
func (m Reject) Marshal() PDU {
	p := newPDU(OpReject, false, flagFinal, m.Data)
	p.Header[2] = m.Reason
	p.put32(16, NoTag)
	p.putSN(m.StatSN, m.ExpCmdSN, m.MaxCmdSN)
	p.put32(36, m.DataSN)
	return p
}

// ParseReject decodes a Reject.
func ParseReject(p PDU) (Reject, error) {
	data, err := p.open(OpReject)
	if err != nil {
		return Reject{}, err
	}
	return Reject{
		Reason: p.Header[2], StatSN: p.u32(24), ExpCmdSN: p.u32(28), MaxCmdSN: p.u32(32), DataSN: p.u32(36),
		Data: data,
	}, nil
}
