package login_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

func TestNoAuthenticationTakesOneExchange(t *testing.T) {
	res := good(t, 1, targettest.Config{Alias: "a disk", StatSN: 77, Keys: map[string]string{"FirstBurstLength": "65536"}})
	want := &login.Result{Params: login.DefaultParams()}
	want.FirstBurstLength = 65536
	want.MaxXmitDataSegmentLength = 262144
	want.TSIH = 1
	want.TargetPortalGroupTag = 1
	want.TargetAlias = "a disk"
	want.ExpStatSN = 78
	want.Exchanges = 1
	if d := cmp.Diff(want, res); d != "" {
		t.Error(d)
	}
}

func TestCHAPTakesFourExchanges(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  targettest.Config
	}{{"one way", oneWay()}, {"mutual", mutual()}} {
		for _, a := range []login.Algorithm{login.MD5, login.SHA1, login.SHA256, login.SHA3256} {
			t.Run(tc.name+" "+a.String(), func(t *testing.T) {
				tc.cfg.Algorithms = []int{int(a)}
				if res := good(t, 4, tc.cfg); res.Algorithm != a {
					t.Errorf("logged in with %v, want %v", res.Algorithm, a)
				}
			})
		}
	}
}

func TestStrongestAlgorithmFirst(t *testing.T) {
	res, target, err := try(t, oneWay())
	if err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, target.Logins()[1])["CHAP_A"]; got != "8,7,6,5" || res.Algorithm != login.SHA3256 {
		t.Errorf("offered %s and got %v", got, res.Algorithm)
	}
}

func TestSecretsOfAnyLength(t *testing.T) {
	for _, s := range []string{"x", "=\xff\n \x00", string(make([]byte, 4000))} {
		tc := targettest.Config{Username: "a=b", Secret: s, Lenient: true}
		good(t, 4, tc)
	}
}

func TestDiscoverySession(t *testing.T) {
	discover := func(c *login.Config) { c.Discovery, c.TargetName = true, "" }
	_, target, err := try(t, noAuth(), discover)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"InitiatorName": targettest.InitiatorName, "SessionType": "Discovery", "HeaderDigest": "None", "DataDigest": "None",
		"DefaultTime2Wait": "2", "DefaultTime2Retain": "0", "ErrorRecoveryLevel": "0", "MaxRecvDataSegmentLength": "262144",
	}
	if d := cmp.Diff(want, keysOf(t, target.Logins()[0])); d != "" {
		t.Error(d)
	}
	good(t, 4, mutual(), discover)
}

func TestNothingIsSentWithABadConfig(t *testing.T) {
	for name, edit := range map[string]func(*login.Config){
		"no initiator name":   func(c *login.Config) { c.InitiatorName = "" },
		"no target name":      func(c *login.Config) { c.TargetName = "" },
		"a NUL in a name":     func(c *login.Config) { c.TargetName = "iqn\x00X=1" },
		"a long name":         func(c *login.Config) { c.InitiatorAlias = string(make([]byte, 224)) },
		"a NUL in a user":     func(c *login.Config) { c.CHAP.Username = "a\x00b" },
		"no secret":           func(c *login.Config) { c.CHAP.Secret = "" },
		"no secret in":        func(c *login.Config) { c.CHAP.SecretIn = "" },
		"the same secrets":    func(c *login.Config) { c.CHAP.SecretIn = c.CHAP.Secret },
		"unknown algorithm":   func(c *login.Config) { c.CHAP.Algorithms = []login.Algorithm{4} },
		"repeated algorithm":  func(c *login.Config) { c.CHAP.Algorithms = []login.Algorithm{5, 6, 5} },
		"no burst":            func(c *login.Config) { c.Offer.MaxBurstLength = 0 },
		"no receive length":   func(c *login.Config) { c.Offer.MaxRecvDataSegmentLength = 0 },
		"an unknown digest":   func(c *login.Config) { c.Offer.DataDigest = []login.Digest{"MD5"} },
		"too long a time":     func(c *login.Config) { c.Offer.DefaultTime2Wait = 3601 },
		"ERL out of range":    func(c *login.Config) { c.Offer.ErrorRecoveryLevel = 3 },
		"no outstanding R2Ts": func(c *login.Config) { c.Offer.MaxOutstandingR2T = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			_, target, err := try(t, mutual(), edit)
			if e := new(login.ConfigError); !errors.As(err, &e) {
				t.Fatalf("got %T %v", err, err)
			}
			if n := len(target.Requests()); n != 0 {
				t.Errorf("%d PDUs were sent", n)
			}
		})
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := login.Secret(secret)
	cfg := login.Config{CHAP: &login.CHAP{Username: "node", Secret: s, SecretIn: secretIn}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%e"} {
		if got := fmt.Sprintf(verb, s); got != "***" {
			t.Errorf("%s prints %q", verb, got)
		}
		for _, v := range []any{cfg, &cfg, cfg.CHAP, *cfg.CHAP} {
			got := fmt.Sprintf(verb, v)
			for _, s := range []string{secret, secretIn, fmt.Sprintf("%x", secret)} {
				if strings.Contains(got, s) {
					t.Errorf("%s of %T prints %q", verb, v, got)
				}
			}
		}
	}
	if got := fmt.Sprint(login.Secret("")); got != "" {
		t.Errorf("no secret prints as %q", got)
	}
}

func TestFullFeaturePhase(t *testing.T) {
	target := targettest.New(t, noAuth())
	stream := target.Dial()
	res, err := login.Login(t.Context(), stream, target.Login())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(p pdu.PDU) pdu.PDU {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := stream.Send(ctx, p); err != nil {
			t.Fatal(err)
		}
		p, err := stream.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	text, err := pdu.ParseTextResponse(ask(pdu.TextRequest{
		Final: true, TTT: pdu.NoTag, ExpStatSN: res.ExpStatSN, Data: []byte("SendTargets=All\x00"),
	}.Marshal()))
	want := "TargetName=" + targettest.TargetName + "\x00TargetAddress=" + target.Addr() + ",1\x00"
	if err != nil || string(text.Data) != want {
		t.Errorf("SendTargets: %q, %v", text.Data, err)
	}
	nop, err := pdu.ParseNOPIn(ask(pdu.NOPOut{Immediate: true, ITT: 4, TTT: pdu.NoTag, Data: []byte("ping")}.Marshal()))
	if err != nil || string(nop.Data) != "ping" || nop.StatSN != res.ExpStatSN+1 {
		t.Errorf("NOP: %+v, %v", nop, err)
	}
	out, err := pdu.ParseLogoutResponse(ask(pdu.LogoutRequest{Immediate: true, ITT: 5}.Marshal()))
	if err != nil || out.Response != 0 || out.ITT != 5 {
		t.Errorf("Logout: %+v, %v", out, err)
	}
}

func TestCancelEndsALogin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := targettest.New(t, with(noAuth(), func(a *targettest.Answer) {
		a.Stall = true
		cancel()
	}))
	_, err := login.Login(ctx, target.Dial(), target.Login())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
