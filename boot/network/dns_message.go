package network

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The numbers of DNS messages: RFC 1035, 3.2.2, 3.2.4 and 4.1.1, RFC 3596, 2.1,
// RFC 6891, 6.1.1.
const (
	typeA, typeCNAME, typeAAAA, typeOPT = 1, 5, 28, 41
	classIN                             = 1

	flagResponse, opcodeMask         = 1 << 15, 0xf << 11
	flagAuthoritative, flagTruncated = 1 << 10, 1 << 9
	flagDesired, flagAvailable       = 1 << 8, 1 << 7 // of recursion
	rcodeMask, rcodeNameError        = 0xf, 3         // "NXDOMAIN"

	dnsHeader     = 12
	dnsQuestion   = 4    // bytes of type and class behind the name
	maxWireName   = 255  // RFC 1035, 2.3.4
	maxDNSMessage = 1232 // bytes that need no fragments on any link
	maxAliases    = 8    // of a name, one leading to the next
	maxAddresses  = 16   // of a name that are taken
)

// dnsName returns a name in lower case as labels (RFC 1035, 3.1), which is how
// names are kept here, or "" where it is none.
func dnsName(name string) string {
	var b []byte
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return ""
		}
		b = append(append(b, byte(len(label))), label...)
	}
	if len(b) >= maxWireName {
		return ""
	}
	return lower(append(b, 0))
}

// lower makes ASCII letters small. The length of a label is none.
func lower(wire []byte) string {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] |= 0x20
		}
	}
	return string(wire)
}

// dnsQuery asks for the records of a type that is below 256. extended says to the
// server that the answer may be longer than 512 bytes (EDNS, RFC 6891, 6.1.2).
func dnsQuery(id uint16, name string, kind byte, extended bool) []byte {
	b := []byte{byte(id >> 8), byte(id), flagDesired >> 8, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	b = append(append(b, name...), 0, kind, 0, classIN)
	if extended {
		b[11] = 1 // additional record
		b = append(b, 0, 0, typeOPT, maxDNSMessage>>8, maxDNSMessage&0xff, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// parseDNSAnswer reads the addresses in the answer to a query; it is not ok when
// b is none. An error says why there may be addresses although none are here. Of
// a truncated answer that which is there counts.
func parseDNSAnswer(b, query []byte) (addrs []netip.Addr, ok bool, err error) {
	if len(query) == 0 {
		return nil, false, nil
	}
	name, end, _ := parseDNSName(query, dnsHeader)
	end += dnsQuestion
	if len(b) < end || [2]byte(b) != [2]byte(query) || b[4] != 0 || b[5] != 1 ||
		lower(append([]byte(nil), b[dnsHeader:end]...)) != string(query[dnsHeader:end]) {
		return nil, false, nil
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&(flagResponse|opcodeMask) != flagResponse {
		return nil, false, nil
	}
	rcode := flags & rcodeMask
	if rcode != 0 && rcode != rcodeNameError {
		return nil, true, errors.New(rcodeText(rcode))
	}
	// The records may be in any order: each pass follows one alias.
	for range maxAliases {
		alias, at := "", end
		for range binary.BigEndian.Uint16(b[6:]) {
			r, next, ok := parseDNSRecord(b, at)
			if !ok {
				break // truncated, or nonsense from here on
			}
			at = next
			switch {
			case r.owner != name:
			case r.alias != "":
				alias = r.alias
			case r.addr.IsValid() && len(addrs) < maxAddresses:
				addrs = append(addrs, r.addr)
			}
		}
		if len(addrs) > 0 || alias == "" {
			break
		}
		name = alias
	}
	switch {
	case len(addrs) > 0 || rcode == rcodeNameError:
	case flags&flagTruncated != 0:
		err = errors.New("its answer is too long")
	case flags&(flagAuthoritative|flagAvailable) == 0:
		err = errors.New("it answers for its own names only")
	}
	return addrs, true, err
}

// dnsRecord is of type A or AAAA, CNAME, or any other.
type dnsRecord struct {
	owner string
	addr  netip.Addr // not valid where it is no host's
	alias string     // the name that owner stands for
}

// parseDNSRecord reads the record at an offset (RFC 1035, 4.1.3), and returns
// the offset behind it.
func parseDNSRecord(b []byte, at int) (r dnsRecord, next int, ok bool) {
	owner, at, ok := parseDNSName(b, at)
	if !ok || len(b)-at < 10 {
		return r, 0, false
	}
	kind, class := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	length := int(binary.BigEndian.Uint16(b[at+8:]))
	if at += 10; len(b)-at < length {
		return r, 0, false
	}
	if r.owner = owner; class == classIN {
		switch kind {
		case typeA, typeAAAA:
			addr, _ := netip.AddrFromSlice(b[at : at+length])
			if !addr.IsUnspecified() && !addr.IsMulticast() {
				r.addr = addr
			}
		case typeCNAME:
			r.alias, _, _ = parseDNSName(b, at)
		}
	}
	return r, at + length, true
}

// parseDNSName reads the name at an offset (RFC 1035, 4.1.4), and returns the
// offset behind it. Each pointer has to lead further back than the one before.
func parseDNSName(b []byte, at int) (name string, next int, ok bool) {
	var wire []byte
	for limit := at; at < len(b); {
		c := int(b[at])
		switch {
		case c >= 0xc0 && at+1 < len(b):
			if next == 0 {
				next = at + 2
			}
			if at = c&0x3f<<8 | int(b[at+1]); at >= limit {
				return "", 0, false
			}
			limit = at
		case c > 63 || len(b)-at <= c || len(wire)+1+c > maxWireName:
			return "", 0, false
		default:
			wire = append(wire, b[at:at+1+c]...)
			at += 1 + c
			if c == 0 && next == 0 {
				next = at
			}
			if c == 0 {
				return lower(wire), next, true
			}
		}
	}
	return "", 0, false
}

// rcodeText names a failure of a server as tools do.
func rcodeText(rcode uint16) string {
	switch rcode {
	case 2:
		return "SERVFAIL"
	case 5:
		return "REFUSED"
	}
	return "error " + strconv.Itoa(int(rcode)) // of RFC 1035, 4.1.1
}
