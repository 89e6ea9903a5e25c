package targettest

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/session/pdu"
)

// proof is where a connection is with CHAP.
type proof struct {
	algorithm int
	id        byte
	challenge []byte
	done      bool
}

// login answers one whole text of the initiator's.
func (c *conn) login(req pdu.LoginRequest, resp *pdu.LoginResponse, pairs []pdu.Pair) []pdu.Pair {
	got := map[string]string{}
	for _, p := range pairs {
		if c.offered[p.Key] {
			c.broken("sent %s twice", p.Key)
		}
		c.offered[p.Key] = true
		got[p.Key] = p.Value
	}
	refuse := func(code uint16) []pdu.Pair {
		resp.StatusClass, resp.StatusDetail = byte(code>>8), byte(code)
		return nil
	}
	var keys []pdu.Pair
	if name, ok := got["InitiatorName"]; ok {
		c.discovery = got["SessionType"] == "Discovery"
		switch {
		case name == "" || !c.discovery && got["TargetName"] == "":
			return refuse(0x0207)
		case !c.discovery && got["TargetName"] != c.cfg.TargetName:
			return refuse(0x0203)
		case !c.discovery:
			keys = append(keys, pdu.Pair{Key: "TargetPortalGroupTag", Value: "1"})
		}
		if c.cfg.Alias != "" {
			keys = append(keys, pdu.Pair{Key: "TargetAlias", Value: c.cfg.Alias})
		}
	} else if !c.offered["InitiatorName"] {
		return refuse(0x0207)
	}

	wanted := c.cfg.Secret != "" && !c.proof.done
	if c.stage == pdu.Security {
		more, code := c.security(got)
		if code != 0 {
			return refuse(code)
		}
		keys = append(keys, more...)
		wanted = c.cfg.Secret != "" && !c.proof.done
	} else {
		if wanted {
			return refuse(0x0201)
		}
		for _, p := range pairs {
			if v, ok := c.answer(p); ok {
				keys = append(keys, pdu.Pair{Key: p.Key, Value: v})
			}
		}
	}
	if req.Transit && !wanted {
		resp.Transit, resp.NSG = true, req.NSG
		if req.NSG == pdu.FullFeature {
			resp.TSIH = uint16(c.number)
		}
	}
	return keys
}

// security answers the keys of the security stage, or gives a status.
func (c *conn) security(got map[string]string) (keys []pdu.Pair, status uint16) {
	if methods, ok := got["AuthMethod"]; ok {
		want := "None"
		if c.cfg.Secret != "" {
			want = "CHAP"
		}
		if !slices.Contains(strings.Split(methods, ","), want) {
			return nil, 0x0201
		}
		keys = append(keys, pdu.Pair{Key: "AuthMethod", Value: want})
	}
	if list, ok := got["CHAP_A"]; ok {
		for s := range strings.SplitSeq(list, ",") {
			if n, _ := strconv.Atoi(s); slices.Contains(c.cfg.Algorithms, n) {
				c.proof.algorithm = n
				break
			}
		}
		if c.proof.algorithm == 0 {
			return nil, 0x0201
		}
		var random [17]byte
		rand.Read(random[:])
		c.proof.id, c.proof.challenge = random[16], random[:16]
		keys = append(keys,
			pdu.Pair{Key: "CHAP_A", Value: strconv.Itoa(c.proof.algorithm)},
			pdu.Pair{Key: "CHAP_I", Value: strconv.Itoa(int(c.proof.id))},
			pdu.Pair{Key: "CHAP_C", Value: fmt.Sprintf("0x%X", c.proof.challenge)})
	}
	if response, ok := got["CHAP_R"]; ok {
		want := fmt.Sprintf("0x%x", Response(c.proof.algorithm, c.proof.id, c.cfg.Secret, c.proof.challenge))
		if got["CHAP_N"] != c.cfg.Username || response != want {
			return nil, 0x0201
		}
		c.proof.done = true
		if theirs, ok := got["CHAP_C"]; ok {
			id, _ := strconv.Atoi(got["CHAP_I"])
			challenge, err := hex.DecodeString(strings.TrimPrefix(theirs, "0x"))
			if err != nil || len(challenge) < 16 {
				c.broken("sent the challenge %q", theirs)
			}
			keys = append(keys,
				pdu.Pair{Key: "CHAP_N", Value: c.cfg.UsernameIn},
				pdu.Pair{Key: "CHAP_R", Value: fmt.Sprintf("0x%x", Response(c.proof.algorithm, byte(id), c.cfg.SecretIn, challenge))})
		}
	}
	return keys, 0
}

// Response computes a CHAP response with the digest that a CHAP_A value names.
func Response(algorithm int, id byte, secret string, challenge []byte) []byte {
	b := append(append([]byte{id}, secret...), challenge...)
	switch algorithm {
	case 5:
		d := md5.Sum(b)
		return d[:]
	case 6:
		d := sha1.Sum(b)
		return d[:]
	case 7:
		d := sha256.Sum256(b)
		return d[:]
	case 8:
		d := sha3.Sum256(b)
		return d[:]
	}
	return nil
}

// answer answers one operational key. ok is false for what gets no answer.
func (c *conn) answer(p pdu.Pair) (value string, ok bool) {
	own, set := c.cfg.Keys[p.Key]
	switch {
	case own == "-":
		return "", false
	case p.Value == "NotUnderstood" || p.Value == "Irrelevant" || p.Value == "Reject":
		return "", false // the answer to what a script has proposed
	}
	pick := func(generous string) string {
		if !set {
			return generous
		}
		return own
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			c.broken("sent %s=%s", p.Key, p.Value)
		}
		return n
	}
	switch p.Key {
	case "MaxRecvDataSegmentLength":
		return pick("262144"), true
	case "HeaderDigest", "DataDigest":
		for d := range strings.SplitSeq(p.Value, ",") {
			if slices.Contains(strings.Split(pick("CRC32C,None"), ","), d) {
				return d, true
			}
		}
		return "Reject", true
	case "DefaultTime2Wait":
		return strconv.Itoa(max(number(p.Value), number(pick("0")))), true
	case "MaxBurstLength", "FirstBurstLength", "MaxOutstandingR2T", "MaxConnections", "ErrorRecoveryLevel", "DefaultTime2Retain":
		return strconv.Itoa(min(number(p.Value), number(pick("16777215")))), true
	case "InitialR2T", "DataPDUInOrder", "DataSequenceInOrder":
		if p.Value == "Yes" {
			return "Yes", true
		}
		return pick("No"), true
	case "ImmediateData":
		if p.Value == "No" {
			return "No", true
		}
		return pick("Yes"), true
	}
	return "", false
}
