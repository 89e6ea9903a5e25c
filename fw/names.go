package fw

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checkName checks an iSCSI name that a person wrote. What is not its form is
// an error; what only strays from RFC 3722 is a warning, as targets take it.
func (r *report) checkName(name string) error {
	odd, err := checkName(name)
	if err != nil {
		return err
	}
	if odd != "" {
		r.warn(r.place, ": the iSCSI name ", quote(name), " ", odd)
	}
	return nil
}

// checkName checks an iSCSI name by RFC 7143, 4.2.7: the error says that it is
// none, odd that it has characters which RFC 3722 leaves out. Beyond ASCII that
// is what cannot be seen, the full stop U+3002 and letters of another width; a
// name is not brought into normal form (NFKC).
func checkName(name string) (odd string, err error) {
	if name == "" {
		return "", errors.New("the iSCSI name is empty")
	}
	if len(name) > 223 {
		return "", fmt.Errorf("the iSCSI name has %d bytes, and 223 is the most", len(name))
	}
	for _, r := range name {
		switch {
		case r <= ' ' || r == 0x7f || r == utf8.RuneError || r >= 0x80 && !strconv.IsPrint(r):
			return "", errors.New("the iSCSI name has a blank, a control character or one that cannot be seen")
		case r == 0x3002 || r >= 0xff00 && r <= 0xffef:
			odd = fmt.Sprintf("has a character that RFC 3722 leaves out: %q", r)
		case r == '-' || r == '.' || r == ':' || isDigit(r) || isLetter(r) || r >= 0x80:
		default:
			odd = fmt.Sprintf("has a character that RFC 3722 leaves out: %q", r)
		}
	}
	kind, rest, _ := strings.Cut(name, ".")
	switch kind {
	case "iqn":
		return odd, checkIQN(rest)
	case "eui":
		if len(rest) != 16 || !isHex(rest) {
			return "", errors.New("an eui. name has 16 hexadecimal digits")
		}
		return "", nil
	case "naa":
		if len(rest) != 16 && len(rest) != 32 || !isHex(rest) {
			return "", errors.New("a naa. name has 16 or 32 hexadecimal digits")
		}
		return "", nil
	}
	if lower := strings.ToLower(kind); lower == "iqn" || lower == "eui" || lower == "naa" {
		return "", fmt.Errorf("an iSCSI name is in lower case: %s", strings.ToLower(name))
	}
	return "", errors.New("an iSCSI name starts with iqn., eui. or naa., and this one does not")
}

// checkIQN checks what follows "iqn.": yyyy-mm.REVERSED-DOMAIN[:TEXT] (RFC
// 7143, 4.2.7.4).
func checkIQN(s string) error {
	if s != strings.ToLower(s) {
		return fmt.Errorf("an iSCSI name is in lower case: iqn.%s", strings.ToLower(s))
	}
	date, domain, ok := strings.Cut(s, ".")
	if !ok || len(date) != 7 || date[4] != '-' || strings.Trim(date[:4]+date[5:], "0123456789") != "" ||
		date[5:] < "01" || date[5:] > "12" {
		return errors.New("after iqn. stands the year and the month in which the domain was held: iqn.2009-06.com.example:disk")
	}
	domain, _, _ = strings.Cut(domain, ":")
	if domain == "" {
		return errors.New("after the date stands a domain, its last part first: iqn.2009-06.com.example:disk")
	}
	return nil
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
