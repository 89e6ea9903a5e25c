package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/pdu"
)

// maxExchanges bounds a login with a target that never comes to an end.
const maxExchanges = 128

// engine is the state of one login.
type engine struct {
	conn Conn
	cfg  Config

	stage     pdu.Stage
	expStatSN uint32
	exchanges int
	last      pdu.LoginResponse // the latest that was good

	keys      *keys             // operational keys
	auth      map[string]string // AuthMethod and CHAP keys received
	expected  []string          // of these, what may come now
	algorithm Algorithm         // what CHAP computes with; 0: not chosen yet
	askedCHAP bool              // CHAP_A is sent
	random    func(p []byte, flags int) (int, error)
}

func newEngine(c Conn, cfg Config) *engine {
	return &engine{conn: c, cfg: cfg, expStatSN: cfg.ExpStatSN, keys: newKeys(&cfg), auth: map[string]string{}, random: unix.Getrandom}
}

// next is where the T bit leads from the current stage.
func (e *engine) next() pdu.Stage {
	if e.stage == pdu.Security {
		return pdu.Operational
	}
	return pdu.FullFeature
}

// ask sends keys, with transit set the wish to leave the stage, and goes on
// with empty requests until one of the wanted authentication keys is there and
// the target has left the stage with us.
func (e *engine) ask(ctx context.Context, keys []pdu.Pair, transit bool, want ...string) error {
	e.expected = want
	stage := e.stage
	for {
		moved, err := e.exchange(ctx, keys, transit)
		if err != nil {
			return err
		}
		have := len(want) == 0 || slices.ContainsFunc(want, func(key string) bool {
			_, ok := e.auth[key]
			return ok
		})
		switch {
		case moved && !have:
			return e.authErrorf("the target left the %v without %s: it skips its part of the authentication", stage, want[0])
		case have && moved == transit:
			return nil
		}
		keys = nil
	}
}

// exchange sends keys and what answers we owe, as one text, and takes in the
// text that comes back. Both may need several PDUs (C bit, RFC 7143, 6.2). It
// tells whether the target went on to the next stage.
func (e *engine) exchange(ctx context.Context, keys []pdu.Pair, transit bool) (moved bool, err error) {
	text := pdu.AppendText(nil, append(keys, e.keys.answers()...)...)
	for ; len(text) > pdu.DefaultMaxData; text = text[pdu.DefaultMaxData:] {
		resp, err := e.trip(ctx, &pdu.LoginRequest{Continue: true, Data: text[:pdu.DefaultMaxData]})
		if err != nil {
			return false, err
		}
		if len(resp.Data) > 0 || resp.Continue {
			return false, e.protocolErrorf("the target answered in the midst of our text")
		}
	}
	resp, err := e.trip(ctx, &pdu.LoginRequest{Transit: transit, Data: text})
	if err != nil {
		return false, err
	}
	reply := append([]byte(nil), resp.Data...)
	for resp.Continue {
		if resp, err = e.trip(ctx, &pdu.LoginRequest{}); err != nil {
			return false, err
		}
		if reply = append(reply, resp.Data...); len(reply) > pdu.MaxText {
			return false, e.protocolErrorf("a text of more than %d bytes", pdu.MaxText)
		}
	}
	pairs, err := pdu.ParseText(reply)
	if err != nil {
		return false, e.protocolError(err)
	}
	for _, p := range pairs {
		if err := e.take(p); err != nil {
			return false, err
		}
	}
	if resp.Transit {
		e.stage = e.next()
	}
	return resp.Transit, nil
}

// take puts one received key where it belongs.
func (e *engine) take(p pdu.Pair) error {
	if !isAuthKey(p.Key) {
		if err := e.keys.take(p); err != nil {
			return e.protocolError(err)
		}
		return nil
	}
	if e.cfg.CHAP == nil {
		return e.authErrorf("the target sent %s: it asks for authentication, and no credentials are configured", p.Key)
	}
	if _, ok := e.auth[p.Key]; ok {
		return e.protocolErrorf("%s came twice", p.Key)
	}
	if !slices.Contains(e.expected, p.Key) {
		return e.protocolErrorf("%s came where it was not expected", p.Key)
	}
	e.auth[p.Key] = p.Value
	return nil
}

// trip sends one request, filled in with what all requests of a login share,
// and returns the response to it.
func (e *engine) trip(ctx context.Context, req *pdu.LoginRequest) (*pdu.LoginResponse, error) {
	if e.exchanges == maxExchanges {
		return nil, e.protocolErrorf("no end of the login after %d exchanges", maxExchanges)
	}
	e.exchanges++
	req.CSG = e.stage
	if req.Transit {
		req.NSG = e.next()
	}
	req.ISID, req.CID, req.CmdSN, req.ExpStatSN = e.cfg.ISID, e.cfg.CID, e.cfg.CmdSN, e.expStatSN

	start := time.Now()
	if err := e.conn.Send(ctx, req.Marshal()); err != nil {
		return nil, fmt.Errorf("login to %s: send in the %v: %w", e.peer(), e.stage, err)
	}
	p, err := e.conn.Receive(ctx)
	if _, malformed := errors.AsType[*pdu.Error](err); malformed {
		return nil, e.protocolError(err)
	}
	if err != nil {
		return nil, fmt.Errorf("login to %s: no answer in the %v (exchange %d) after %.1f s: %w; check that an iSCSI target serves this portal",
			e.peer(), e.stage, e.exchanges, time.Since(start).Seconds(), err)
	}
	resp, err := e.parse(p)
	if err != nil {
		return nil, err
	}
	return resp, e.checkResponse(req, resp)
}

// parse decodes a response whose status is success. The status comes before
// all else: refusals may have zeros, or rubbish, in their other fields.
func (e *engine) parse(p pdu.PDU) (*pdu.LoginResponse, error) {
	switch p.Opcode() {
	case pdu.OpReject:
		if r, err := pdu.ParseReject(p); err == nil {
			return nil, e.protocolErrorf("the target sent a Reject with reason 0x%02x in place of a Login Response", r.Reason)
		}
	case pdu.OpAsync:
		if a, err := pdu.ParseAsync(p); err == nil {
			return nil, e.protocolErrorf("the target sent an Asynchronous Message with event %d before the end of the login", a.Event)
		}
	}
	resp, err := pdu.ParseLoginResponse(p)
	if err != nil {
		return nil, e.protocolError(err)
	}
	if resp.StatusClass != 0 {
		return nil, e.refusal(&resp)
	}
	return &resp, nil
}

// checkResponse holds a response against its request (RFC 7143, 6.3 and 11.13)
// and takes over its sequence numbers.
func (e *engine) checkResponse(req *pdu.LoginRequest, resp *pdu.LoginResponse) error {
	if resp.CSG != req.CSG && e.cfg.CHAP == nil && resp.CSG == pdu.Security {
		return e.authErrorf("the target answers in the %v: it asks for authentication, and no credentials are configured", resp.CSG)
	}
	switch {
	case len(resp.Data) > pdu.DefaultMaxData:
		return e.protocolErrorf("a data segment of %d bytes, at most %d are allowed in a login", len(resp.Data), pdu.DefaultMaxData)
	case e.cfg.CheckTag && resp.ITT != 0:
		return e.protocolErrorf("the target answers request 0x%x, ours was 0", resp.ITT)
	case resp.VersionActive != 0:
		return e.protocolErrorf("the target speaks version 0x%02x, we speak 0x00", resp.VersionActive)
	case resp.CSG != req.CSG:
		return e.protocolErrorf("the target answers in the %v, we are in the %v", resp.CSG, req.CSG)
	case resp.Transit && resp.Continue:
		return e.protocolErrorf("the T and the C bit are both set")
	case resp.Transit && !req.Transit:
		return e.protocolErrorf("the target leaves the %v, and we did not ask to", req.CSG)
	case resp.Transit && resp.NSG != req.NSG:
		return e.protocolErrorf("the target goes to the %v, we asked for the %v", resp.NSG, req.NSG)
	case e.exchanges > 1 && resp.StatSN != e.expStatSN:
		return e.protocolErrorf("StatSN is %d, expected %d", resp.StatSN, e.expStatSN)
	}
	e.expStatSN = resp.StatSN + 1
	e.last = *resp
	return nil
}

// peer is what errors call the other side.
func (e *engine) peer() string {
	if e.cfg.TargetName == "" {
		return "the discovery portal"
	}
	return e.cfg.TargetName
}
