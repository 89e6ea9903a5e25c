package login_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

// replay is a Conn whose target says what a byte stream holds.
type replay struct {
	r    io.Reader
	sent []pdu.PDU
}

func (c *replay) Send(_ context.Context, p pdu.PDU) error {
	c.sent = append(c.sent, p)
	return nil
}

func (c *replay) Receive(context.Context) (pdu.PDU, error) { return pdu.ReadPDU(c.r, 1<<16) }

// FuzzLogin logs in to a target that says anything. Only its first byte is
// ours: it chooses the kind of login.
func FuzzLogin(f *testing.F) {
	stream := func(kind byte, responses ...pdu.LoginResponse) {
		b := bytes.NewBuffer([]byte{kind})
		for i, m := range responses {
			m.StatSN = uint32(i)
			pdu.WritePDU(b, m.Marshal())
		}
		f.Add(b.Bytes())
	}
	text := func(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\x00")) }
	last := pdu.LoginResponse{
		Transit: true, CSG: pdu.Operational, NSG: pdu.FullFeature, TSIH: 1,
		Data: text("TargetPortalGroupTag=1 TargetAlias=a HeaderDigest=None MaxBurstLength=512 InitialR2T=Yes MaxConnections=Reject X-a=b "),
	}
	stay := last
	stay.Transit, stay.NSG, stay.Data = false, 0, text("iSCSIProtocolLevel=1 X-a=b ")
	more := stay
	more.Continue, more.Data = true, []byte("MaxBurst")
	stream(0, last)
	stream(0, stay, last)
	stream(0, more, stay, last)
	stream(0, pdu.LoginResponse{StatusClass: 1, StatusDetail: 1, Data: text("TargetAddress=[2001:db8::1]:3260,1 ")})
	stream(0, pdu.LoginResponse{StatusClass: 2, StatusDetail: 1})
	method := pdu.LoginResponse{Data: text("AuthMethod=CHAP TargetPortalGroupTag=1 ")}
	challenge := pdu.LoginResponse{Data: text("CHAP_A=5 CHAP_I=1 CHAP_C=0b" + strings.Repeat("QUJD", 5) + " ")}
	through := pdu.LoginResponse{Transit: true, NSG: pdu.Operational}
	stream(1, method, challenge, through, last)
	through.Data = text("CHAP_N=disk CHAP_R=0x00 ")
	stream(2, method, challenge, through, last)
	stream(3, last)
	none := pdu.LoginResponse{Data: text("AuthMethod=None TargetPortalGroupTag=1 ")}
	through.Data = nil
	stream(4, none, through, last)

	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		cfg := login.Config{InitiatorName: targettest.InitiatorName, TargetName: targettest.TargetName, Offer: login.DefaultParams()}
		switch b[0] {
		case 1:
			cfg.CHAP = &login.CHAP{Username: "node", Secret: secret}
		case 2:
			cfg.CHAP = &login.CHAP{Username: "node", Secret: secret, UsernameIn: "disk", SecretIn: secretIn}
		case 3:
			cfg.Discovery = true
		case 4:
			cfg.CHAP = &login.CHAP{Username: "node", Secret: secret, Optional: true}
		case 5:
			cfg.CHAP = &login.CHAP{Username: "node", Secret: secret, UsernameIn: "disk", SecretIn: secretIn, Optional: true}
		}
		conn := &replay{r: bytes.NewReader(b[1:])}
		res, err := login.Login(t.Context(), conn, cfg)
		for _, p := range conn.sent {
			if m, err := pdu.ParseLoginRequest(p); err != nil || len(m.Data) > pdu.DefaultMaxData {
				t.Errorf("sent %+v: %v", m, err)
			}
			if bytes.Contains(p.Data, []byte(secret)) || bytes.Contains(p.Data, []byte(secretIn)) {
				t.Error("a secret was sent")
			}
		}
		if err != nil {
			var (
				status   *login.StatusError
				redirect *login.RedirectError
				protocol *login.ProtocolError
				auth     *login.AuthError
			)
			known := errors.As(err, &status) || errors.As(err, &redirect) || errors.As(err, &protocol) || errors.As(err, &auth)
			if !known && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("an error of no known kind: %T %v", err, err)
			}
			return
		}
		switch {
		case cfg.CHAP != nil && res.Algorithm == 0 && b[0] != 4:
			t.Error("logged in without authentication")
		case b[0] == 2 || b[0] == 5:
			t.Error("a target without the secret has proved itself")
		case res.MaxBurstLength < 512 || res.FirstBurstLength > res.MaxBurstLength || res.MaxBurstLength > cfg.Offer.MaxBurstLength:
			t.Errorf("agreed on %+v", res)
		case res.MaxOutstandingR2T != 1 || res.MaxConnections != 1 || res.ErrorRecoveryLevel != 0 || res.MaxXmitDataSegmentLength < 512:
			t.Errorf("agreed on %+v", res)
		case res.HeaderDigest[0] != login.DigestNone || res.DataDigest[0] != login.DigestNone || !res.DataPDUInOrder:
			t.Errorf("agreed on %+v", res)
		}
	})
}

// FuzzParseAddress reads what a target sends us to, which is shown, looked up
// and connected to.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"10.0.0.9:3261,1", "disk-2.example.org,65535", "[2001:db8::1]:65535", "[fe80::1%eth0]:3260,1", "fec0::99:3360", "2001:db8:0:0:0:0:0:1:3260,1",
		":1", "[]:1", "a:b:c", "host:0", "[::ffff:10.0.0.1]", "::", "%eth0", "[fe80::1%]", "host,",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, tag, err := login.ParseAddress(s)
		if err != nil {
			return
		}
		if port == 0 || tag < -1 || tag > 65535 || host == "" || len(host) > len(s) || !strings.Contains(s, host) {
			t.Errorf("%q: host %q, port %d, tag %d", s, host, port, tag)
		}
		again, port2, tag2, err := login.ParseAddress(net.JoinHostPort(host, strconv.Itoa(int(port))) + ",7")
		if err != nil || again != host || port2 != port || tag2 != 7 {
			t.Errorf("%q: host %q, port %d; and again %q, %d, %d, %v", s, host, port, again, port2, tag2, err)
		}
	})
}
