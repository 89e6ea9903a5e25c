package pdu

import "fmt"

// Stage is a stage of the login phase (RFC 7143, 11.12.3).
type Stage uint8

// The stages. 2 is reserved.
const (
	Security    Stage = 0
	Operational Stage = 1
	FullFeature Stage = 3
)

func (s Stage) String() string {
	switch s {
	case Security:
		return "security negotiation"
	case Operational:
		return "operational negotiation"
	case FullFeature:
		return "full feature phase"
	}
	return fmt.Sprintf("reserved stage %d", uint8(s))
}

// LoginRequest is the Login Request PDU (RFC 7143, 11.12). It is always
// immediate.
type LoginRequest struct {
	Transit    bool // T: ready to go to NSG
	Continue   bool // C: the text goes on in the next request
	CSG, NSG   Stage
	VersionMax uint8
	VersionMin uint8
	ISID       [6]byte
	TSIH       uint16
	ITT        uint32
	CID        uint16
	CmdSN      uint32
	ExpStatSN  uint32
	Data       []byte // text
}

// Marshal encodes the request.
func (m LoginRequest) Marshal() PDU {
	p := newPDU(OpLoginRequest, true, flags(m.Transit, m.Continue)|byte(m.CSG&3)<<2|byte(m.NSG&3), m.Data)
	p.Header[2], p.Header[3] = m.VersionMax, m.VersionMin
	copy(p.Header[8:14], m.ISID[:])
	p.put16(14, m.TSIH)
	p.put32(16, m.ITT)
	p.put16(20, m.CID)
	p.put32(24, m.CmdSN)
	p.put32(28, m.ExpStatSN)
	return p
}

// ParseLoginRequest decodes a Login Request.
func ParseLoginRequest(p PDU) (LoginRequest, error) {
	data, err := p.open(OpLoginRequest)
	if err != nil {
		return LoginRequest{}, err
	}
	if !p.immediate() {
		return LoginRequest{}, &Error{OpLoginRequest.String(), 0, "the immediate bit is not set"}
	}
	return LoginRequest{
		Transit:    p.flag(flagFinal),
		Continue:   p.flag(flagContinue),
		CSG:        Stage(p.Header[1] >> 2 & 3),
		NSG:        Stage(p.Header[1] & 3),
		VersionMax: p.Header[2],
		VersionMin: p.Header[3],
		ISID:       [6]byte(p.Header[8:14]),
		TSIH:       p.u16(14),
		ITT:        p.u32(16),
		CID:        p.u16(20),
		CmdSN:      p.u32(24),
		ExpStatSN:  p.u32(28),
		Data:       data,
	}, nil
}

// LoginResponse is the Login Response PDU (RFC 7143, 11.13). With a
// StatusClass other than 0 only the status and the text mean anything.
type LoginResponse struct {
	Transit       bool // T: the target goes to NSG with us
	Continue      bool // C: the text goes on in the next response
	CSG, NSG      Stage
	VersionMax    uint8
	VersionActive uint8
	ISID          [6]byte
	TSIH          uint16
	ITT           uint32
	StatSN        uint32
	ExpCmdSN      uint32
	MaxCmdSN      uint32
	StatusClass   uint8
	StatusDetail  uint8
	Data          []byte // text
}

// Marshal encodes the response.
func (m LoginResponse) Marshal() PDU {
	p := newPDU(OpLoginResponse, false, flags(m.Transit, m.Continue)|byte(m.CSG&3)<<2|byte(m.NSG&3), m.Data)
	p.Header[2], p.Header[3] = m.VersionMax, m.VersionActive
	copy(p.Header[8:14], m.ISID[:])
	p.put16(14, m.TSIH)
	p.put32(16, m.ITT)
	p.putSN(m.StatSN, m.ExpCmdSN, m.MaxCmdSN)
	p.Header[36], p.Header[37] = m.StatusClass, m.StatusDetail
	return p
}

// ParseLoginResponse decodes a Login Response.
func ParseLoginResponse(p PDU) (LoginResponse, error) {
	data, err := p.open(OpLoginResponse)
	if err != nil {
		return LoginResponse{}, err
	}
	return LoginResponse{
		Transit:       p.flag(flagFinal),
		Continue:      p.flag(flagContinue),
		CSG:           Stage(p.Header[1] >> 2 & 3),
		NSG:           Stage(p.Header[1] & 3),
		VersionMax:    p.Header[2],
		VersionActive: p.Header[3],
		ISID:          [6]byte(p.Header[8:14]),
		TSIH:          p.u16(14),
		ITT:           p.u32(16),
		StatSN:        p.u32(24),
		ExpCmdSN:      p.u32(28),
		MaxCmdSN:      p.u32(32),
		StatusClass:   p.Header[36],
		StatusDetail:  p.Header[37],
		Data:          data,
	}, nil
}
