package login

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/session/pdu"
)

// ConfigError says that a Config cannot work. Nothing was sent.
type ConfigError struct{ Reason string }

func (e *ConfigError) Error() string { return "login: " + e.Reason }

// ProtocolError says that the target broke the rules of RFC 7143. The same
// target will do so again.
type ProtocolError struct {
	Target   string
	Exchange int // 1 for the first
	Err      error
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("login to %s: the target broke the rules of iSCSI in exchange %d: %v", e.Target, e.Exchange, e.Err)
}

// Unwrap returns the cause, for example a *pdu.Error.
func (e *ProtocolError) Unwrap() error { return e.Err }

// AuthError says that CHAP failed on our side: the target did not prove itself,
// wants none of our algorithms, skips CHAP, or wants it where none is
// configured. The same credentials will fail again.
type AuthError struct {
	Target    string
	Algorithm Algorithm // 0: none chosen yet
	Reason    string

	noCHAP   bool // no credentials are configured
	retryMD5 bool
}

func (e *AuthError) Error() string {
	return fmt.Sprintf("login to %s: authentication%s: %s", e.Target, with(e.Algorithm), e.Reason)
}

// Is finds ErrNoCredentials.
func (e *AuthError) Is(target error) bool { return target == ErrNoCredentials && e.noCHAP }

// with names the algorithm in errors.
func with(a Algorithm) string {
	if a == 0 {
		return ""
	}
	return " by CHAP with " + a.String()
}

// RetryMD5 tells whether one more login with CHAP's MD5 alone may succeed: the
// target refused our list of algorithms or, having chosen another digest than
// MD5, our response, and MD5 was in the list. tgt 1.0.85 chooses 7, SHA-256,
// and then computes SHA-1.
func RetryMD5(err error) bool {
	status, refused := errors.AsType[*StatusError](err)
	auth, failed := errors.AsType[*AuthError](err)
	return refused && status.retryMD5 || failed && auth.retryMD5
}

// RedirectError says that the target has moved (status 0101 and 0102). The
// login there is a new one, with the same names and the same credentials.
type RedirectError struct {
	Target    string
	Permanent bool
	Address   string // TargetAddress as the target wrote it
	Host      string // a DNS name or an IP address without brackets
	Port      uint16
}

func (e *RedirectError) Error() string {
	how := "temporarily"
	if e.Permanent {
		how = "permanently"
	}
	return fmt.Sprintf("login to %s: the target has moved %s to %s", e.Target, how, e.Address)
}

func (e *engine) protocolError(err error) error {
	return &ProtocolError{Target: e.peer(), Exchange: e.exchanges, Err: err}
}

func (e *engine) protocolErrorf(format string, args ...any) error {
	return e.protocolError(fmt.Errorf(format, args...))
}

func (e *engine) authErrorf(format string, args ...any) error {
	return &AuthError{
		Target:    e.peer(),
		Algorithm: e.algorithm,
		Reason:    fmt.Sprintf(format, args...),
		noCHAP:    e.cfg.CHAP == nil,
		retryMD5:  e.algorithm == 0 && e.mayRetryMD5(),
	}
}

// mayRetryMD5 tells whether MD5 is left to be tried alone.
func (e *engine) mayRetryMD5() bool {
	if !e.askedCHAP || e.algorithm == MD5 {
		return false
	}
	list := e.cfg.CHAP.algorithms()
	for _, a := range list {
		if a == MD5 {
			return len(list) > 1
		}
	}
	return false
}

// refusal makes an error of a response whose status is not success.
func (e *engine) refusal(resp *pdu.LoginResponse) error {
	if resp.StatusClass == classRedirect {
		return e.redirect(resp)
	}
	s := &StatusError{
		Target:    e.peer(),
		Class:     resp.StatusClass,
		Detail:    resp.StatusDetail,
		CHAP:      e.cfg.CHAP != nil,
		Algorithm: e.algorithm,
	}
	// tgt and others give 0200 for what is 0201.
	s.retryMD5 = s.Class == classInitiator && s.Detail <= 1 && e.stage == pdu.Security && e.mayRetryMD5()
	return s
}

func (e *engine) redirect(resp *pdu.LoginResponse) error {
	pairs, err := pdu.ParseText(resp.Data)
	if err != nil {
		return e.protocolErrorf("redirect: %w", err)
	}
	for _, p := range pairs {
		if p.Key != "TargetAddress" {
			continue
		}
		host, port, _, err := ParseAddress(p.Value)
		if err != nil {
			return e.protocolErrorf("redirect: %w", err)
		}
		return &RedirectError{Target: e.peer(), Permanent: resp.StatusDetail == 2, Address: p.Value, Host: host, Port: port}
	}
	return e.protocolErrorf("redirect without a TargetAddress")
}

// defaultPort is iSCSI's (RFC 7143, 13.8).
const defaultPort = 3260

// ParseAddress reads a TargetAddress, host[:port][,portal-group-tag] (RFC 7143,
// 13.8); tag is -1 where there is none. An IPv6 address without brackets, as tgt
// writes it, is read as one with a port where both parts make sense:
// fec0::99:3260.
func ParseAddress(s string) (host string, port uint16, tag int, err error) {
	bad := fmt.Errorf("TargetAddress=%.100q, expected host[:port][,tag]", s)
	addr, group, tagged := strings.Cut(s, ",")
	tag = -1
	if tagged {
		n, err := strconv.ParseUint(group, 10, 16)
		if err != nil {
			return "", 0, 0, bad
		}
		tag = int(n)
	}
	isV6 := func(s string) bool {
		ip, err := netip.ParseAddr(s) // which takes any text for a zone
		return err == nil && ip.Is6() && (ip.Zone() == "" || isHostName(ip.Zone()))
	}
	digits := strconv.Itoa(defaultPort)
	colon := strings.LastIndexByte(addr, ':')
	switch {
	case strings.HasPrefix(addr, "["):
		end := strings.IndexByte(addr, ']')
		if end < 0 || !isV6(addr[1:end]) {
			return "", 0, 0, bad
		}
		host = addr[1:end]
		if rest := addr[end+1:]; rest != "" {
			if rest[0] != ':' {
				return "", 0, 0, bad
			}
			digits = rest[1:]
		}
	case colon < 0:
		host = addr
	default:
		host, digits = addr[:colon], addr[colon+1:]
		if _, err := strconv.ParseUint(digits, 10, 16); isV6(addr) && (err != nil || !isV6(host)) {
			host, digits = addr, strconv.Itoa(defaultPort)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || !isV6(host) && !isHostName(host) {
		return "", 0, 0, bad
	}
	return host, uint16(n), tag, nil
}

// isHostName tells whether s may be a DNS name or an IPv4 address.
func isHostName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
