package modules

import (
	"path"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"abc", "abc", true},
		{"abc", "abcd", false},
		{"abcd", "abc", false},
		{"*", "", true},
		{"*", "a/b.c", true}, // other than path.Match
		{"a*b*c", "a1b2b3c", true},
		{"a*b*c", "a1b2b3", false},
		{"a**", "a", true},
		{"?", "/", true},
		{"a?c", "ac", false},
		{"[ab]x", "bx", true},
		{"[ab]x", "cx", false},
		{"[0-9A-F]", "E", true},
		{"[0-9A-F]", "e", false},
		{"[!0-9]", "a", true},
		{"[^0-9]", "5", false},
		{"[]a]", "]", true},
		{"[a-]", "-", true},
		{"[a", "[a", true}, // not closed: itself
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\`, `a\`, true},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", true},
		{"pci:v00008086d00001521sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", false},
		{"usb:v0BDAp8152d*dc*dsc*dp*icFFiscFFip00in*", "usb:v0BDAp8152d2000dc00dsc00dp00icFFiscFFip00in00", true},
		{"cpu:type:x86,ven*fam*mod*:feature:*0094*", "cpu:type:x86,ven0000fam0006mod0006:feature:,0000,0094,0095", true},
		{"cpu:type:x86,ven*fam*mod*:feature:*0094*", "cpu:type:x86,ven0000fam0006mod0006:feature:,0000,0095", false},
		{"of:N*T*Cbrcm,genet", "of:NethernetT(null)Cbrcm,genet", true},
	} {
		if got := match(test.pattern, test.s); got != test.want {
			t.Errorf("match(%q, %q) = %t, want %t", test.pattern, test.s, got, test.want)
		}
	}
}

func TestNormalize(t *testing.T) {
	for _, test := range []struct{ pattern, want string }{
		{"a_b*", "a_b*"},
		{"a-b*c-d", "a_b*c_d"},
		{"a-[0-9]-b", "a_[0-9]_b"},
	} {
		if got := normalize(test.pattern); got != test.want {
			t.Errorf("normalize(%q) = %q, want %q", test.pattern, got, test.want)
		}
	}
}

// Where path.Match means the same, it is the second opinion.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?[c-e]*", "a1b2d3")
	f.Add("pci:v00001AF4d*sv*", "pci:v00001AF4d00001000sv00001AF4")
	f.Add("[", "[")
	f.Add(`\*[^x]`, "*y")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		got := match(pattern, s)
		// Not the same there: slashes, characters of several bytes, ! and
		// what path.Match calls malformed.
		if strings.ContainsAny(pattern+s, "/!\\]") || strings.IndexFunc(pattern+s, func(r rune) bool { return r > 126 }) >= 0 {
			return
		}
		if want, err := path.Match(pattern, s); err == nil && got != want {
			t.Errorf("match(%q, %q) = %t, want %t", pattern, s, got, want)
		}
	})
}
