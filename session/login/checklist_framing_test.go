package login_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

// The tests named L1 to L10, S1 to S5, N1 to N9, C1 to C8 and F1 to F5 are the
// rows of a checklist for initiators: login PDUs, status codes, negotiation,
// CHAP, what comes after.

type answer = targettest.Answer

var at = targettest.At

func TestChecklistFraming(t *testing.T) {
	type protocol = *login.ProtocolError

	t.Run("L1 first request", func(t *testing.T) {
		_, target, err := try(t, mutual(), func(c *login.Config) {
			c.CID, c.CmdSN, c.ExpStatSN, c.InitiatorAlias = 3, 44, 55, "node 7"
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range target.Logins() { // that they are all alike, the target checks
			if m.CID != 3 || m.CmdSN != 44 || m.ISID != [6]byte{0, 2, 0x3d, 0, 0, 1} || m.TSIH != 0 || m.VersionMax|m.VersionMin != 0 {
				t.Errorf("request %d: %+v", i+1, m)
			}
		}
		first := target.Logins()[0]
		if first.ExpStatSN != 55 || first.CSG != pdu.Security || first.Transit {
			t.Errorf("first request: %+v", first)
		}
		const text = "InitiatorName=" + targettest.InitiatorName + "\x00InitiatorAlias=node 7\x00TargetName=" +
			targettest.TargetName + "\x00SessionType=Normal\x00AuthMethod=CHAP\x00"
		if string(first.Data) != text {
			t.Errorf("first text: %q", first.Data)
		}
	})
	t.Run("L2 TSIH kept", func(t *testing.T) {
		tc := with(noAuth(), at(1, func(a *answer) { a.Login.TSIH = 0xbeef }))
		if res := good(t, 1, tc); res.TSIH != 0xbeef {
			t.Errorf("TSIH %#x", res.TSIH)
		}
	})
	t.Run("L2 TSIH too early", func(t *testing.T) {
		if res := good(t, 4, with(oneWay(), at(2, func(a *answer) { a.Login.TSIH = 9 }))); res.TSIH != 1 {
			t.Errorf("TSIH %d", res.TSIH)
		}
	})
	t.Run("L2 TSIH missing", func(t *testing.T) {
		bad[protocol](t, "TSIH 0", with(noAuth(), at(1, func(a *answer) { a.Login.TSIH = 0 })))
	})

	stay := func(a *answer) { a.Login.Transit, a.Login.NSG = false, 0 }
	t.Run("L3 transition delayed", func(t *testing.T) {
		slow := func(a *answer) {
			if a.Exchange < 4 {
				stay(a)
			}
		}
		_, target, err := try(t, with(noAuth(), slow))
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range target.Logins() {
			if !m.Transit || (i > 0) != (len(m.Data) == 0) {
				t.Errorf("request %d: %+v", i+1, m)
			}
		}
		good(t, 7, with(mutual(), func(a *answer) {
			if a.Exchange >= 3 && a.Exchange < 6 {
				stay(a)
			}
		}))
	})
	t.Run("L3 transition never", func(t *testing.T) {
		bad[protocol](t, "no end", with(noAuth(), stay))
		bad[protocol](t, "no end", with(oneWay(), func(a *answer) { stay(a); a.Keys = nil }))
	})
	t.Run("L4 NSG without T", func(t *testing.T) {
		good(t, 4, with(oneWay(), func(a *answer) {
			if !a.Login.Transit {
				a.Login.NSG = pdu.Operational
			}
		}))
	})
	t.Run("L5 StatSN", func(t *testing.T) {
		for _, first := range []uint32{0, 1, 0x7fffffff, 0xfffffffe, 0xffffffff} {
			tc := oneWay()
			tc.StatSN = first // the target checks ExpStatSN
			if res := good(t, 4, tc); res.ExpStatSN != first+4 {
				t.Errorf("ExpStatSN %d after StatSN %d", res.ExpStatSN, first)
			}
		}
		for _, by := range []uint32{1, 5, ^uint32(0)} {
			bad[protocol](t, "StatSN", with(oneWay(), at(3, func(a *answer) { a.Login.StatSN += by })))
		}
	})
	t.Run("L6 wrong tag", func(t *testing.T) {
		wrong := func(a *answer) { a.Login.ITT = 12345 }
		bad[protocol](t, "answers request 0x3039", with(noAuth(), wrong))
		bad[protocol](t, "answers request 0x3039", with(oneWay(), at(3, wrong)))
		good(t, 1, with(noAuth(), wrong), func(c *login.Config) { c.CheckTag = false }) // the kernel's own business
	})
	t.Run("L6 wrong fields", func(t *testing.T) {
		for _, c := range []struct {
			words string
			tc    targettest.Config
			edit  func(a *answer)
		}{
			{"version 0x01", noAuth(), func(a *answer) { a.Login.VersionActive = 1 }},
			{"answers in the full feature phase", noAuth(), func(a *answer) { a.Login.CSG = pdu.FullFeature }},
			{"answers in the reserved stage", noAuth(), func(a *answer) { a.Login.CSG = 2 }},
			{"answers in the operational", oneWay(), func(a *answer) { a.Login.CSG = pdu.Operational }},
			{"goes to the operational", noAuth(), func(a *answer) { a.Login.NSG = pdu.Operational }},
			{"goes to the reserved", noAuth(), func(a *answer) { a.Login.NSG = 2 }},
			{"goes to the security", noAuth(), func(a *answer) { a.Login.NSG = pdu.Security }},
			{"both set", noAuth(), func(a *answer) { a.Login.Continue = true }},
			{"did not ask", oneWay(), func(a *answer) { a.Login.Transit, a.Login.NSG = true, pdu.Operational }},
			{"NOP-In", noAuth(), func(a *answer) { a.Before = []pdu.PDU{pdu.NOPIn{ITT: pdu.NoTag}.Marshal()} }},
			{"Text Response", noAuth(), func(a *answer) { a.Before = []pdu.PDU{pdu.TextResponse{}.Marshal()} }},
			{"opcode 0x2a", noAuth(), func(a *answer) { a.Before = []pdu.PDU{{Header: [48]byte{0x2a}}} }},
			{"Reject with reason 0x0b", noAuth(), func(a *answer) { a.Before = []pdu.PDU{pdu.Reject{Reason: 11}.Marshal()} }},
			{"Asynchronous Message with event 2", noAuth(), func(a *answer) { a.Before = []pdu.PDU{pdu.Async{Event: 2}.Marshal()} }},
		} {
			bad[protocol](t, c.words, with(c.tc, at(1, c.edit)))
		}
		bad[protocol](t, "answers in the security", with(oneWay(), at(4, func(a *answer) { a.Login.CSG = pdu.Security })))
	})
	t.Run("L6 authentication wanted and none configured", func(t *testing.T) {
		for _, tc := range []targettest.Config{
			with(noAuth(), func(a *answer) { stay(a); a.Login.CSG = pdu.Security }),
			with(noAuth(), set(1, "AuthMethod", "CHAP")),
		} {
			if e := bad[*login.AuthError](t, "no credentials", tc); !errors.Is(e, login.ErrNoCredentials) {
				t.Errorf("not ErrNoCredentials: %v", e)
			}
		}
	})

	t.Run("L7 text in pieces", func(t *testing.T) {
		for _, n := range []int{16, 17, 23, 64, 100} {
			split := func(a *answer) { a.Split = n }
			for _, tc := range []targettest.Config{noAuth(), oneWay(), mutual()} {
				if _, _, err := try(t, with(tc, split)); err != nil {
					t.Errorf("pieces of %d bytes: %v", n, err)
				}
			}
		}
		// One piece more than fits, one request more to go on, one to leave.
		good(t, 3, with(noAuth(), func(a *answer) { a.Split = (len(pdu.AppendText(nil, a.Keys...)) + 1) / 2 }))
	})
	t.Run("L7 a key of 16 KiB in pieces", func(t *testing.T) {
		bad[protocol](t, "value of 16384 bytes", with(noAuth(), at(1, func(a *answer) {
			a.Set("X-long", strings.Repeat("x", 16384))
			a.Split = 8192
		})))
	})
	t.Run("L7 a response of 40 KiB in pieces", func(t *testing.T) {
		for _, piece := range []int{1000, 4095, 8191, 8192} {
			res, _, err := try(t, with(noAuth(), at(1, func(a *answer) {
				for i := range 10 {
					a.Keys = slices.Insert(a.Keys, 0, pdu.Pair{Key: "X-" + string(rune('a'+i)), Value: strings.Repeat("v", 4096)})
				}
				a.Set("TargetAlias", "behind it all")
				a.Split = piece
			})))
			if err != nil || res.TargetAlias != "behind it all" {
				t.Errorf("pieces of %d bytes: %+v, %v", piece, res, err)
			}
		}
	})
	t.Run("L7 no end of the pieces", func(t *testing.T) {
		bad[protocol](t, "more than 65536 bytes", with(noAuth(), at(1, func(a *answer) {
			a.Text, a.Split = bytes.Repeat([]byte("X-a=b\x00\x00\x00"), 10000), 8192
		})))
		bad[protocol](t, "no end", with(noAuth(), func(a *answer) { stay(a); a.Login.Continue = true }))
	})
	t.Run("L7 own text in pieces", func(t *testing.T) {
		_, target, err := try(t, with(noAuth(), at(1, func(a *answer) {
			stay(a)
			for i := range 110 {
				a.Set("X-"+strings.Repeat("k", 57)+string(rune('0'+i/10))+string(rune('0'+i%10)), "1")
			}
			a.Split = 8192
		})))
		if err != nil {
			t.Fatal(err)
		}
		ms := target.Logins()
		// The first request, its answer's text in one piece; then 110 answers in two.
		if len(ms) != 3 || !ms[1].Continue || ms[1].Transit || len(ms[1].Data) != 8192 || ms[2].Continue || !ms[2].Transit {
			t.Errorf("%d requests, second %v %v %d", len(ms), ms[1].Continue, ms[1].Transit, len(ms[1].Data))
		}
		if n := strings.Count(string(ms[1].Data)+string(ms[2].Data), "=NotUnderstood\x00"); n != 110 {
			t.Errorf("%d answers, want 110", n)
		}
	})
	t.Run("L7 answer in the midst of ours", func(t *testing.T) {
		bad[protocol](t, "in the midst", with(noAuth(), func(a *answer) {
			switch a.Exchange {
			case 1:
				stay(a)
				for i := range 110 {
					a.Set("X-"+strings.Repeat("k", 57)+string(rune('0'+i/10))+string(rune('0'+i%10)), "1")
				}
			case 2:
				a.Set("MaxBurstLength", "512")
			}
		}))
	})

	t.Run("L8 lengths", func(t *testing.T) {
		raw := func(edit func(p *pdu.PDU)) targettest.Script {
			return at(1, func(a *answer) {
				m := *a.Login
				m.Data = pdu.AppendText(nil, a.Keys...)
				p := m.Marshal()
				edit(&p)
				a.Raw = append(append(p.Header[:], p.Data...), make([]byte, -len(p.Data)&3)...)
			})
		}
		bad[protocol](t, "data segment of 8193 bytes", with(noAuth(), raw(func(p *pdu.PDU) { p.SetData(make([]byte, 8193)) })))
		target := targettest.New(t, with(noAuth(), raw(func(p *pdu.PDU) { p.SetData(make([]byte, 8193)) })))
		conn := target.Dial()
		conn.MaxData = 1 << 20 // a Conn that takes what the login must not
		if _, err := login.Login(t.Context(), conn, target.Login()); !errors.As(err, new(protocol)) {
			t.Errorf("8193 bytes from a lenient Conn: %v", err)
		}
		bad[protocol](t, "data segment of 16777215 bytes", with(noAuth(), raw(func(p *pdu.PDU) { copy(p.Header[5:], "\xff\xff\xff") })))
		bad[protocol](t, "additional header", with(noAuth(), raw(func(p *pdu.PDU) { p.Header[4] = 1 })))
		good(t, 1, with(noAuth(), raw(func(p *pdu.PDU) { p.SetData(nil) })))
		good(t, 1, with(noAuth(), raw(func(p *pdu.PDU) { // padding need not be zeros
			p.SetData([]byte("TargetAlias=ab\x00"))
			p.Data = append(p.Data, 0xff)
		})))
		good(t, 1, with(noAuth(), raw(func(p *pdu.PDU) { p.SetData(append(p.Data, make([]byte, 8192-len(p.Data))...)) })))
	})
	t.Run("L8 a byte a segment", func(t *testing.T) {
		good(t, 4, with(mutual(), func(a *answer) { a.Chunk = 1 }))
	})
	t.Run("L8 two responses at once", func(t *testing.T) {
		bad[protocol](t, "StatSN", with(oneWay(), at(2, func(a *answer) {
			m := *a.Login
			a.Before = []pdu.PDU{m.Marshal()}
			m.StatSN++
		})))
	})
	t.Run("L8 cut at every byte", func(t *testing.T) {
		for n := 1; n < 150; n++ {
			_, _, err := try(t, with(noAuth(), func(a *answer) { a.Cut = n }))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("cut after %d bytes: %v", n, err)
			}
		}
		_, _, err := try(t, with(oneWay(), at(3, func(a *answer) { a.Raw, a.Close = []byte{}, true })))
		if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "exchange 3") {
			t.Errorf("closed in place of the answer: %v", err)
		}
	})
	t.Run("L8 stall", func(t *testing.T) {
		for n, tc := range map[int]targettest.Config{1: noAuth(), 3: mutual()} {
			target := targettest.New(t, with(tc, at(n, targettest.Stall())))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := login.Login(ctx, target.Dial(), target.Login())
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), targettest.TargetName) {
				t.Errorf("exchange %d: %v", n, err)
			}
		}
	})

	t.Run("L9 texts", func(t *testing.T) {
		text := func(s string) targettest.Config {
			return with(noAuth(), at(1, func(a *answer) { a.Text = []byte(s) }))
		}
		if res := good(t, 1, text("TargetPortalGroupTag=7\x00TargetAlias=last without NUL")); res.TargetAlias != "last without NUL" || res.TargetPortalGroupTag != 7 {
			t.Errorf("%+v", res)
		}
		good(t, 1, text("\x00\x00TargetAlias=a\x00\x00\x00"))
		good(t, 1, text("TargetAlias=\x00"))
		if res := good(t, 1, text("TargetAlias=\x1b[2J\xff\x00")); res.TargetAlias != "" {
			t.Errorf("alias %q would upset a terminal", res.TargetAlias)
		}
		for _, s := range []string{
			"TargetAlias\x00", "=a\x00", "=\x00", strings.Repeat("k", 64) + "=1\x00", "a b=1\x00", "a\x80=1\x00", "MaxBurstLength",
		} {
			bad[protocol](t, "text: offset 0", text(s))
		}
		bad[protocol](t, "twice", text("MaxBurstLength=512\x00MaxBurstLength=512\x00"))
		bad[protocol](t, "twice", text("TargetAlias=a\x00TargetAlias=b\x00"))
		bad[protocol](t, "twice", text("X-a=1\x00X-a=1\x00"))
		good(t, 1, text("TargetPortalGroupTag=1\x00TargetPortalGroupTag=1\x00"))
	})
	t.Run("L10 status first", func(t *testing.T) {
		e := bad[*login.StatusError](t, "status 0201", with(oneWay(), at(2, func(a *answer) {
			a.Status(0x0201)
			a.Set("no", "matter")
			*a.Login = pdu.LoginResponse{Transit: true, CSG: 3, NSG: 1, VersionActive: 7, StatSN: 999, StatusClass: 2, StatusDetail: 1}
			a.Text = []byte("\xff rubbish")
		})))
		if !errors.Is(e, login.ErrAuthFailed) {
			t.Error("not ErrAuthFailed")
		}
	})
}
