package login

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// TestDecodeBase64 holds it against the library's.
func TestDecodeBase64(t *testing.T) {
	for _, s := range []string{
		"", "=", "==", "====", "A", "AA", "AA=", "AA==", "AB==", "AAA=", "AAB=", "AAAA", "AAAA====", "AAA==", "A===",
		"////", "+/+/", "-_-_", "AA=A", "=AAA", "AA A", "AAAAAA==", "AAAAAAA=", "AAAAAAAA", "AAAA\xffAAA", strings.Repeat("Qk8=", 2),
		base64.StdEncoding.EncodeToString([]byte("\x00\x01\xfe\xff a challenge of some bytes")),
	} {
		want, err := base64.StdEncoding.Strict().DecodeString(s)
		got, ok := decodeBase64(s)
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Errorf("%q: got %x, %t, want %x, %v", s, got, ok, want, err)
		}
	}
}

func FuzzDecodeBase64(f *testing.F) {
	f.Add("AAB=")
	f.Add("c29tZSBieXRlcw==")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") { // the library passes over them
			return
		}
		want, err := base64.StdEncoding.Strict().DecodeString(s)
		got, ok := decodeBase64(s)
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Errorf("%q: got %x, %t, want %x, %v", s, got, ok, want, err)
		}
	})
}
