package login_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

func TestChecklistCHAP(t *testing.T) {
	type auth = *login.AuthError
	type protocol = *login.ProtocolError
	drop := func(keys ...string) targettest.Script {
		return func(a *answer) {
			for _, k := range keys {
				a.Delete(k)
			}
		}
	}

	t.Run("C1 nothing but CHAP is offered", func(t *testing.T) {
		for _, tc := range []targettest.Config{oneWay(), mutual()} {
			_, target, err := try(t, tc)
			if err != nil {
				t.Fatal(err)
			}
			if got := keysOf(t, target.Logins()[0])["AuthMethod"]; got != "CHAP" {
				t.Errorf("AuthMethod=%s", got)
			}
		}
		bad[*login.StatusError](t, "0201", noAuth(), func(c *login.Config) { c.CHAP = &login.CHAP{Secret: secret} })
	})
	optional := func(c *login.Config) { c.CHAP.Optional = true }
	none := func(c *login.Config) { c.CHAP = &login.CHAP{Username: "node", Secret: secret, Optional: true} }
	t.Run("C1 optional authentication", func(t *testing.T) {
		// The target chooses: what wants no authentication is taken without, ...
		for _, edit := range []targettest.Script{nil, at(2, func(a *answer) { a.Login.TSIH = 7 })} {
			if res := good(t, 3, with(noAuth(), edit), none); res.Algorithm != 0 || res.TSIH != 1 {
				t.Errorf("%+v", res)
			}
		}
		_, target, err := try(t, noAuth(), none)
		if err != nil {
			t.Fatal(err)
		}
		ms := target.Logins()
		if got := keysOf(t, ms[0])["AuthMethod"]; got != "CHAP,None" {
			t.Errorf("AuthMethod=%s", got)
		}
		if !ms[1].Transit || len(ms[1].Data) > 0 || ms[2].CSG != pdu.Operational || keysOf(t, ms[2])["MaxBurstLength"] == "" {
			t.Errorf("%+v", ms[1:])
		}
		// ... and with where it wants some, by which it is then held.
		if res := good(t, 4, oneWay(), optional); res.Algorithm != login.SHA3256 {
			t.Errorf("%v", res.Algorithm)
		}
		bad[*login.StatusError](t, "0201", oneWay(), optional, func(c *login.Config) { c.CHAP.Secret += "x" })
	})
	t.Run("C1 optional where the target must prove itself", func(t *testing.T) {
		_, target, err := try(t, mutual(), optional)
		if err != nil {
			t.Fatal(err)
		}
		if got := keysOf(t, target.Logins()[0])["AuthMethod"]; got != "CHAP" {
			t.Errorf("AuthMethod=%s", got)
		}
		for _, tc := range []targettest.Config{with(mutual(), set(1, "AuthMethod", "None")), with(oneWay(), set(1, "AuthMethod", "None"))} {
			bad[auth](t, `AuthMethod="None" to our CHAP;`, tc, optional, func(c *login.Config) { c.CHAP.UsernameIn, c.CHAP.SecretIn = "disk", secretIn })
		}
	})
	t.Run("C1 None is held to what it is", func(t *testing.T) {
		bad[auth](t, `AuthMethod="CHAP,None"`, with(noAuth(), set(1, "AuthMethod", "CHAP,None")), none)
		bad[auth](t, `AuthMethod="Reject"`, with(noAuth(), set(1, "AuthMethod", "Reject")), none)
		for n := 2; n <= 3; n++ { // no CHAP without being asked
			bad[protocol](t, "not expected", with(noAuth(), set(n, "CHAP_C", "0x00")), none)
		}
		bad[protocol](t, "twice", with(noAuth(), set(2, "AuthMethod", "CHAP")), none)
	})
	t.Run("C1 the target skips its part", func(t *testing.T) {
		bad[auth](t, "skips its part", with(mutual(), at(3, drop("CHAP_N", "CHAP_R"))))
		bad[auth](t, "CHAP_R", with(mutual(), at(3, drop("CHAP_R"))))
		bad[auth](t, "calls itself", with(mutual(), at(3, drop("CHAP_N"))))
		bad[auth](t, "calls itself", with(mutual(), at(3, drop("CHAP_N"))), func(c *login.Config) { c.CHAP.UsernameIn = "" })
		for n := 1; n <= 2; n++ {
			bad[protocol](t, "did not ask", with(mutual(), at(n, func(a *answer) { a.Login.Transit, a.Login.NSG = true, pdu.Operational })))
			bad[protocol](t, "did not ask", with(oneWay(), at(n, func(a *answer) { a.Login.Transit, a.Login.NSG = true, pdu.FullFeature })))
		}
	})
	t.Run("C2 CHAP_A", func(t *testing.T) {
		for _, v := range []string{"", "4", "9", "5,6", "Reject", "MD5", "-5", "0x", "05x"} {
			bad[auth](t, "CHAP_A", with(oneWay(), set(2, "CHAP_A", v)))
		}
		bad[auth](t, "CHAP_A", with(oneWay(), set(2, "CHAP_A", "6")), func(c *login.Config) { c.CHAP.Algorithms = []login.Algorithm{7, 5} })
		if res := good(t, 4, oneWay(), func(c *login.Config) { c.CHAP.Algorithms = []login.Algorithm{6, 8} }); res.Algorithm != login.SHA1 {
			t.Errorf("our order is not kept: %v", res.Algorithm)
		}
	})
	t.Run("C2 SHA-256 that is SHA-1", func(t *testing.T) { // tgt 1.0.85
		e := bad[*login.StatusError](t, "SHA-256", with(oneWay(), at(3, func(a *answer) { a.Status(0x0201) })),
			func(c *login.Config) { c.CHAP.Algorithms = []login.Algorithm{7, 5} })
		if !login.RetryMD5(e) || e.Algorithm != login.SHA256 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("C3 CHAP_I", func(t *testing.T) {
		for _, v := range []string{"", "256", "-1", "0x", "+1", "0x100", "a", "1 ", "Reject"} {
			bad[auth](t, "CHAP_I", with(oneWay(), set(2, "CHAP_I", v)))
		}
	})
	t.Run("C3 our identifier is not the target's", func(t *testing.T) {
		for range 20 {
			var theirs string
			_, target, err := try(t, with(mutual(), at(2, func(a *answer) { theirs = a.Get("CHAP_I") })))
			if err != nil {
				t.Fatal(err)
			}
			if ours := keysOf(t, target.Logins()[2])["CHAP_I"]; ours == theirs {
				t.Errorf("both are %s", ours)
			}
		}
	})
	t.Run("C4 CHAP_C", func(t *testing.T) {
		for _, v := range []string{
			"", "0", "0x", "0X", "0b", "0x1", "0xabc", "0xzz", "abcd", "0c00", "1x00", "0b!", "0bYQ", "0bYQ=", "0bYR==", "0bYQ==YQ==", "0b\n", "0b\r\n\n", "Reject",
			"0x" + strings.Repeat("00", 1025), "0b" + strings.Repeat("AAAA", 341) + "AAA=", "0x" + strings.Repeat("0", 8000),
		} {
			bad[auth](t, "bad CHAP_C", with(oneWay(), set(2, "CHAP_C", v)))
		}
	})
	t.Run("C4 CHAP_C in every form", func(t *testing.T) {
		for _, c := range []struct {
			value string
			bytes []byte
		}{
			{"0x0aFF", []byte{0x0a, 0xff}},
			{"0X00", []byte{0}},
			{"0bYQ==", []byte("a")},
			{"0BYWJj", []byte("abc")},
			{"0x" + strings.Repeat("5A", 1024), []byte(strings.Repeat("Z", 1024))},
			{"0b" + strings.Repeat("AAAA", 341) + "AA==", make([]byte, 1024)},
		} {
			var want string
			_, target, err := try(t, with(oneWay(), at(2, func(a *answer) {
				a.Set("CHAP_A", "7")
				a.Set("CHAP_I", "200")
				a.Set("CHAP_C", c.value)
				want = fmt.Sprintf("0x%x", targettest.Response(7, 200, secret, c.bytes))
			})))
			if err == nil {
				t.Fatal("the target's own challenge was another one")
			}
			if got := keysOf(t, target.Logins()[2])["CHAP_R"]; got != want {
				t.Errorf("%.20s: response %s, want %s", c.value, got, want)
			}
		}
	})
	t.Run("C4 reflection", func(t *testing.T) {
		// A target without the secret asks us for the answer to our own challenge.
		bad[protocol](t, "twice", with(mutual(), func(a *answer) {
			if a.Exchange == 3 {
				a.Login.Transit = false
				a.Keys = nil
				for _, p := range requestKeys(a) {
					if p.Key == "CHAP_I" || p.Key == "CHAP_C" {
						a.Set(p.Key, p.Value)
					}
				}
			}
		}))
		bad[auth](t, "our own response", with(mutual(), at(3, func(a *answer) {
			for _, p := range requestKeys(a) {
				if p.Key == "CHAP_R" {
					a.Set(p.Key, p.Value)
				}
			}
		})))
	})
	t.Run("C5 CHAP_N", func(t *testing.T) {
		for _, v := range []string{"", "Disk", "disk ", "node", "a=b", strings.Repeat("d", 8000)} {
			bad[auth](t, "calls itself", with(mutual(), set(3, "CHAP_N", v)))
			good(t, 4, with(mutual(), set(3, "CHAP_N", v)), func(c *login.Config) { c.CHAP.UsernameIn = "" })
		}
		tc := mutual()
		tc.Username, tc.UsernameIn = "a=b,c", "=d="
		good(t, 4, tc)
	})
	t.Run("C6 CHAP_R", func(t *testing.T) {
		for _, v := range []string{"", "0x", "0x1", "x"} {
			bad[auth](t, "bad CHAP_R", with(mutual(), set(3, "CHAP_R", v)))
		}
		for _, v := range []string{"0x00", "0x" + strings.Repeat("00", 32), "0x" + strings.Repeat("00", 33)} {
			bad[auth](t, "could not prove itself", with(mutual(), set(3, "CHAP_R", v)))
		}
		tc := mutual()
		for a := 5; a <= 8; a++ {
			tc.Algorithms = []int{a}
			_, target, err := try(t, tc, func(c *login.Config) { c.CHAP.SecretIn = "another one" })
			if err == nil || !strings.Contains(err.Error(), "could not prove itself") || login.RetryMD5(err) {
				t.Errorf("wrong secret of the target's: %v", err)
			}
			if n := len(target.Requests()); n != 3 {
				t.Errorf("%d requests, the operational stage must not be entered", n)
			}
		}
		bad[auth](t, "could not prove itself", with(mutual(), at(3, func(a *answer) { // longer than the digest
			a.Set("CHAP_R", a.Get("CHAP_R")+"00")
		})))
	})
	t.Run("C6 our challenge is new each time and as long as the digest", func(t *testing.T) {
		seen := map[string]bool{}
		for _, c := range []struct{ algorithm, length int }{{5, 16}, {5, 16}, {6, 20}, {7, 32}, {8, 32}, {8, 32}} {
			tc := mutual()
			tc.Algorithms = []int{c.algorithm}
			_, target, err := try(t, tc)
			if err != nil {
				t.Fatal(err)
			}
			v := keysOf(t, target.Logins()[2])["CHAP_C"]
			if len(v) != 2+2*c.length || seen[v] {
				t.Errorf("algorithm %d: challenge %s", c.algorithm, v)
			}
			seen[v] = true
		}
	})
	t.Run("C7 keys out of order", func(t *testing.T) {
		for _, c := range []struct {
			exchange int
			key      string
		}{
			{1, "CHAP_A"}, {1, "CHAP_C"}, {2, "CHAP_N"}, {2, "CHAP_R"}, {3, "CHAP_N"}, {3, "CHAP_R"}, {4, "CHAP_R"}, {4, "CHAP_X"},
		} {
			bad[protocol](t, "not expected", with(oneWay(), set(c.exchange, c.key, "5")))
		}
		for n := 2; n <= 4; n++ {
			bad[protocol](t, "twice", with(mutual(), set(n, "AuthMethod", "CHAP")))
		}
		bad[auth](t, "CHAP_I", with(oneWay(), at(2, drop("CHAP_I"))))
		bad[auth](t, "CHAP_C", with(oneWay(), at(2, drop("CHAP_C"))))
		bad[auth](t, "CHAP_A", with(oneWay(), at(2, drop("CHAP_A"))))
	})
	t.Run("C7 the challenge in pieces", func(t *testing.T) {
		// CHAP_A, CHAP_I and CHAP_C belong into one answer (RFC 7143, 12.1.3).
		bad[auth](t, "CHAP_I", with(oneWay(), func(a *answer) {
			if a.Exchange == 2 {
				drop("CHAP_I", "CHAP_C")(a)
			}
		}))
		// In which order they stand in it means nothing.
		good(t, 4, with(oneWay(), at(2, func(a *answer) { slices.Reverse(a.Keys) })))
	})
	t.Run("C8 secrets of any kind", func(t *testing.T) {
		for _, s := range []string{"a", " \t\n", "\x00", "\xff\xfe=", strings.Repeat("s", 255), strings.Repeat("t", 256)} {
			tc := oneWay()
			tc.Secret, tc.Lenient = s, true // one byte of it may be in any text
			good(t, 4, tc)
		}
	})
	t.Run("C8 secrets stay here", func(t *testing.T) {
		// The target fails the test when a secret comes over the wire; try, when it is in an error.
		bad[*login.StatusError](t, "0201", mutual(), func(c *login.Config) { c.CHAP.Secret += "x" })
	})
}

// requestKeys returns the keys of the request that is answered.
func requestKeys(a *answer) []pdu.Pair {
	m, _ := pdu.ParseLoginRequest(a.Request)
	pairs, _ := pdu.ParseText(m.Data)
	return pairs
}
