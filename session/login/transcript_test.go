package login_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

var update = flag.Bool("update", false, "record the transcripts of testdata anew, from the tgt of this machine")

// recorder writes down what goes over a Conn: a line a PDU, > ours, < the
// target's, the header in hexadecimal and the text.
type recorder struct {
	login.Conn
	bytes.Buffer
}

func line(way string, p pdu.PDU) string {
	return fmt.Sprintf("%s %x %s\n", way, p.Header, strconv.Quote(string(p.Data)))
}

func (r *recorder) Send(ctx context.Context, p pdu.PDU) error {
	r.WriteString(line(">", p))
	return r.Conn.Send(ctx, p)
}

func (r *recorder) Receive(ctx context.Context) (pdu.PDU, error) {
	p, err := r.Conn.Receive(ctx)
	if err == nil {
		r.WriteString(line("<", p))
	}
	return p, err
}

// player is the target of a transcript.
type player struct{ lines []string }

func (p *player) Send(context.Context, pdu.PDU) error { return nil }

func (p *player) Receive(context.Context) (pdu.PDU, error) {
	var m pdu.PDU
	for len(p.lines) > 0 {
		words := strings.SplitN(p.lines[0], " ", 3)
		p.lines = p.lines[1:]
		if words[0] != "<" {
			continue
		}
		if n, err := hex.Decode(m.Header[:], []byte(words[1])); err != nil || n != len(m.Header) {
			return m, fmt.Errorf("header of %d bytes: %w", n, err)
		}
		text, err := strconv.Unquote(words[2])
		m.Data = []byte(text)
		return m, err
	}
	return m, io.EOF
}

// TestTranscripts logs in to targets that were recorded, and sends what it sent
// then, byte by byte.
func TestTranscripts(t *testing.T) {
	var g *tgtd
	if *update {
		g = startTGT(t)
		g.Run("--op new --mode account --user node --password " + secret)
		for _, tid := range []string{"1", "2", "5"} {
			g.Target(tid)
		}
		g.Run("--op bind --mode account --user node --tid 2")
		for name, value := range map[string]string{"RedirectAddress": "fec0::99", "RedirectPort": "3360", "RedirectReason": "Temporary"} {
			g.Run("--op update --mode target --tid 5 --name " + name + " --value " + value)
		}
	}
	chap := func(a ...login.Algorithm) *login.CHAP {
		return &login.CHAP{Username: "node", Secret: secret, Algorithms: a}
	}
	wrong := chap(login.MD5)
	wrong.Secret = "another one of it"
	optional := chap()
	optional.Optional = true
	for _, tt := range []struct {
		name, tid string
		chap      *login.CHAP
		exchanges int
		is        error // nil with exchanges: it succeeds
	}{
		{"tgt-none", "1", nil, 1, nil},
		{"tgt-chap", "2", chap(login.MD5), 4, nil},
		{"tgt-optional", "1", optional, 3, nil},
		{"tgt-sha256", "2", chap(), 0, nil},
		{"tgt-wrong-secret", "2", wrong, 0, login.ErrAuthFailed},
		{"tgt-no-credentials", "2", nil, 0, login.ErrNoCredentials},
		{"tgt-not-found", "9", nil, 0, login.ErrTargetNotFound},
		{"tgt-redirect", "5", nil, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cfg := login.Config{
				InitiatorName: targettest.InitiatorName, TargetName: targettest.TGTName(tt.tid), ISID: [6]byte{0, 2, 0x3d, 0, 0, 1},
				Offer: login.DefaultParams(), CHAP: tt.chap, CheckTag: true,
			}
			file := filepath.Join("testdata", tt.name+".txt")
			if *update {
				r := &recorder{Conn: targettest.Dial(t, g.Portal)}
				_, _ = login.Login(ctx, r, cfg)
				if err := os.WriteFile(file, r.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := &recorder{Conn: &player{strings.Split(string(text), "\n")}}
			res, err := login.Login(ctx, r, cfg)
			if d := cmp.Diff(string(text), r.String()); d != "" {
				t.Errorf("(-recorded +now):\n%s", d)
			}
			var moved *login.RedirectError
			switch {
			case tt.exchanges > 0 && (err != nil || res.Exchanges != tt.exchanges || res.TSIH == 0):
				t.Errorf("%+v, %v", res, err)
			case tt.exchanges == 0 && err == nil, tt.is != nil && !errors.Is(err, tt.is):
				t.Errorf("got %v, want %v", err, tt.is)
			case tt.name == "tgt-sha256" && !login.RetryMD5(err):
				t.Errorf("no advice to try MD5 after %v", err)
			case tt.name == "tgt-redirect" && (!errors.As(err, &moved) || moved.Host != "fec0::99" || moved.Port != 3360):
				t.Errorf("got %v", err)
			}
		})
	}
}
