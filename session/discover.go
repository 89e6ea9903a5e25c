package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
)

// TargetRecord is a target that a portal lists.
type TargetRecord struct {
	Name    string   `json:"name"`
	Portals []Portal `json:"portals"`
}

// Portal is where a target says that it can be reached.
type Portal struct {
	Host string `json:"address"` // or a DNS name; without brackets
	Port uint16 `json:"port"`
	Tag  int    `json:"tpgt"` // of the portal group; -1: the target gives none
}

// Bounds of what a portal may list.
const (
	maxListText    = 1 << 20 // bytes
	maxListTargets = 4096
	maxListPortals = 64       // a target
	maxListLine    = 8192     // bytes
	maxListPDUs    = 1024     // in all, also those that say nothing
	listSegment    = 32 << 10 // MaxRecvDataSegmentLength
	goodbye        = time.Second
)

// Discover asks the portal of cfg which targets it has (SendTargets, RFC 7143,
// appendix C), over a TCP connection of its own: the kernel has no part in it.
// Of cfg it uses InitiatorName, Portal, Interface, CHAP, Resolve, Note and
// Timers.Login, which bounds it all. Redirects are followed. Its errors are
// *OpError.
func Discover(ctx context.Context, cfg Config) ([]TargetRecord, error) {
	d := &discovery{cfg: cfg, portal: cfg.Portal, start: time.Now()}
	d.cfg.TargetName = "discovery" // what errors call it
	if err := d.cfg.check(); err != nil {
		return nil, d.failed("configure", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timers.Login)
	defer cancel()
	sock, result, err := d.logIn(ctx)
	if err != nil {
		return nil, err
	}
	defer sock.Close()
	d.stream = &pdu.Stream{ReadWriter: sock, MaxData: listSegment}
	d.cmdSN, d.expStatSN = result.CmdSN, result.ExpStatSN
	list, err := d.list(ctx)
	if err != nil {
		return nil, d.failed("list targets", err)
	}
	d.logOut(ctx)
	return list, nil
}

// Connect tells whether a portal takes a TCP connection, and closes it at once.
func Connect(ctx context.Context, portal netip.AddrPort) error {
	sock, err := dial(ctx, portal, "", 0)
	if err != nil {
		return err
	}
	return sock.Close()
}

// discovery is a discovery session.
type discovery struct {
	cfg    Config
	portal netip.AddrPort // cfg.Portal, or where that one sent us
	start  time.Time

	stream    *pdu.Stream
	cmdSN     uint32
	expStatSN uint32
	received  int // PDUs
}

func (d *discovery) failed(op string, err error) error {
	return &OpError{Op: op, Target: d.cfg.TargetName, Portal: d.portal, After: time.Since(d.start), Err: err}
}

// logIn connects and logs in, at the portals that the target sends us to, and
// with MD5 alone where package login advises so.
func (d *discovery) logIn(ctx context.Context) (*os.File, *login.Result, error) {
	offer := login.DefaultParams() // its digests are None: a Stream has none
	offer.MaxRecvDataSegmentLength = listSegment
	isid := [6]byte{0x80} // a random one, so that no session of ours is meant: RFC 7143, 11.12.5
	if _, err := unix.Getrandom(isid[1:], 0); err != nil {
		return nil, nil, d.failed(opLogin, err)
	}
	way := route{portal: d.portal, note: d.cfg.Note}
	if way.note == nil {
		way.note = func(string) {}
	}
	chap := d.cfg.CHAP
	sock, err := dial(ctx, d.portal, d.cfg.Interface, d.cfg.TCPWindow)
	for {
		if err != nil {
			return nil, nil, d.failed("connect", err)
		}
		result, failure := login.Login(ctx, &pdu.Stream{ReadWriter: sock}, login.Config{
			InitiatorName: d.cfg.InitiatorName, Discovery: true, ISID: isid, CHAP: chap, Offer: offer, CheckTag: true,
		})
		if failure == nil {
			if chap != nil && result.Algorithm == 0 {
				way.note(unasked + d.portal.String())
			}
			return sock, result, nil
		}
		sock.Close()
		moved, redirected := errors.AsType[*login.RedirectError](failure)
		switch {
		case redirected:
			if sock, err = way.follow(ctx, &d.cfg, moved); err != nil {
				return nil, nil, d.failed(opFollow+moved.Address, err)
			}
			d.portal = way.portal
		case login.RetryMD5(failure) && chap != nil:
			chap = chap.MD5Alone()
			sock, err = dial(ctx, d.portal, d.cfg.Interface, d.cfg.TCPWindow)
		default:
			return nil, nil, d.failed(opLogin, failure)
		}
	}
}

// list sends SendTargets=All and puts the answer together, which may come in
// many pieces: each asks for the next one by its tag (RFC 7143, 11.10 and 11.11).
func (d *discovery) list(ctx context.Context) ([]TargetRecord, error) {
	const itt = 1
	request := pdu.TextRequest{Immediate: true, Final: true, ITT: itt, TTT: pdu.NoTag, CmdSN: d.cmdSN,
		Data: pdu.AppendText(nil, pdu.Pair{Key: "SendTargets", Value: "All"})}
	list := targetList{portal: d.portal}
	for {
		request.ExpStatSN = d.expStatSN
		if err := d.stream.Send(ctx, request.Marshal()); err != nil {
			return nil, unanswered(ctx, err)
		}
		var answer pdu.TextResponse
		err := d.receive(ctx, &answer)
		switch {
		case err != nil:
			return nil, err
		case answer.ITT != itt:
			return nil, fmt.Errorf("the target answered request %#x, expected %#x", answer.ITT, itt)
		case answer.Final && answer.Continue:
			return nil, errors.New("the target's answer says that it is the last, and that it goes on")
		}
		if err := list.add(answer.Data); err != nil {
			return nil, err
		}
		if answer.Final {
			return list.finish()
		}
		if answer.TTT == pdu.NoTag {
			return nil, errors.New("the target's answer goes on, and has no tag to ask for the rest")
		}
		request.TTT, request.LUN, request.Data = answer.TTT, answer.LUN, nil
	}
}

// receive reads the next Text Response, and deals with what may come before.
func (d *discovery) receive(ctx context.Context, answer *pdu.TextResponse) error {
	for ; d.received < maxListPDUs; d.received++ {
		p, err := d.stream.Receive(ctx)
		if err != nil {
			return unanswered(ctx, err)
		}
		switch p.Opcode() {
		case pdu.OpTextResponse:
			*answer, err = pdu.ParseTextResponse(p)
			d.received++
			d.expStatSN = answer.StatSN + 1
			return err
		case pdu.OpNOPIn:
			m, err := pdu.ParseNOPIn(p)
			if err != nil {
				return err
			}
			if m.TTT == pdu.NoTag {
				continue
			}
			pong := pdu.NOPOut{Immediate: true, LUN: m.LUN, ITT: pdu.NoTag, TTT: m.TTT, CmdSN: d.cmdSN, ExpStatSN: d.expStatSN}
			if err := d.stream.Send(ctx, pong.Marshal()); err != nil {
				return unanswered(ctx, err)
			}
		case pdu.OpAsync:
			m, err := pdu.ParseAsync(p)
			if err != nil {
				return err
			}
			d.expStatSN = m.StatSN + 1
			if m.Event == pdu.AsyncLogout || m.Event == pdu.AsyncDropConnection || m.Event == pdu.AsyncDropSession {
				return fmt.Errorf("the target ends the session (asynchronous event %d)", m.Event)
			}
		case pdu.OpReject:
			m, err := pdu.ParseReject(p)
			if err != nil {
				return err
			}
			return fmt.Errorf("the target rejects the request, reason %d", m.Reason) // RFC 7143, 11.17.1
		default:
			return fmt.Errorf("the target sent a %v in place of its list", p.Opcode())
		}
	}
	return fmt.Errorf("the target sent %d PDUs, and its list is not at its end", maxListPDUs)
}

// logOut tells the target that we go. Its answer is awaited so that it has read
// the request, and means nothing more.
func (d *discovery) logOut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	request := pdu.LogoutRequest{Immediate: true, Reason: pdu.LogoutSession, ITT: 2, CmdSN: d.cmdSN, ExpStatSN: d.expStatSN}
	if d.stream.Send(ctx, request.Marshal()) != nil {
		return
	}
	for range maxListPDUs {
		if p, err := d.stream.Receive(ctx); err != nil || p.Opcode() == pdu.OpLogoutResponse {
			return
		}
	}
}

// unanswered says what a context's end cut short.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &awaited{"the target did not answer", ctx.Err()}
	}
	if _, malformed := errors.AsType[*pdu.Error](err); malformed {
		return err
	}
	return fmt.Errorf("the target closed the connection: %w", err)
}

// targetList reads the answer to SendTargets piece by piece.
type targetList struct {
	portal  netip.AddrPort // where the list comes from
	rest    []byte         // what follows the last NUL
	size    int
	targets []TargetRecord
	skip    bool // the target at hand has a name that is none
}

// add takes the next piece; a line may be cut anywhere.
func (l *targetList) add(text []byte) error {
	if l.size += len(text); l.size > maxListText {
		return fmt.Errorf("the target's list has more than %d bytes", maxListText)
	}
	l.rest = append(l.rest, text...)
	end := bytes.LastIndexByte(l.rest, 0) + 1
	if len(l.rest)-end > maxListLine {
		return fmt.Errorf("the target's list has a line of more than %d bytes", maxListLine)
	}
	err := l.lines(l.rest[:end])
	l.rest = bytes.Clone(l.rest[end:])
	return err
}

func (l *targetList) lines(text []byte) error {
	pairs, err := pdu.ParseText(text)
	if err != nil {
		return fmt.Errorf("the target's list: %w", err)
	}
	for _, p := range pairs {
		switch {
		case p.Key == "TargetName" && len(l.targets) == maxListTargets:
			return fmt.Errorf("the target's list has more than %d targets", maxListTargets)
		case p.Key == "TargetName":
			if l.skip = !isListName(p.Value); !l.skip {
				l.targets = append(l.targets, TargetRecord{Name: p.Value})
			}
		case p.Key == "TargetAddress" && !l.skip:
			if len(l.targets) == 0 {
				return fmt.Errorf("the target's list starts with TargetAddress=%.100q", p.Value)
			}
			l.address(&l.targets[len(l.targets)-1], p.Value)
		}
	}
	return nil
}

// address adds a portal, unless it is there or cannot be one.
func (l *targetList) address(t *TargetRecord, value string) {
	host, port, tag, err := login.ParseAddress(value)
	if err != nil || len(t.Portals) == maxListPortals {
		return
	}
	// A target that listens on all of its addresses may list them so; we know one.
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = l.portal.Addr().Unmap().String()
	}
	if p := (Portal{host, port, tag}); !slices.Contains(t.Portals, p) {
		t.Portals = append(t.Portals, p)
	}
}

// finish returns the list. A target without an address is where the list comes
// from (RFC 7143, appendix C).
func (l *targetList) finish() ([]TargetRecord, error) {
	if err := l.lines(l.rest); err != nil {
		return nil, err
	}
	for i := range l.targets {
		if t := &l.targets[i]; len(t.Portals) == 0 {
			t.Portals = []Portal{{l.portal.Addr().Unmap().String(), l.portal.Port(), -1}}
		}
	}
	return l.targets, nil
}

// isListName tells whether s may be shown and logged in to.
func isListName(s string) bool {
	return s != "" && len(s) <= 223 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
