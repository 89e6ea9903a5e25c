// Package targettest is a scripted iSCSI target for tests. It listens on a
// loopback port, does everything right by default (login, CHAP with every
// digest, mutual CHAP, SendTargets, NOP, Logout; no SCSI), and does wrong what a
// Script tells it to.
//
//	target := targettest.New(t, targettest.Config{Script: targettest.Refuse(0x0203)})
//	_, err := login.Login(ctx, target.Dial(), target.Login())
package targettest

import (
	"net"
	"sync"
	"testing"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
)

// Names that a Config has by default, and Login uses.
const (
	TargetName    = "iqn.2026-01.org.example:disk"
	InitiatorName = "iqn.2026-01.org.example:node"
)

// Config says what the target is. The zero Config is a target that wants no
// authentication.
type Config struct {
	TargetName string // empty: the constant
	Alias      string // TargetAlias, when not empty

	Username   string // of the initiator
	Secret     string // not empty: the initiator must authenticate
	UsernameIn string // what the target calls itself in mutual CHAP
	SecretIn   string // the target's own secret
	Algorithms []int  // CHAP_A values it knows; the first of the initiator's list is taken; nil: 5 to 8

	// Keys are the target's own values of operational keys, where they differ
	// from the most generous ones. The value "-" leaves a key without answer.
	Keys map[string]string

	StatSN  uint32   // of the first response
	Portals []string // TargetAddress values for SendTargets; nil: Addr with tag 1
	Script  Script   // what is done wrong; nil: nothing
	Lenient bool     // do not fail the test when the initiator breaks a rule
}

// Target is a target that runs. It ends with its test.
type Target struct {
	tb       testing.TB
	cfg      Config
	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	count    int
	closed   bool
	requests []pdu.PDU
}

// New starts a target.
func New(tb testing.TB, cfg Config) *Target {
	tb.Helper()
	if cfg.TargetName == "" {
		cfg.TargetName = TargetName
	}
	if cfg.Algorithms == nil {
		cfg.Algorithms = []int{5, 6, 7, 8}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("targettest: %v", err)
	}
	t := &Target{tb: tb, cfg: cfg, listener: l, conns: map[net.Conn]bool{}}
	t.wait.Go(t.accept)
	tb.Cleanup(t.Close)
	return t
}

// Addr returns the portal, host:port.
func (t *Target) Addr() string { return t.listener.Addr().String() }

// Close ends the target and all of its connections. The test does it by itself.
func (t *Target) Close() {
	t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	t.wait.Wait()
}

// Requests returns every PDU received so far, of all connections.
func (t *Target) Requests() []pdu.PDU {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]pdu.PDU(nil), t.requests...)
}

// Logins returns the Login Requests among Requests.
func (t *Target) Logins() []pdu.LoginRequest {
	var logins []pdu.LoginRequest
	for _, p := range t.Requests() {
		if m, err := pdu.ParseLoginRequest(p); err == nil {
			logins = append(logins, m)
		}
	}
	return logins
}

// Connections returns how many connections were accepted so far.
func (t *Target) Connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

var _ login.Conn = (*pdu.Stream)(nil) // what Dial returns

// Dial connects to the target. The connection ends with the test.
func (t *Target) Dial() *pdu.Stream {
	t.tb.Helper()
	return Dial(t.tb, t.Addr())
}

// Dial connects to a portal. The connection ends with the test.
func Dial(tb testing.TB, addr string) *pdu.Stream {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatalf("targettest: %v", err)
	}
	tb.Cleanup(func() { c.Close() })
	return &pdu.Stream{ReadWriter: c}
}

// Login returns what a good initiator brings to a login at this target.
func (t *Target) Login() login.Config {
	cfg := login.Config{
		InitiatorName: InitiatorName,
		TargetName:    t.cfg.TargetName,
		ISID:          [6]byte{0, 2, 0x3d, 0, 0, 1},
		CheckTag:      true,
		Offer:         login.DefaultParams(),
	}
	if t.cfg.Secret != "" {
		cfg.CHAP = &login.CHAP{
			Username: t.cfg.Username, Secret: login.Secret(t.cfg.Secret),
			UsernameIn: t.cfg.UsernameIn, SecretIn: login.Secret(t.cfg.SecretIn),
		}
	}
	return cfg
}

func (t *Target) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		if t.closed {
			t.mu.Unlock()
			c.Close()
			return
		}
		t.conns[c] = true
		t.count++
		n := t.count
		t.mu.Unlock()
		t.wait.Go(func() {
			(&conn{Target: t, c: c, number: n, statSN: t.cfg.StatSN}).serve()
			c.Close()
			t.mu.Lock()
			delete(t.conns, c)
			t.mu.Unlock()
		})
	}
}

// broken reports that the initiator broke a rule.
func (t *Target) broken(format string, args ...any) {
	if !t.cfg.Lenient {
		t.tb.Errorf("targettest: the initiator "+format, args...)
	}
}

// sendTargets answers a SendTargets of All, nothing or our name.
func (t *Target) sendTargets() []pdu.Pair {
	portals := t.cfg.Portals
	if portals == nil {
		portals = []string{t.Addr() + ",1"}
	}
	pairs := []pdu.Pair{{Key: "TargetName", Value: t.cfg.TargetName}}
	for _, p := range portals {
		pairs = append(pairs, pdu.Pair{Key: "TargetAddress", Value: p})
	}
	return pairs
}
