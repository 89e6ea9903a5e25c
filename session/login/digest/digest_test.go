package digest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"hash"
	"math/rand/v2"
	"testing"
)

// TestAgainstStandardLibrary compares messages of each length around all block
// sizes, and of random bytes.
func TestAgainstStandardLibrary(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, d := range []struct {
		name string
		sum  func([]byte) []byte
		want func() hash.Hash
	}{
		{"MD5", MD5, md5.New}, {"SHA-1", SHA1, sha1.New}, {"SHA-256", SHA256, sha256.New},
		{"SHA3-256", SHA3, func() hash.Hash { return sha3.New256() }},
	} {
		for length := range 700 {
			message := make([]byte, length)
			_, _ = random.Read(message)
			kept := bytes.Clone(message)
			want := d.want()
			want.Write(message)
			if got := d.sum(message); !bytes.Equal(got, want.Sum(nil)) {
				t.Fatalf("%s of %x is %x, not %x", d.name, message, got, want.Sum(nil))
			}
			if !bytes.Equal(message, kept) {
				t.Fatalf("%s changes its message", d.name)
			}
		}
	}
}
