package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// answer is what a DHCP server gives.
type answer struct {
	address  netip.Prefix
	routes   []route // of option 121, else the default route of option 3
	dns      []netip.Addr
	mtu      int // 0: none, or one that is not to be used
	hostname string
	lease    Lease
}

// parseAnswer reads a DHCPOFFER or DHCPACK (RFC 2131, table 3; RFC 2132). It is
// an error when the message gives no usable address; an option that makes no
// sense is as if it were not there.
func parseAnswer(m *reply4) (*answer, error) {
	server, ok := netip.AddrFromSlice(m.options[option4Server])
	if !ok || !isHost(server) {
		return nil, errors.New("it names no server")
	}
	if !isHost(m.your) {
		return nil, fmt.Errorf("server %s gives the address %s", server, m.your)
	}
	bits, err := maskBits(m.options[option4SubnetMask])
	if err != nil {
		return nil, fmt.Errorf("server %s gives %s with %w", server, m.your, err)
	}
	duration := m.options[option4LeaseTime]
	if len(duration) != 4 || binary.BigEndian.Uint32(duration) == 0 {
		return nil, fmt.Errorf("server %s gives %s for no time", server, m.your)
	}
	a := &answer{
		address:  netip.PrefixFrom(m.your, bits),
		routes:   classlessRoutes(m.options[option4Routes]),
		dns:      addresses(m.options[option4DNS]),
		hostname: text(m.options[option4HostName]),
		lease: Lease{
			Server:        server,
			Duration:      time.Duration(binary.BigEndian.Uint32(duration)) * time.Second,
			RootPath:      text(m.options[option4RootPath]),
			InitiatorName: text(m.options[option4InitiatorName]),
			Domain:        text(m.options[option4DomainName]),
		},
	}
	a.lease.Renew, a.lease.Rebind = timers(a.lease.Duration,
		m.options[option4Renew], m.options[option4Rebind])
	if a.routes == nil { // RFC 3442: with option 121, option 3 is ignored
		if routers := addresses(m.options[option4Router]); len(routers) > 0 {
			a.routes = []route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), routers[0]}}
		}
	}
	if mtu := m.options[option4MTU]; len(mtu) == 2 {
		a.mtu = int(binary.BigEndian.Uint16(mtu))
	}
	return a, nil
}

// timers returns T1 and T2: options 58 and 59 where they make sense, else a half
// and seven eighths of the lease (RFC 2131, 4.4.5).
func timers(lease time.Duration, t1, t2 []byte) (renew, rebind time.Duration) {
	seconds := func(b []byte) time.Duration {
		if len(b) != 4 {
			return 0
		}
		return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
	}
	if renew, rebind = seconds(t1), seconds(t2); 0 < renew && renew <= rebind && rebind <= lease {
		return renew, rebind
	}
	return lease / 2, lease / 8 * 7
}

// isHost says whether an address can be one host's.
func isHost(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.As4()[0] != 0 &&
		a.As4()[0] < 240 // class E and 255.255.255.255
}

// maskBits turns a subnet mask into a prefix length.
func maskBits(mask []byte) (int, error) {
	if len(mask) != 4 {
		return 0, errors.New("no subnet mask")
	}
	m := binary.BigEndian.Uint32(mask)
	for bits := 1; bits <= 32; bits++ {
		if m == ^uint32(0)<<(32-bits) {
			return bits, nil
		}
	}
	return 0, fmt.Errorf("the subnet mask %d.%d.%d.%d", mask[0], mask[1], mask[2], mask[3])
}

// addresses reads a list of IPv4 addresses, and leaves out what can be no host's.
func addresses(b []byte) []netip.Addr {
	var list []netip.Addr
	for ; len(b) >= 4; b = b[4:] {
		if a := netip.AddrFrom4([4]byte(b)); isHost(a) {
			list = append(list, a)
		}
	}
	return list
}

// classlessRoutes reads option 121 (RFC 3442): width, as many bytes of the
// destination as its width needs, gateway; 0.0.0.0 is a destination on the
// link. It returns nil for no option and for one that is broken.
func classlessRoutes(b []byte) []route {
	var list []route
	for len(b) > 0 {
		bits := int(b[0])
		octets := (bits + 7) / 8
		if bits > 32 || len(b) < 1+octets+4 {
			return nil
		}
		var to [4]byte
		copy(to[:], b[1:1+octets])
		via := netip.AddrFrom4([4]byte(b[1+octets:]))
		b = b[1+octets+4:]
		r := route{to: netip.PrefixFrom(netip.AddrFrom4(to), bits).Masked()}
		switch {
		case isHost(via):
			r.via = via
		case !via.IsUnspecified():
			continue
		}
		list = append(list, r)
	}
	return list
}

// text reads a string. Servers end some with a NUL. One that could do things
// to a console or a file that it is written to is dropped.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}
