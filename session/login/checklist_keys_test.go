package login_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

func TestChecklistNegotiation(t *testing.T) {
	type protocol = *login.ProtocolError
	stay := func(a *answer) { a.Login.Transit, a.Login.NSG = false, 0 }
	// propose lets the target send a key in a first answer that leaves room for ours.
	propose := func(key, value string) targettest.Config {
		return with(noAuth(), at(1, func(a *answer) { stay(a); a.Set(key, value) }))
	}
	digests := func(d ...login.Digest) func(*login.Config) {
		return func(c *login.Config) { c.Offer.HeaderDigest, c.Offer.DataDigest = d, d }
	}

	t.Run("N1 every key once", func(t *testing.T) {
		// The target fails the test when a key comes twice.
		good(t, 2, with(noAuth(), at(1, stay)))
		bad[protocol](t, "twice", with(noAuth(), func(a *answer) {
			if a.Exchange == 1 {
				stay(a)
			} else {
				a.Set("MaxBurstLength", "8192")
			}
		}))
	})
	t.Run("N2 AuthMethod not offered", func(t *testing.T) {
		for _, v := range []string{"None", "KRB5", "Reject", "NotUnderstood", "CHAP,None", "", "chap"} {
			bad[*login.AuthError](t, fmt.Sprintf("AuthMethod=%q", v), with(oneWay(), set(1, "AuthMethod", v)))
		}
	})
	t.Run("N2 list answers", func(t *testing.T) {
		for _, v := range []string{"CRC32C", "None,CRC32C", "SHA1", "none", ""} {
			bad[protocol](t, "HeaderDigest", with(noAuth(), set(1, "HeaderDigest", v)))
		}
	})
	t.Run("N3 unknown key", func(t *testing.T) {
		for _, key := range []string{"X-com.example.key", "IFMarker", "OFMarkInt", "SPKM_REQ", "a#+@_.-"} {
			_, target, err := try(t, propose(key, "Yes"))
			if err != nil {
				t.Fatal(err)
			}
			ms := target.Logins()
			if len(ms) != 2 || !ms[1].Transit {
				t.Fatalf("%d requests", len(ms))
			}
			if d := cmp.Diff(map[string]string{key: "NotUnderstood"}, keysOf(t, ms[1])); d != "" {
				t.Error(d)
			}
		}
		good(t, 1, with(noAuth(), set(1, "X-com.example.key", "Yes"))) // no room to answer
		good(t, 2, propose("X-com.example.key", "NotUnderstood"))
	})
	t.Run("N3 too many unknown keys", func(t *testing.T) {
		bad[protocol](t, "unknown keys", with(noAuth(), at(1, func(a *answer) {
			for i := range 200 {
				a.Set(fmt.Sprint("X-", i), "")
			}
		})))
	})
	t.Run("N3 answers that are none", func(t *testing.T) {
		for _, v := range []string{"NotUnderstood", "Irrelevant", "Reject", "-"} {
			res := good(t, 1, with(noAuth(), at(1, func(a *answer) {
				for i := range a.Keys {
					if a.Keys[i].Key != "TargetPortalGroupTag" {
						a.Keys[i].Value = v
					}
				}
				if v == "-" {
					a.Keys = nil
				}
			})))
			// The default of RFC 7143, 13 holds, or our offer where it is the more careful.
			want := login.Params{
				HeaderDigest: []login.Digest{"None"}, DataDigest: []login.Digest{"None"}, InitialR2T: true, ImmediateData: true,
				MaxRecvDataSegmentLength: 262144, MaxBurstLength: 262144, FirstBurstLength: 65536, DefaultTime2Wait: 2,
				MaxOutstandingR2T: 1, MaxConnections: 1, DataPDUInOrder: true, DataSequenceInOrder: true,
			}
			if d := cmp.Diff(want, res.Params); d != "" {
				t.Errorf("%s: %s", v, d)
			}
			if res.MaxXmitDataSegmentLength != 8192 {
				t.Errorf("%s: MaxXmitDataSegmentLength %d", v, res.MaxXmitDataSegmentLength)
			}
		}
	})
	t.Run("N4 numbers", func(t *testing.T) {
		for _, v := range []string{"", "0", "511", "-1", "+1024", "1024 ", " 1024", "1e3", "0x", "0xg", "0b1", "16777216", "99999999999999999999", "1_024", "Yes"} {
			bad[protocol](t, fmt.Sprintf("FirstBurstLength is %q", v), with(noAuth(), set(1, "FirstBurstLength", v)))
			bad[protocol](t, fmt.Sprintf("MaxRecvDataSegmentLength is %q", v), with(noAuth(), set(1, "MaxRecvDataSegmentLength", v)))
		}
		if res := good(t, 1, with(noAuth(), set(1, "FirstBurstLength", "0x1000"))); res.FirstBurstLength != 4096 {
			t.Errorf("0x1000 is %d", res.FirstBurstLength)
		}
		if res := good(t, 1, with(noAuth(), set(1, "FirstBurstLength", "0X00000fFf"))); res.FirstBurstLength != 4095 {
			t.Errorf("0X00000fFf is %d", res.FirstBurstLength)
		}
		for _, v := range []string{"yes", "YES", "1", "", "Yes,No"} {
			bad[protocol](t, "expected Yes or No", with(noAuth(), set(1, "InitialR2T", v)))
		}
	})
	t.Run("N4 answers beyond the offer", func(t *testing.T) {
		all := func(c *login.Config) { c.Offer.InitialR2T, c.Offer.ImmediateData = true, false }
		for key, v := range map[string]string{
			"MaxBurstLength": "16777215", "FirstBurstLength": "262145", "MaxOutstandingR2T": "2", "MaxConnections": "2",
			"ErrorRecoveryLevel": "1", "DefaultTime2Wait": "1", "DefaultTime2Retain": "1", "InitialR2T": "No", "ImmediateData": "Yes",
			"DataPDUInOrder": "No", "DataSequenceInOrder": "No",
		} {
			bad[protocol](t, "no answer to our offer", with(noAuth(), set(1, key, v)), all)
		}
	})
	t.Run("N4 FirstBurstLength above MaxBurstLength", func(t *testing.T) {
		tc := noAuth()
		tc.Keys = map[string]string{"MaxBurstLength": "65536", "FirstBurstLength": "131072"}
		if res := good(t, 1, tc); res.FirstBurstLength != 65536 || res.MaxBurstLength != 65536 {
			t.Errorf("%d above %d", res.FirstBurstLength, res.MaxBurstLength)
		}
	})
	t.Run("N5 digests", func(t *testing.T) {
		for _, c := range []struct {
			offer  []login.Digest
			target string
			want   login.Digest // "": failure
		}{
			{[]login.Digest{"None"}, "CRC32C,None", "None"},
			{[]login.Digest{"CRC32C"}, "CRC32C,None", "CRC32C"},
			{[]login.Digest{"CRC32C", "None"}, "CRC32C,None", "CRC32C"},
			{[]login.Digest{"None", "CRC32C"}, "CRC32C,None", "None"},
			{[]login.Digest{"None", "CRC32C"}, "CRC32C", "CRC32C"},
			{[]login.Digest{"CRC32C", "None"}, "None", "None"},
			{[]login.Digest{"CRC32C", "None"}, "SHA1", "None"}, // the target says Reject
			{[]login.Digest{"CRC32C"}, "None", ""},
		} {
			tc := noAuth()
			tc.Keys = map[string]string{"HeaderDigest": c.target, "DataDigest": c.target}
			if c.want == "" {
				bad[protocol](t, "does not agree to CRC32C", tc, digests(c.offer...))
				continue
			}
			res := good(t, 1, tc, digests(c.offer...))
			if d := cmp.Diff([][]login.Digest{{c.want}, {c.want}}, [][]login.Digest{res.HeaderDigest, res.DataDigest}); d != "" {
				t.Errorf("%v at %s: %s", c.offer, c.target, d)
			}
		}
	})
	t.Run("N6 declarations", func(t *testing.T) {
		tc := noAuth()
		tc.Keys = map[string]string{"MaxRecvDataSegmentLength": "-"}
		if res := good(t, 1, tc); res.MaxXmitDataSegmentLength != 8192 {
			t.Errorf("MaxXmitDataSegmentLength %d", res.MaxXmitDataSegmentLength)
		}
		for stage := 1; stage <= 4; stage++ {
			tc := mutual()
			tc.Keys = map[string]string{"MaxRecvDataSegmentLength": "-"}
			res := good(t, 4, with(tc, at(stage, func(a *answer) {
				a.Set("TargetAlias", "disk")
				a.Set("TargetAddress", "10.0.0.1:3260,1")
				a.Set("MaxRecvDataSegmentLength", "4096")
				a.Set("X#NodeArchitecture", "target/1.0,Linux/6.1")
				a.Set("TargetPortalGroupTag", "1")
			})))
			if res.MaxXmitDataSegmentLength != 4096 {
				t.Errorf("MaxXmitDataSegmentLength %d", res.MaxXmitDataSegmentLength)
			}
			if res.TargetAlias != "disk" || res.TargetPortalGroupTag != 1 {
				t.Errorf("alias %q, tag %d", res.TargetAlias, res.TargetPortalGroupTag)
			}
		}
	})
	t.Run("N6 portal group tag", func(t *testing.T) {
		if res := good(t, 1, with(noAuth(), func(a *answer) { a.Delete("TargetPortalGroupTag") })); res.TargetPortalGroupTag != 0 {
			t.Errorf("tag %d of a target that sends none", res.TargetPortalGroupTag)
		}
		if res := good(t, 1, with(noAuth(), set(1, "TargetPortalGroupTag", "65535"))); res.TargetPortalGroupTag != 65535 {
			t.Errorf("tag %d", res.TargetPortalGroupTag)
		}
		for _, v := range []string{"", "-1", "65536", "one"} {
			bad[protocol](t, "TargetPortalGroupTag", with(noAuth(), set(1, "TargetPortalGroupTag", v)))
		}
		bad[protocol](t, "twice", with(oneWay(), set(4, "TargetPortalGroupTag", "2")))
	})
	t.Run("N7 the target proposes first", func(t *testing.T) {
		for _, c := range []struct{ key, value, answer string }{
			{"iSCSIProtocolLevel", "2", "1"},
			{"iSCSIProtocolLevel", "0", "0"},
			{"TaskReporting", "FastAbort,RFC3720", "RFC3720"},
			{"TaskReporting", "FastAbort", "Reject"},
		} {
			_, target, err := try(t, propose(c.key, c.value))
			if err != nil {
				t.Fatal(err)
			}
			if got := keysOf(t, target.Logins()[1])[c.key]; got != c.answer {
				t.Errorf("%s=%s is answered %q, want %q", c.key, c.value, got, c.answer)
			}
		}
		// In the security stage, before our offers: answered, and then not offered.
		_, target, err := try(t, with(oneWay(), at(1, func(a *answer) {
			for _, p := range []pdu.Pair{
				{Key: "FirstBurstLength", Value: "65536"}, {Key: "MaxBurstLength", Value: "16777215"}, {Key: "InitialR2T", Value: "Yes"},
				{Key: "ImmediateData", Value: "No"}, {Key: "DefaultTime2Wait", Value: "5"}, {Key: "HeaderDigest", Value: "CRC32C,None"},
			} {
				a.Set(p.Key, p.Value)
			}
		})))
		if err != nil {
			t.Fatal(err)
		}
		ms := target.Logins()
		want := map[string]string{
			"CHAP_A": "8,7,6,5", "FirstBurstLength": "65536", "MaxBurstLength": "16776192", "InitialR2T": "Yes", "ImmediateData": "No",
			"DefaultTime2Wait": "5", "HeaderDigest": "None",
		}
		if d := cmp.Diff(want, keysOf(t, ms[1])); d != "" {
			t.Error(d)
		}
		for key := range want {
			if _, ok := keysOf(t, ms[3])[key]; ok {
				t.Errorf("%s is offered after it was agreed", key)
			}
		}
	})
	t.Run("N7 results", func(t *testing.T) {
		tc := noAuth()
		tc.Keys = map[string]string{
			"InitialR2T": "Yes", "ImmediateData": "No", "MaxBurstLength": "131072", "FirstBurstLength": "1024", "DefaultTime2Wait": "9",
			"MaxOutstandingR2T": "3", "DefaultTime2Retain": "7", "ErrorRecoveryLevel": "1",
		}
		offer := func(c *login.Config) {
			c.Offer.MaxOutstandingR2T, c.Offer.DefaultTime2Retain, c.Offer.ErrorRecoveryLevel, c.Offer.MaxConnections = 8, 20, 2, 4
			c.Offer.DataPDUInOrder, c.Offer.DataSequenceInOrder = false, false
		}
		want := login.Params{
			HeaderDigest: []login.Digest{"None"}, DataDigest: []login.Digest{"None"}, InitialR2T: true, MaxRecvDataSegmentLength: 262144,
			MaxBurstLength: 131072, FirstBurstLength: 1024, DefaultTime2Wait: 9, DefaultTime2Retain: 7, MaxOutstandingR2T: 3,
			MaxConnections: 4, ErrorRecoveryLevel: 1,
		}
		if d := cmp.Diff(want, good(t, 1, tc, offer).Params); d != "" {
			t.Error(d)
		}
	})
	t.Run("N8 names and keys of an initiator", func(t *testing.T) {
		for _, key := range []string{"InitiatorName", "InitiatorAlias", "TargetName", "SessionType", "SendTargets"} {
			bad[protocol](t, "only an initiator", with(noAuth(), set(1, key, "Normal")))
		}
	})
	t.Run("N9 discovery", func(t *testing.T) {
		discover := func(c *login.Config) { c.Discovery, c.TargetName = true, "" }
		good(t, 1, with(noAuth(), at(1, func(a *answer) { a.Login.TSIH = 0 })), discover)
		_, target, err := try(t, propose("MaxConnections", "4"), discover)
		if err != nil {
			t.Fatal(err)
		}
		if got := keysOf(t, target.Logins()[1])["MaxConnections"]; got != "Irrelevant" {
			t.Errorf("MaxConnections is answered %q", got)
		}
		bad[*login.StatusError](t, "the discovery portal", oneWay(), discover, func(c *login.Config) { c.CHAP = nil })
	})
}
