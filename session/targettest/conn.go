package targettest

import (
	"bytes"
	"io"
	"net"

	"github.com/rootlun/rootlun/session/pdu"
)

// conn is one connection.
type conn struct {
	*Target
	c        net.Conn
	number   int
	exchange int
	statSN   uint32

	stage   pdu.Stage
	first   *pdu.LoginRequest
	text    []byte // of a request, put together by the C bit
	pending []byte // of our text, still to be sent
	split   int
	offered map[string]bool
	proof   proof

	discovery bool
}

// serve answers requests until the connection ends.
func (c *conn) serve() {
	c.offered = map[string]bool{}
	for {
		p, err := pdu.ReadPDU(c.c, 1<<18)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.requests = append(c.requests, p)
		c.mu.Unlock()
		c.exchange++
		a := &Answer{Connection: c.number, Exchange: c.exchange, Request: p}
		done := false
		if c.stage == pdu.FullFeature {
			done = c.fullFeature(p, a)
		} else if !c.loginPDU(p, a) {
			return
		}
		if c.cfg.Script != nil {
			c.cfg.Script(a)
		}
		if !c.send(a) || done {
			return
		}
	}
}

// loginPDU answers one PDU of the login phase. It returns false when the
// connection has to end without an answer.
func (c *conn) loginPDU(p pdu.PDU, a *Answer) bool {
	req, err := pdu.ParseLoginRequest(p)
	if err != nil {
		c.broken("sent before the end of its login: %v", err)
		return false
	}
	c.checkRequest(req)
	resp := pdu.LoginResponse{
		CSG: req.CSG, ISID: req.ISID, ITT: req.ITT, StatSN: c.statSN,
		ExpCmdSN: req.CmdSN, MaxCmdSN: req.CmdSN,
	}
	a.Login = &resp
	c.text = append(c.text, req.Data...)
	switch {
	case req.Continue: // an empty response asks for the rest
	case len(c.pending) > 0:
		if len(req.Data) > 0 {
			c.broken("sent text in answer to the C bit")
		}
		a.Text, c.pending, a.Split = c.pending, nil, c.split
	default:
		pairs, err := pdu.ParseText(c.text)
		if err != nil {
			c.broken("sent a bad text: %v", err)
		}
		c.text = nil
		a.Keys = c.login(req, &resp, pairs)
	}
	return true
}

// checkRequest holds a request against the rules of RFC 7143, 11.12.
func (c *conn) checkRequest(req pdu.LoginRequest) {
	if c.first == nil {
		c.first = &req
		c.stage = req.CSG
	}
	f := c.first
	switch {
	case req.ITT != f.ITT || req.CID != f.CID || req.CmdSN != f.CmdSN || req.ISID != f.ISID:
		c.broken("changed ITT, CID, CmdSN or ISID within its login")
	case req.TSIH != 0:
		c.broken("sent TSIH %d for a new session", req.TSIH)
	case req.VersionMin != 0 || req.VersionMax != 0:
		c.broken("speaks versions %d to %d", req.VersionMin, req.VersionMax)
	case c.exchange > 1 && req.ExpStatSN != c.statSN:
		c.broken("sent ExpStatSN %d, expected %d", req.ExpStatSN, c.statSN)
	case req.CSG != c.stage:
		c.broken("is in the %v, expected the %v", req.CSG, c.stage)
	case req.Transit && req.Continue:
		c.broken("set T and C")
	case req.Transit && (req.NSG <= req.CSG || req.NSG == 2):
		c.broken("goes from the %v to the %v", req.CSG, req.NSG)
	case len(req.Data) > pdu.DefaultMaxData:
		c.broken("sent %d bytes of text at once", len(req.Data))
	}
	for _, secret := range []string{c.cfg.Secret, c.cfg.SecretIn} {
		if secret != "" && bytes.Contains(req.Data, []byte(secret)) {
			c.broken("sent a secret")
		}
	}
}

// fullFeature answers one PDU after the login. It returns true when the
// connection ends with the answer.
func (c *conn) fullFeature(p pdu.PDU, a *Answer) bool {
	answer := func(p pdu.PDU) { a.PDU = &p }
	if m, err := pdu.ParseLogoutRequest(p); err == nil {
		answer(pdu.LogoutResponse{ITT: m.ITT, StatSN: c.statSN, ExpCmdSN: m.CmdSN, MaxCmdSN: m.CmdSN}.Marshal())
		return true
	}
	if m, err := pdu.ParseNOPOut(p); err == nil {
		if m.ITT != pdu.NoTag {
			answer(pdu.NOPIn{ITT: m.ITT, TTT: pdu.NoTag, StatSN: c.statSN, ExpCmdSN: m.CmdSN, MaxCmdSN: m.CmdSN, Data: m.Data}.Marshal())
		}
		return false
	}
	if m, err := pdu.ParseTextRequest(p); err == nil {
		pairs, err := pdu.ParseText(m.Data)
		if err != nil {
			c.broken("sent a bad text: %v", err)
		}
		for _, p := range pairs {
			if v := p.Value; p.Key == "SendTargets" && (v == "All" || v == "" || v == c.cfg.TargetName) {
				a.Keys = append(a.Keys, c.sendTargets()...)
			}
		}
		answer(pdu.TextResponse{Final: true, ITT: m.ITT, TTT: pdu.NoTag, StatSN: c.statSN, ExpCmdSN: m.CmdSN, MaxCmdSN: m.CmdSN}.Marshal())
		return false
	}
	answer(pdu.Reject{Reason: 5, StatSN: c.statSN, Data: p.Header[:]}.Marshal()) // command not supported
	return false
}

// send writes an answer. It returns false when the connection ends.
func (c *conn) send(a *Answer) bool {
	if a.Stall {
		io.Copy(io.Discard, c.c)
		return false
	}
	var b []byte
	for _, p := range a.Before {
		b = appendPDU(b, p)
	}
	switch {
	case a.Raw != nil:
		b = append(b, a.Raw...)
	case a.Login != nil:
		b = appendPDU(b, c.finishLogin(a))
		c.statSN++
	case a.PDU != nil:
		if a.PDU.Opcode() == pdu.OpTextResponse {
			a.PDU.SetData(a.text())
		}
		b = appendPDU(b, *a.PDU)
		c.statSN++
	}
	cut := a.Cut > 0 && a.Cut < len(b)
	if cut {
		b = b[:a.Cut]
	}
	chunk := a.Chunk
	if chunk <= 0 {
		chunk = len(b)
	}
	for len(b) > 0 {
		n := min(chunk, len(b))
		if _, err := c.c.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return !cut && !a.Close
}

// text returns the text of an answer.
func (a *Answer) text() []byte {
	if a.Text != nil {
		return a.Text
	}
	return pdu.AppendText(nil, a.Keys...)
}

// finishLogin puts the text into a login response, or its first piece.
func (c *conn) finishLogin(a *Answer) pdu.PDU {
	resp := a.Login
	resp.Data = a.text()
	if a.Split > 0 && len(resp.Data) > a.Split {
		c.pending, c.split = resp.Data[a.Split:], a.Split
		resp.Data = resp.Data[:a.Split]
		resp.Continue, resp.Transit, resp.NSG = true, false, 0
	}
	if resp.Transit && resp.StatusClass == 0 {
		c.stage = resp.NSG
	}
	return resp.Marshal()
}

// appendPDU encodes p as it is: what its header says need not be true.
func appendPDU(b []byte, p pdu.PDU) []byte {
	b = append(append(b, p.Header[:]...), p.Data...)
	return append(b, make([]byte, -len(p.Data)&3)...)
}
