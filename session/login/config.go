package login

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Secret is a CHAP secret. It prints as "***" by every verb of fmt that calls
// methods, which is all but %T and %p.
type Secret string

// String returns "***", or "" when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb. Without it %d would print the secret.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// Format prints the credentials in one way for every verb. Without it %s of
// what points to a CHAP would print the secrets: fmt calls no methods below a
// pointer that its verb does not fit.
func (c CHAP) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%q %v %q %v %v}", c.Username, c.Secret, c.UsernameIn, c.SecretIn, c.Algorithms)
}

// Digest is one value of HeaderDigest or DataDigest (RFC 7143, 13.1).
type Digest string

// The digests.
const (
	DigestNone   Digest = "None"
	DigestCRC32C Digest = "CRC32C"
)

// maxName is the length of the longest iSCSI name (RFC 7143, 4.2.7.1).
const maxName = 223

// mutual tells whether the target must prove itself.
func (c *CHAP) mutual() bool { return c.UsernameIn != "" || c.SecretIn != "" }

// MD5Alone returns the same credentials for one more login, see RetryMD5.
func (c *CHAP) MD5Alone() *CHAP {
	md5 := *c
	md5.Algorithms = []Algorithm{MD5}
	return &md5
}

// algorithms is what is offered, strongest first when nothing is configured.
func (c *CHAP) algorithms() []Algorithm {
	if len(c.Algorithms) == 0 {
		return []Algorithm{SHA3256, SHA256, SHA1, MD5}
	}
	return c.Algorithms
}

// check finds what would be wrong with a login before it begins.
func (c *Config) check() error {
	fail := func(format string, args ...any) error {
		return &ConfigError{fmt.Sprintf(format, args...)}
	}
	if c.InitiatorName == "" {
		return fail("the initiator has no name")
	}
	if c.TargetName == "" && !c.Discovery {
		return fail("no target name given")
	}
	for _, name := range []string{c.InitiatorName, c.InitiatorAlias, c.TargetName} {
		if len(name) > maxName || strings.ContainsRune(name, 0) {
			return fail("the name %.40q has %d bytes or a NUL among them, at most %d are allowed", name, len(name), maxName)
		}
	}
	if err := newKeys(c).checkOffer(); err != nil {
		return fail("%v", err)
	}
	if c.CHAP == nil {
		return nil
	}
	for _, name := range []string{c.CHAP.Username, c.CHAP.UsernameIn} {
		if strings.ContainsRune(name, 0) || len(name) > 255 {
			return fail("a CHAP user name has more than 255 bytes or a NUL among them")
		}
	}
	switch {
	case c.CHAP.Secret == "":
		return fail("no secret for CHAP user %q", c.CHAP.Username)
	case c.CHAP.mutual() && c.CHAP.SecretIn == "":
		return fail("mutual CHAP is asked for, and no secret of the target %q is given", c.CHAP.UsernameIn)
	case c.CHAP.SecretIn == c.CHAP.Secret: // RFC 7143, 9.2.1
		return fail("CHAP has the same secret in both directions: give the target another one")
	}
	for i, a := range c.CHAP.algorithms() {
		if a.hash() == nil {
			return fail("CHAP has no algorithm %d", int(a))
		}
		if slices.Contains(c.CHAP.algorithms()[:i], a) {
			return fail("a CHAP algorithm is named twice")
		}
	}
	return nil
}
