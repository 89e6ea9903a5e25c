package login_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

// Rows F3 and F4: what comes after the login shows in its last response already.
func TestChecklistFullFeature(t *testing.T) {
	t.Run("F3 a window of one command, or of none", func(t *testing.T) {
		for _, window := range []uint32{0, 1, ^uint32(0)} { // MaxCmdSN - ExpCmdSN; LIO has 0
			for _, tc := range []targettest.Config{noAuth(), mutual()} {
				exchanges := 1
				if tc.Secret != "" {
					exchanges = 4
				}
				res := good(t, exchanges, with(tc, func(a *answer) {
					a.Login.ExpCmdSN = 1000
					a.Login.MaxCmdSN = 1000 + window
				}))
				if res.CmdSN != 1000 || res.MaxCmdSN != 1000+window {
					t.Errorf("CmdSN %d, MaxCmdSN %d", res.CmdSN, res.MaxCmdSN)
				}
			}
		}
	})
	t.Run("F4 the target asks for a logout, or drops us, during the login", func(t *testing.T) {
		for _, event := range []uint8{pdu.AsyncLogout, pdu.AsyncDropConnection, pdu.AsyncDropSession, pdu.AsyncRenegotiate} {
			for n := 1; n <= 4; n++ {
				bad[*login.ProtocolError](t, fmt.Sprintf("Asynchronous Message with event %d", event), with(mutual(), at(n, func(a *answer) {
					a.Before = []pdu.PDU{pdu.Async{Event: event, StatSN: a.Login.StatSN}.Marshal()}
				})))
			}
		}
	})
}

// Rows B4: faults that other programs of this kind have had.
func TestKnownFaults(t *testing.T) {
	type auth = *login.AuthError
	t.Run("CVE-2021-38575 CVE-2024-38805 a challenge longer than its buffer", func(t *testing.T) {
		for _, digits := range []int{2049, 2050, 4096, 8000} { // 1025 bytes and more, or an odd count
			bad[auth](t, "bad CHAP_C", with(mutual(), set(2, "CHAP_C", "0x"+strings.Repeat("f", digits))))
			bad[auth](t, "bad CHAP_R", with(mutual(), set(3, "CHAP_R", "0x"+strings.Repeat("f", digits))))
		}
	})
	t.Run("EDK2 24788b6190, libiscsi bfde497 the last key has no NUL", func(t *testing.T) {
		for _, last := range []string{"TargetAlias=a", "TargetAlias=", "TargetAlias"} {
			_, _, err := try(t, with(noAuth(), at(1, func(a *answer) {
				// A multiple of four: no padding that would end it by chance.
				text := "TargetPortalGroupTag=1\x00"
				for (len(text)+len(last))%4 != 0 {
					text += "\x00"
				}
				a.Text = []byte(text + last)
			})))
			if (err == nil) != strings.Contains(last, "=") {
				t.Errorf("%q: %v", last, err)
			}
		}
	})
	t.Run("libiscsi 81a7610 a challenge that ends early", func(t *testing.T) {
		for _, v := range []string{"0", "0x", "0b", "0x0", "0bA", "0bAA=", "0bAAA"} {
			bad[auth](t, "bad CHAP_C", with(oneWay(), set(2, "CHAP_C", v)))
		}
	})
	t.Run("open-iscsi an unknown key is no reason to fail", func(t *testing.T) {
		good(t, 4, with(oneWay(), set(1, "X-com.example.key", "Yes")))
	})
	t.Run("open-iscsi a list answered with what was not offered", func(t *testing.T) {
		bad[*login.ProtocolError](t, "no answer to our offer", with(noAuth(), set(1, "DataDigest", "CRC32C")))
	})
	t.Run("libiscsi CHAP,None by itself", func(t *testing.T) {
		bad[auth](t, `AuthMethod="None"`, with(oneWay(), set(1, "AuthMethod", "None")))
	})
}

// Rows B5: the manners of targets that were watched.
func TestTargetManners(t *testing.T) {
	t.Run("tgt", func(t *testing.T) {
		tc := mutual()
		tc.Keys = map[string]string{"MaxRecvDataSegmentLength": "-", "FirstBurstLength": "65536", "MaxBurstLength": "262144"}
		res := good(t, 4, with(tc, func(a *answer) { a.Login.MaxCmdSN++ }))
		if res.MaxXmitDataSegmentLength != 8192 || res.MaxBurstLength != 262144 || res.MaxCmdSN != res.CmdSN+1 {
			t.Errorf("%+v", res)
		}
	})
	t.Run("istgt", func(t *testing.T) {
		// It sends ExpStatSN back as StatSN, NSG without T, 1024 bytes of challenge
		// in capitals, and Reject to digests.
		reject := func(a *answer) {
			a.Login.StatSN = pduExpStatSN(a)
			if !a.Login.Transit {
				a.Login.NSG = pdu.Operational
			}
			for _, key := range []string{"HeaderDigest", "DataDigest"} {
				if a.Get(key) != "" {
					a.Set(key, "Reject")
				}
			}
		}
		both := []login.Digest{login.DigestNone, login.DigestCRC32C}
		for _, tc := range []targettest.Config{noAuth(), oneWay()} {
			_, _, err := try(t, with(tc, reject), func(c *login.Config) { c.Offer.HeaderDigest, c.Offer.DataDigest = both, both })
			if err != nil {
				t.Error(err)
			}
		}
		bad[*login.ProtocolError](t, "does not agree to CRC32C", with(noAuth(), reject), func(c *login.Config) { c.Offer.DataDigest = both[1:] })
		long := strings.Repeat("AB", 1024)
		_, target, err := try(t, with(oneWay(), at(2, func(a *answer) { a.Set("CHAP_C", "0x"+long) })))
		if err == nil || len(target.Logins()) != 3 { // the scripted target's own challenge was another
			t.Errorf("%d requests, %v", len(target.Logins()), err)
		}
		bad[*login.StatusError](t, "status 0201", with(oneWay(), at(3, func(a *answer) { // T and keys in a refusal
			keys := a.Keys
			a.Status(0x0201)
			a.Keys, a.Login.Transit, a.Login.NSG = keys, true, pdu.Operational
		})))
	})
	t.Run("LIO", func(t *testing.T) {
		tc := oneWay()
		tc.Alias, tc.StatSN, tc.Algorithms = "LIO Target", 0xfffffffe, []int{7, 6, 5}
		tc.Keys = map[string]string{"MaxRecvDataSegmentLength": "8192"}
		res := good(t, 4, with(tc, func(a *answer) { a.Login.MaxCmdSN = a.Login.ExpCmdSN }))
		if res.Algorithm != login.SHA256 || res.TargetAlias != "LIO Target" || res.ExpStatSN != 2 {
			t.Errorf("%+v", res)
		}
		// The names' answer holds the tag beside AuthMethod, and a refusal nothing.
		e := bad[*login.StatusError](t, "status 0301", with(oneWay(), at(1, func(a *answer) {
			*a.Login = pdu.LoginResponse{StatusClass: 3, StatusDetail: 1}
			a.Keys = nil
		})))
		if !e.Temporary() {
			t.Error("what LIO says of a target that it does not know, or not yet, may pass")
		}
	})
}

// pduExpStatSN is the ExpStatSN of the request that is answered.
func pduExpStatSN(a *answer) uint32 {
	m, _ := pdu.ParseLoginRequest(a.Request)
	return m.ExpStatSN
}
