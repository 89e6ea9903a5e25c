package login

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/session/login/digest"
	"github.com/rootlun/rootlun/session/pdu"
)

// Algorithm is a CHAP_A value (RFC 7143, 12.1.3; IANA's PPP registry).
type Algorithm int

// The digests of CHAP.
const (
	MD5     Algorithm = 5
	SHA1    Algorithm = 6
	SHA256  Algorithm = 7
	SHA3256 Algorithm = 8
)

func (a Algorithm) String() string {
	switch a {
	case 0:
		return "none"
	case MD5:
		return "MD5"
	case SHA1:
		return "SHA1"
	case SHA256:
		return "SHA-256"
	case SHA3256:
		return "SHA3-256"
	}
	return fmt.Sprintf("algorithm %d", int(a))
}

// hash returns the hash function, or nil for an unknown algorithm.
func (a Algorithm) hash() func(message []byte) []byte {
	switch a {
	case MD5:
		return digest.MD5
	case SHA1:
		return digest.SHA1
	case SHA256:
		return digest.SHA256
	case SHA3256:
		return digest.SHA3
	}
	return nil
}

// respond computes a CHAP response (RFC 1994, 4.1).
func (a Algorithm) respond(id byte, secret Secret, challenge []byte) []byte {
	return a.hash()(append(append([]byte{id}, secret...), challenge...))
}

// isAuthKey tells whether key belongs to the security stage.
func isAuthKey(key string) bool {
	return key == "AuthMethod" || strings.HasPrefix(key, "CHAP_")
}

// chooseAuthMethod offers CHAP and, unless it is optional, nothing else: a list
// that ends in None lets anybody in between talk us out of authentication.
func (e *engine) chooseAuthMethod(ctx context.Context) error {
	optional := e.cfg.CHAP.Optional && !e.cfg.CHAP.mutual()
	offer := "CHAP"
	if optional {
		offer = "CHAP,None"
	}
	keys := append(e.names(), pdu.Pair{Key: "AuthMethod", Value: offer})
	if err := e.ask(ctx, keys, false, "AuthMethod"); err != nil {
		return err
	}
	switch v := e.auth["AuthMethod"]; {
	case v == "CHAP":
		return nil
	case v == "None" && optional:
		return e.ask(ctx, nil, true) // out of the stage
	default:
		return e.authErrorf("the target answered AuthMethod=%.40q to our %s; check its authentication settings", v, offer)
	}
}

// chooseAlgorithm offers the digests and receives the target's challenge.
func (e *engine) chooseAlgorithm(ctx context.Context) error {
	if e.stage != pdu.Security {
		return nil // no authentication takes place
	}
	known := e.cfg.CHAP.algorithms()
	list := make([]string, len(known))
	for i, a := range known {
		list[i] = strconv.Itoa(int(a))
	}
	offer := pdu.Pair{Key: "CHAP_A", Value: strings.Join(list, ",")}
	e.askedCHAP = true
	if err := e.ask(ctx, []pdu.Pair{offer}, false, "CHAP_A", "CHAP_I", "CHAP_C"); err != nil {
		return err
	}
	n, err := parseNumber(e.auth["CHAP_A"])
	if err != nil || !slices.Contains(known, Algorithm(n)) {
		return e.authErrorf("the target answered CHAP_A=%.40q to our list %s", e.auth["CHAP_A"], offer.Value)
	}
	e.algorithm = Algorithm(n)
	return nil
}

// authenticate answers the target's challenge and, in mutual CHAP, sends ours
// and checks what comes back.
func (e *engine) authenticate(ctx context.Context) error {
	if e.stage != pdu.Security {
		return nil
	}
	chap := e.cfg.CHAP
	id, err := parseNumber(e.auth["CHAP_I"])
	if err != nil || id > 255 {
		return e.authErrorf("the target sent CHAP_I=%.40q, expected a number from 0 to 255", e.auth["CHAP_I"])
	}
	challenge, err := decodeBinary(e.auth["CHAP_C"])
	if err != nil {
		return e.authErrorf("the target sent a bad CHAP_C: %v", err)
	}
	response := e.algorithm.respond(byte(id), chap.Secret, challenge)
	keys := []pdu.Pair{{Key: "CHAP_N", Value: chap.Username}, {Key: "CHAP_R", Value: encodeBinary(response)}}
	if !chap.mutual() {
		return e.ask(ctx, keys, true)
	}

	// The identifier differs from the target's, and the challenge is as long as
	// the digest (RFC 7143, 9.2.1: responses cannot serve both directions).
	ownID := byte(id) + 1
	own := make([]byte, len(response))
	if _, err := e.random(own, 0); err != nil { // all of so few bytes: random(7)
		return e.authErrorf("no random challenge: %v", err)
	}
	if bytes.Equal(own, challenge) { // RFC 7143, 9.2.1
		return e.authErrorf("the target's challenge is ours")
	}
	keys = append(keys, pdu.Pair{Key: "CHAP_I", Value: strconv.Itoa(int(ownID))}, pdu.Pair{Key: "CHAP_C", Value: encodeBinary(own)})
	if err := e.ask(ctx, keys, true, "CHAP_N", "CHAP_R"); err != nil {
		return err
	}
	name, named := e.auth["CHAP_N"]
	if !named || chap.UsernameIn != "" && name != chap.UsernameIn {
		return e.authErrorf("the target calls itself %.100q, expected %q", name, chap.UsernameIn)
	}
	got, err := decodeBinary(e.auth["CHAP_R"])
	switch {
	case err != nil:
		return e.authErrorf("the target sent a bad CHAP_R: %v", err)
	case bytes.Equal(got, response):
		return e.authErrorf("the target sent our own response back: it does not know its secret")
	case !equal(got, e.algorithm.respond(ownID, chap.SecretIn, own)):
		return e.authErrorf("the target could not prove itself: its secret is not the one configured for it")
	}
	return nil
}

// maxBinary is the length of the longest binary value (RFC 7143, 12.1.3).
const maxBinary = 1024

// encodeBinary writes a binary value in hexadecimal (RFC 7143, 6.1).
func encodeBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }

// decodeBinary reads a binary value of 1 to maxBinary bytes, in hexadecimal
// behind 0x or in Base64 behind 0b (RFC 7143, 6.1).
func decodeBinary(s string) ([]byte, error) {
	if len(s) < 3 || s[0] != '0' {
		return nil, errors.New("expected 0x or 0b and a value")
	}
	if len(s) > 2+2*maxBinary {
		return nil, fmt.Errorf("more than %d bytes", maxBinary)
	}
	var b []byte
	var ok bool
	switch digits := s[2:]; s[1] {
	case 'x', 'X':
		var err error
		b, err = hex.DecodeString(digits)
		ok = err == nil
	case 'b', 'B':
		b, ok = decodeBase64(digits)
	default:
		return nil, errors.New("expected 0x or 0b and a value")
	}
	switch {
	case !ok:
		return nil, errors.New("neither hexadecimal nor Base64")
	case len(b) == 0 || len(b) > maxBinary:
		return nil, fmt.Errorf("%d bytes, expected 1 to %d", len(b), maxBinary)
	}
	return b, nil
}

// equal compares in a time that does not tell where a and b differ.
func equal(a, b []byte) bool {
	var difference byte
	for i := range min(len(a), len(b)) {
		difference |= a[i] ^ b[i]
	}
	return difference == 0 && len(a) == len(b)
}
