package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The part of DHCPv6 (RFC 8415) that a boot needs. The library's codec alone adds
// 160 KB to the boot binary, all of IPv6 here 80; in the tests it is the second
// opinion.

// Types of message, RFC 8415, 7.3.
const (
	solicit6     = 1
	advertise6   = 2
	request6     = 3
	reply6       = 7
	decline6     = 9
	information6 = 11
)

// Options, RFC 8415, 21; RFC 3646; RFC 5970.
const (
	optionClientID     = 1
	optionServerID     = 2
	optionIANA         = 3
	optionIAAddr       = 5
	optionRequest      = 6
	optionElapsed      = 8
	optionStatus       = 13
	optionRapidCommit  = 14
	optionDNS          = 23
	optionDomainSearch = 24
	optionBootFileURL  = 59
	optionSolMaxRT     = 82
	optionInfMaxRT     = 83

	minIANA, minIAAddr = 12, 24 // bytes, without the options in them
	maxDUID            = 130    // type and 128 bytes, RFC 8415, 11.1
	maxDomain          = 253    // RFC 1035, 2.3.4, as text
)

// client6 is who asks: RFC 8415, 11 and 12.
type client6 struct {
	duid []byte
	iaid uint32
}

// message6 is what is sent.
type message6 struct {
	kind    byte
	xid     [3]byte
	client  client6
	server  []byte     // its DUID; nil: any
	address netip.Addr // the one that is asked for or declined; not valid: none
}

// marshal encodes m as sent that long after the first.
func (m message6) marshal(elapsed time.Duration) []byte {
	b := append([]byte{m.kind}, m.xid[:]...)
	b = option6(b, optionClientID, m.client.duid)
	if m.server != nil {
		b = option6(b, optionServerID, m.server)
	}
	b = option6(b, optionElapsed, binary.BigEndian.AppendUint16(nil, uint16(min(elapsed/(10*time.Millisecond), 0xffff))))
	if m.kind != information6 {
		ia := binary.BigEndian.AppendUint32(nil, m.client.iaid)
		ia = append(ia, make([]byte, 8)...) // T1 and T2: as the server likes
		if m.address.IsValid() {
			ia = option6(ia, optionIAAddr, append(m.address.AsSlice(), make([]byte, 8)...))
		}
		b = option6(b, optionIANA, ia)
	}
	if m.kind == solicit6 {
		b = option6(b, optionRapidCommit, nil)
	}
	if m.kind != decline6 {
		wanted := []uint16{optionDNS, optionDomainSearch, optionBootFileURL, optionSolMaxRT}
		if m.kind == information6 {
			wanted[3] = optionInfMaxRT // RFC 8415, 18.2.6
		}
		var codes []byte
		for _, code := range wanted {
			codes = binary.BigEndian.AppendUint16(codes, code)
		}
		b = option6(b, optionRequest, codes)
	}
	return b
}

func option6(b []byte, code uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// answer6 is what a server says.
type answer6 struct {
	kind      byte
	rapid     bool // a REPLY to a SOLICIT
	server    []byte
	address   netip.Addr // not valid: none
	preferred time.Duration
	valid     time.Duration
	status    error // a *statusError: why there is no address
	dns       []netip.Addr
	domain    string
	bootFile  string
}

// statusError is a server's refusal, RFC 8415, 21.13.
type statusError struct {
	code uint16
	text string
}

func (e *statusError) Error() string {
	name := fmt.Sprintf("status %d", e.code)
	if names := [...]string{"Success", "UnspecFail", "NoAddrsAvail", "NoBinding", "NotOnLink", "UseMulticast"}; int(e.code) < len(names) {
		name = names[e.code]
	}
	if e.text == "" {
		return name
	}
	return name + ": " + e.text
}

// parseAnswer6 reads an ADVERTISE or a REPLY to the message that was sent with
// xid; ours is false for what is for somebody else. It is an error when the
// message breaks RFC 8415, 16.3 and 16.10; options that make no sense are as if
// they were not there.
func parseAnswer6(b []byte, xid [3]byte, client client6) (a *answer6, ours bool, err error) {
	if len(b) < 4 || !bytes.Equal(b[1:4], xid[:]) || b[0] != advertise6 && b[0] != reply6 {
		return nil, false, nil
	}
	out := &answer6{kind: b[0]}
	var to []byte
	err = eachOption6(b[4:], func(code uint16, value []byte) error {
		switch code {
		case optionClientID:
			to = value
		case optionServerID:
			if len(value) < 3 || len(value) > maxDUID {
				return fmt.Errorf("a server identifier of %d bytes", len(value))
			}
			out.server = bytes.Clone(value)
		case optionIANA:
			return out.readIANA(value, client.iaid)
		case optionStatus:
			out.status = errors.Join(out.status, parseStatus6(value))
		case optionRapidCommit:
			out.rapid = true
		case optionDNS:
			out.dns = servers6(value)
		case optionDomainSearch:
			out.domain = domain6(value)
		case optionBootFileURL:
			out.bootFile = text(value)
		}
		return nil
	})
	switch {
	case !bytes.Equal(to, client.duid):
		return nil, false, nil
	case err != nil:
		return nil, true, err
	case out.server == nil:
		return nil, true, errors.New("it names no server")
	}
	if out.status != nil {
		out.address = netip.Addr{}
	}
	return out, true, nil
}

// readIANA reads the first address of the identity association that is ours,
// RFC 8415, 21.4.
func (a *answer6) readIANA(b []byte, iaid uint32) error {
	if len(b) < minIANA {
		return fmt.Errorf("an identity association of %d bytes", len(b))
	}
	t1, t2 := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if binary.BigEndian.Uint32(b) != iaid || t1 > t2 && t2 > 0 {
		return nil
	}
	return eachOption6(b[minIANA:], func(code uint16, value []byte) error {
		switch {
		case code == optionStatus:
			a.status = errors.Join(a.status, parseStatus6(value))
		case code == optionIAAddr && len(value) < minIAAddr:
			return fmt.Errorf("an address option of %d bytes", len(value))
		case code == optionIAAddr && !a.address.IsValid():
			address := netip.AddrFrom16([16]byte(value))
			preferred, valid := binary.BigEndian.Uint32(value[16:]), binary.BigEndian.Uint32(value[20:])
			if isHost6(address) && valid > 0 && preferred <= valid {
				a.address = address
				a.preferred, a.valid = time.Duration(preferred)*time.Second, time.Duration(valid)*time.Second
			}
		}
		return nil
	})
}

// eachOption6 goes through options, RFC 8415, 21.1.
func eachOption6(b []byte, do func(code uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errors.New("an option that is cut off")
		}
		code, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+length {
			return fmt.Errorf("option %d is cut off", code)
		}
		if err := do(code, b[4:4+length]); err != nil {
			return err
		}
		b = b[4+length:]
	}
	return nil
}

// parseStatus6 returns nil for success.
func parseStatus6(b []byte) error {
	if len(b) < 2 || b[0] == 0 && b[1] == 0 {
		return nil
	}
	return &statusError{binary.BigEndian.Uint16(b), text(b[2:])}
}

// servers6 reads a list of addresses, and leaves out what can be no server's.
func servers6(b []byte) (list []netip.Addr) {
	for ; len(b) >= 16; b = b[16:] {
		if a := netip.AddrFrom16([16]byte(b)); isHost6(a) || a.IsLinkLocalUnicast() && !a.Is4In6() {
			list = append(list, a)
		}
	}
	return list
}

// isHost6 says whether an address can be one host's beyond its link.
func isHost6(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// domain6 reads the first name of a search list (RFC 8415, 10: labels as in RFC
// 1035, 3.1, never compressed), or returns "".
func domain6(b []byte) string {
	var labels []string
	for len(b) > 0 && b[0] != 0 {
		length := int(b[0])
		if length > 63 || len(b) < 1+length {
			return ""
		}
		labels = append(labels, string(b[1:1+length]))
		b = b[1+length:]
	}
	name := strings.Join(labels, ".")
	if len(b) == 0 || len(name) > maxDomain {
		return ""
	}
	return text([]byte(name))
}
