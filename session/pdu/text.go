package pdu

import (
	"strings"
)

// Bounds of a text (RFC 7143, 6.1). A value may be longer than the RFC's 255
// bytes: binary values of 1024 bytes take 2050 in hexadecimal.
const (
	MaxText  = 64 << 10 // what the C bit may put together
	MaxKey   = 63
	MaxValue = 8192
)

// Pair is one key=value of a text.
type Pair struct{ Key, Value string }

// AppendText appends the pairs to b, each as key=value and a NUL. Neither keys
// nor values may hold a NUL, nor keys a '='.
func AppendText(b []byte, pairs ...Pair) []byte {
	for _, p := range pairs {
		b = append(b, p.Key...)
		b = append(b, '=')
		b = append(b, p.Value...)
		b = append(b, 0)
	}
	return b
}

// ParseText splits a text into its pairs, in order and with repetitions. It
// takes a last pair without its NUL, as some targets send it, and skips empty
// strings. Values are kept byte by byte: they need not be UTF-8.
func ParseText(b []byte) ([]Pair, error) {
	if len(b) > MaxText {
		return nil, malformed("text", MaxText, "%d bytes, at most %d are taken", len(b), MaxText)
	}
	var pairs []Pair
	off := 0
	for _, line := range strings.Split(string(b), "\x00") {
		if line != "" {
			key, value, ok := strings.Cut(line, "=")
			switch {
			case !ok:
				return nil, malformed("text", off, "%.40q has no '='", line)
			case len(key) == 0 || len(key) > MaxKey:
				return nil, malformed("text", off, "a key of %d bytes, expected 1 to %d", len(key), MaxKey)
			case !isKey(key):
				return nil, malformed("text", off, "%q is not a key", key)
			case len(value) > MaxValue:
				return nil, malformed("text", off, "%s has a value of %d bytes, at most %d are taken", key, len(value), MaxValue)
			}
			pairs = append(pairs, Pair{key, value})
		}
		off += len(line) + 1
	}
	return pairs, nil
}

// isKey tells whether key holds visible ASCII only. It is wider than RFC 7143,
// 6.1, which X#NodeArchitecture itself does not keep to.
func isKey(key string) bool {
	for _, c := range key {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
