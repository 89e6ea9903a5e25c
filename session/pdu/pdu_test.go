package pdu

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// samples holds one PDU of each kind with the bytes of its header, written down
// from the figures of RFC 7143, 11.
func samples() []sample {
	lun := [8]byte{0, 1}
	return []sample{
		{LoginRequest{
			Transit: true, CSG: Operational, NSG: FullFeature, VersionMax: 1, VersionMin: 2, ISID: [6]byte{0, 2, 0x3d, 3, 4, 5},
			TSIH: 0x0607, ITT: 0x08090a0b, CID: 0x0c0d, CmdSN: 0x0e0f1011, ExpStatSN: 0x12131415, Data: []byte("a=b\x00c"),
		}, "43870102 00000005 00023d030405 0607 08090a0b 0c0d0000 0e0f1011 12131415 00000000000000000000000000000000",
			func(p PDU) (any, error) { return ParseLoginRequest(p) }},
		{LoginResponse{
			Continue: true, CSG: Security, NSG: Operational, VersionMax: 1, VersionActive: 2, ISID: [6]byte{0, 2, 0x3d, 3, 4, 5},
			TSIH: 0x0607, ITT: 0x08090a0b, StatSN: 0x0c0d0e0f, ExpCmdSN: 0x10111213, MaxCmdSN: 0x14151617, StatusClass: 2, StatusDetail: 3,
			Data: []byte("a=b\x00"),
		}, "23410102 00000004 00023d030405 0607 08090a0b 00000000 0c0d0e0f 10111213 14151617 02030000 0000000000000000",
			func(p PDU) (any, error) { return ParseLoginResponse(p) }},
		{TextRequest{
			Immediate: true, Final: true, LUN: lun, ITT: 0x01020304, TTT: 0x05060708, CmdSN: 0x090a0b0c, ExpStatSN: 0x0d0e0f10, Data: []byte{1, 2},
		}, "44800000 00000002 0001000000000000 01020304 05060708 090a0b0c 0d0e0f10 00000000000000000000000000000000",
			func(p PDU) (any, error) { return ParseTextRequest(p) }},
		{TextResponse{
			Continue: true, LUN: lun, ITT: 0x01020304, TTT: 0x05060708, StatSN: 0x090a0b0c, ExpCmdSN: 0x0d0e0f10, MaxCmdSN: 0x11121314, Data: []byte{1},
		}, "24400000 00000001 0001000000000000 01020304 05060708 090a0b0c 0d0e0f10 11121314 000000000000000000000000",
			func(p PDU) (any, error) { return ParseTextResponse(p) }},
		{LogoutRequest{Immediate: true, Reason: LogoutConnection, ITT: 0x01020304, CID: 0x0506, CmdSN: 0x0708090a, ExpStatSN: 0x0b0c0d0e},
			"46810000 00000000 0000000000000000 01020304 05060000 0708090a 0b0c0d0e 00000000000000000000000000000000",
			func(p PDU) (any, error) { return ParseLogoutRequest(p) }},
		{LogoutResponse{Response: 3, ITT: 0x01020304, StatSN: 0x05060708, ExpCmdSN: 0x090a0b0c, MaxCmdSN: 0x0d0e0f10, Time2Wait: 0x1112, Time2Retain: 0x1314},
			"26800300 00000000 0000000000000000 01020304 00000000 05060708 090a0b0c 0d0e0f10 00000000 11121314 00000000",
			func(p PDU) (any, error) { return ParseLogoutResponse(p) }},
		{NOPOut{Immediate: true, LUN: lun, ITT: 0x01020304, TTT: 0x05060708, CmdSN: 0x090a0b0c, ExpStatSN: 0x0d0e0f10, Data: []byte("ping")},
			"40800000 00000004 0001000000000000 01020304 05060708 090a0b0c 0d0e0f10 00000000000000000000000000000000",
			func(p PDU) (any, error) { return ParseNOPOut(p) }},
		{NOPIn{LUN: lun, ITT: 0x01020304, TTT: 0x05060708, StatSN: 0x090a0b0c, ExpCmdSN: 0x0d0e0f10, MaxCmdSN: 0x11121314, Data: []byte("ping")},
			"20800000 00000004 0001000000000000 01020304 05060708 090a0b0c 0d0e0f10 11121314 000000000000000000000000",
			func(p PDU) (any, error) { return ParseNOPIn(p) }},
		{Async{
			LUN: lun, StatSN: 0x01020304, ExpCmdSN: 0x05060708, MaxCmdSN: 0x090a0b0c, Event: AsyncLogout, VCode: 2,
			Parameter1: 0x0d0e, Parameter2: 0x0f10, Parameter3: 0x1112, Data: []byte{9},
		}, "32800000 00000001 0001000000000000 ffffffff 00000000 01020304 05060708 090a0b0c 01020d0e 0f101112 00000000",
			func(p PDU) (any, error) { return ParseAsync(p) }},
		{Reject{Reason: 9, StatSN: 0x01020304, ExpCmdSN: 0x05060708, MaxCmdSN: 0x090a0b0c, DataSN: 0x0d0e0f10, Data: make([]byte, 48)},
			"3f800900 00000030 0000000000000000 ffffffff 00000000 01020304 05060708 090a0b0c 0d0e0f10 0000000000000000",
			func(p PDU) (any, error) { return ParseReject(p) }},
	}
}

type sample struct {
	pdu    interface{ Marshal() PDU }
	header string
	parse  func(PDU) (any, error)
}

func TestHeaders(t *testing.T) {
	for _, s := range samples() {
		p := s.pdu.Marshal()
		want := strings.ReplaceAll(s.header, " ", "")
		if got := hex.EncodeToString(p.Header[:]); got != want {
			t.Errorf("%v:\n got %s\nwant %s", p.Opcode(), got, want)
		}
		got, err := s.parse(p)
		if d := cmp.Diff(any(s.pdu), got, cmp.Transformer("empty", emptyIsNil)); err != nil || d != "" {
			t.Errorf("%v: %v %s", p.Opcode(), err, d)
		}
	}
}

func emptyIsNil(b []byte) string { return string(b) }

func TestParseRefuses(t *testing.T) {
	for i, s := range samples() {
		good := s.pdu.Marshal()
		for j, other := range samples() {
			if _, err := s.parse(other.pdu.Marshal()); (err == nil) != (i == j) {
				t.Errorf("%T parsed as %v: %v", other.pdu, good.Opcode(), err)
			}
		}
		for name, edit := range map[string]func(*PDU){
			"data shorter than announced": func(p *PDU) { p.SetData([]byte("x")); p.Data = nil },
			"additional header":           func(p *PDU) { p.Header[4] = 1 },
		} {
			p := good
			edit(&p)
			var e *Error
			if _, err := s.parse(p); !errors.As(err, &e) {
				t.Errorf("%v: %s: %v", p.Opcode(), name, err)
			}
		}
		p := good // what the kernel hands over may have padding behind it
		p.Data = append(bytes.Clone(p.Data), 0, 0, 0)
		got, err := s.parse(p)
		if d := cmp.Diff(any(s.pdu), got, cmp.Transformer("empty", emptyIsNil)); err != nil || d != "" {
			t.Errorf("%v with padding: %v %s", p.Opcode(), err, d)
		}
	}
	p := LoginRequest{}.Marshal()
	p.Header[0] = byte(OpLoginRequest)
	if _, err := ParseLoginRequest(p); err == nil {
		t.Error("a Login Request that is not immediate was taken")
	}
}

func TestParseText(t *testing.T) {
	for text, want := range map[string][]Pair{
		"":                            nil,
		"\x00\x00":                    nil,
		"a=b\x00":                     {{"a", "b"}},
		"a=b":                         {{"a", "b"}},
		"a=\x00b==\x00\x00c=\xff,\n1": {{"a", ""}, {"b", "="}, {"c", "\xff,\n1"}},
		"X#Y=1\x00a=2\x00a=3\x00":     {{"X#Y", "1"}, {"a", "2"}, {"a", "3"}},
		strings.Repeat("k", MaxKey) + "=" + strings.Repeat("v", MaxValue): {{strings.Repeat("k", MaxKey), strings.Repeat("v", MaxValue)}},
	} {
		got, err := ParseText([]byte(text))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%.40q: %v %s", text, err, d)
		}
	}
	for text, offset := range map[string]int{
		"a": 0, "a=b\x00c\x00": 4, "=": 0, "a=b\x00\x00=c": 5, "a b=c": 0, "\xc3\xa4=c": 0, "\t=": 0,
		strings.Repeat("k", MaxKey+1) + "=": 0, "a=" + strings.Repeat("v", MaxValue+1): 0, strings.Repeat("\x00", MaxText+1): MaxText,
	} {
		_, err := ParseText([]byte(text))
		var e *Error
		if !errors.As(err, &e) || e.Offset != offset {
			t.Errorf("%.40q: %v, want an error at offset %d", text, err, offset)
		}
	}
}

// checkParse parses p as everything and wants what was taken to survive a
// round trip.
func checkParse(t *testing.T, p PDU) {
	for _, s := range samples() {
		got, err := s.parse(p)
		if err != nil {
			continue
		}
		again, err := s.parse(got.(interface{ Marshal() PDU }).Marshal())
		if d := cmp.Diff(got, again, cmp.Transformer("empty", emptyIsNil)); err != nil || d != "" {
			t.Errorf("%v: %v %s", p.Opcode(), err, d)
		}
	}
}

func FuzzPDU(f *testing.F) {
	for _, s := range samples() {
		p := s.pdu.Marshal()
		f.Add(append(p.Header[:], p.Data...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p PDU
		p.Data = bytes.Clone(b[copy(p.Header[:], b):])
		checkParse(t, p)
		p, err := ReadPDU(bytes.NewReader(b), 1<<16)
		if err != nil {
			return
		}
		checkParse(t, p)
		var out bytes.Buffer
		if err := WritePDU(&out, p); err != nil {
			t.Fatal(err)
		}
		again, err := ReadPDU(&out, 1<<16)
		if d := cmp.Diff(p, again); err != nil || d != "" || out.Len() != 0 {
			t.Errorf("%v %s", err, d)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("TargetPortalGroupTag=1\x00HeaderDigest=None\x00"))
	f.Add([]byte("CHAP_A=5\x00CHAP_I=255\x00CHAP_C=0xabcdef"))
	f.Add([]byte("\x00\x00=\x00a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, err := ParseText(b)
		if err != nil {
			return
		}
		again, err := ParseText(AppendText(nil, pairs...))
		if d := cmp.Diff(pairs, again); len(b) < MaxText && (err != nil || d != "") {
			t.Errorf("%v %s", err, d)
		}
	})
}
