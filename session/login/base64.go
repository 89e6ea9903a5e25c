package login

import "strings"

// decodeBase64 reads Base64 with its padding (RFC 4648, 4). The bits behind the
// last byte must be 0, so that a value has one form.
func decodeBase64(s string) (b []byte, ok bool) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	digits := strings.TrimRight(s, "=")
	if len(s)%4 != 0 || len(s)-len(digits) > 2 {
		return nil, false
	}
	var bits uint16 // that no byte has taken are the last left
	left := 0
	for i := range len(digits) {
		v := strings.IndexByte(alphabet, digits[i])
		if v < 0 {
			return nil, false
		}
		bits = bits<<6 | uint16(v)
		if left += 6; left >= 8 {
			left -= 8
			b = append(b, byte(bits>>left))
		}
	}
	return b, bits<<(16-left) == 0
}
