package digest

import (
	"encoding/binary"
	"math/bits"
)

// SHA3 returns the 32 bytes of a message's SHA3-256.
func SHA3(message []byte) []byte {
	const rate = 136
	b := append(append([]byte(nil), message...), 0x06)
	for len(b)%rate != 0 {
		b = append(b, 0)
	}
	b[len(b)-1] |= 0x80
	var a [25]uint64
	for ; len(b) > 0; b = b[rate:] {
		for i := range rate / 8 {
			a[i] ^= binary.LittleEndian.Uint64(b[8*i:])
		}
		keccak(&a)
	}
	var out []byte
	for _, w := range a[:4] {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return out
}

// keccak is the permutation Keccak-f[1600] (FIPS 202, 3.3). The state's lane x, y is
// a[x+5*y]; the round constants come from their shift register (3.2.5).
func keccak(a *[25]uint64) {
	lfsr := byte(1)
	for range 24 {
		var c [5]uint64
		for i, v := range a {
			c[i%5] ^= v
		}
		for i := range a {
			a[i] ^= c[(i+4)%5] ^ bits.RotateLeft64(c[(i+1)%5], 1)
		}
		x, y, last := 1, 0, a[1]
		for t := range 24 {
			x, y = y, (2*x+3*y)%5
			last, a[x+5*y] = a[x+5*y], bits.RotateLeft64(last, (t+1)*(t+2)/2)
		}
		for y := 0; y < 25; y += 5 {
			row := [5]uint64(a[y:])
			for x := range row {
				a[y+x] = row[x] ^ ^row[(x+1)%5]&row[(x+2)%5]
			}
		}
		for j := range 7 {
			if lfsr&1 != 0 {
				a[0] ^= 1 << (1<<j - 1)
			}
			carry := lfsr >> 7
			lfsr = lfsr<<1 ^ carry*0x71
		}
	}
}
