package login

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/session/pdu"
)

// recorded is a Conn whose target says what was written down.
type recorded struct {
	texts []string // of the responses
	sent  []pdu.LoginRequest
}

func (c *recorded) Send(_ context.Context, p pdu.PDU) error {
	m, err := pdu.ParseLoginRequest(p)
	c.sent = append(c.sent, m)
	return err
}

func (c *recorded) Receive(context.Context) (pdu.PDU, error) {
	n := len(c.sent)
	return pdu.LoginResponse{StatSN: uint32(n), Data: []byte(strings.ReplaceAll(c.texts[n-1], " ", "\x00"))}.Marshal(), nil
}

// C4: a target that sends the challenge which we are about to send gets no
// answer to it (RFC 7143, 9.2.1).
func TestChallengeOfOurOwn(t *testing.T) {
	conn := &recorded{texts: []string{"AuthMethod=CHAP ", "CHAP_A=5 CHAP_I=1 CHAP_C=0x" + strings.Repeat("41", 16) + " "}}
	e := newEngine(conn, Config{
		InitiatorName: "iqn.a", TargetName: "iqn.b", Offer: DefaultParams(),
		CHAP: &CHAP{Username: "node", Secret: "secret-of-the-node", SecretIn: "secret-of-the-disk"},
	})
	e.random = func(p []byte, _ int) (int, error) { return copy(p, strings.Repeat("A", len(p))), nil }
	var err error
	for _, step := range e.steps() {
		if err = step(t.Context()); err != nil {
			break
		}
	}
	if auth := (*AuthError)(nil); !errors.As(err, &auth) || !strings.Contains(err.Error(), "the target's challenge is ours") {
		t.Errorf("got %v", err)
	}
	if len(conn.sent) != 2 {
		t.Errorf("%d requests, want 2: the challenge was answered", len(conn.sent))
	}
}

// No random numbers, no login.
func TestNoRandomChallenge(t *testing.T) {
	conn := &recorded{texts: []string{"AuthMethod=CHAP ", "CHAP_A=5 CHAP_I=1 CHAP_C=0x00 "}}
	e := newEngine(conn, Config{CHAP: &CHAP{Username: "node", Secret: "secret-of-the-node", SecretIn: "secret-of-the-disk"}})
	e.random = func([]byte, int) (int, error) { return 0, errors.New("out of dice") }
	var err error
	for _, step := range e.steps() {
		if err = step(t.Context()); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "out of dice") || len(conn.sent) != 2 {
		t.Errorf("%d requests, error %v", len(conn.sent), err)
	}
}
