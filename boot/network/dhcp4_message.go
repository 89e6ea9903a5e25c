package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The part of DHCPv4 (RFC 2131) that a boot needs. The library's own codec adds
// 50 KB to the boot binary; in the tests it is the second opinion.

// Types of message, RFC 2132, 9.6.
const (
	discover4 = 1
	offer4    = 2
	request4  = 3
	ack4      = 5
	nak4      = 6
)

// Options, RFC 2132; RFC 3442.
const (
	option4Pad         = 0
	option4SubnetMask  = 1
	option4Router      = 3
	option4DNS         = 6
	option4HostName    = 12
	option4DomainName  = 15
	option4RootPath    = 17
	option4MTU         = 26
	option4Requested   = 50
	option4LeaseTime   = 51
	option4MessageType = 53
	option4Server      = 54
	option4Parameters  = 55
	option4MaxSize     = 57
	option4Renew       = 58
	option4Rebind      = 59
	option4VendorClass = 60
	option4ClientID    = 61
	option4Routes      = 121
	// option4InitiatorName carries the initiator's name, as iPXE reads it; 203 is
	// one of the site-specific options (RFC 3942).
	option4InitiatorName = 203
	option4End           = 255
)

// A message's fixed part, RFC 2131, 2.
const (
	bootRequest, bootReply = 1, 2
	offXID                 = 4
	offSeconds             = 8
	offFlags               = 10
	offClientIP            = 12
	offYourIP              = 16
	offMAC                 = 28 // 16 bytes
	offCookie              = 236
	offOptions             = 240
	minMessage             = 300 // bytes that relays want, RFC 1542, 2.1

	magicCookie   = 0x63825363
	flagBroadcast = 0x8000
)

// message4 is what is sent.
type message4 struct {
	kind        byte
	xid         uint32
	mac         net.HardwareAddr
	client      netip.Addr // the address that it has; not valid: none
	requested   netip.Addr // not valid: any
	server      []byte     // the one that is meant; nil: all
	hostname    string
	vendorClass string
}

// clientID is that of firmware and iPXE, type and MAC (RFC 2132, 9.14), so that
// the server gives the same address again.
func (m *message4) clientID() []byte { return append([]byte{unix.ARPHRD_ETHER}, m.mac...) }

// marshal encodes m as sent that long after the first. The answer is to come by
// broadcast, or to the address that it gives.
func (m *message4) marshal(elapsed time.Duration, broadcast bool) []byte {
	b := make([]byte, offOptions, minMessage)
	b[0], b[1], b[2] = bootRequest, unix.ARPHRD_ETHER, byte(len(m.mac))
	binary.BigEndian.PutUint32(b[offXID:], m.xid)
	binary.BigEndian.PutUint16(b[offSeconds:], uint16(min(elapsed/time.Second, 0xffff)))
	if broadcast {
		binary.BigEndian.PutUint16(b[offFlags:], flagBroadcast)
	}
	copy(b[offClientIP:], m.client.AsSlice())
	copy(b[offMAC:offMAC+16], m.mac)
	binary.BigEndian.PutUint32(b[offCookie:], magicCookie)

	b = option4(b, option4HostName, []byte(m.hostname))
	b = option4(b, option4Requested, m.requested.AsSlice())
	b = option4(b, option4MessageType, []byte{m.kind})
	b = option4(b, option4Server, m.server)
	b = option4(b, option4Parameters, []byte{
		option4SubnetMask, option4Routes, // before the router (RFC 3442)
		option4Router, option4DNS, option4HostName, option4DomainName, option4RootPath, option4MTU,
		option4LeaseTime, option4Renew, option4Rebind, option4Server, option4InitiatorName,
	})
	b = option4(b, option4MaxSize, []byte{maxMessage >> 8, maxMessage & 0xff})
	b = option4(b, option4VendorClass, []byte(m.vendorClass))
	b = option4(b, option4ClientID, m.clientID())
	b = append(b, option4End)
	return append(b, make([]byte, max(0, minMessage-len(b)))...)
}

// option4 appends an option, unless it is empty. One of more than 255 bytes
// stands there several times (RFC 3396, 5).
func option4(b []byte, code byte, value []byte) []byte {
	for len(value) > 0 {
		n := min(len(value), 255)
		b = append(append(b, code, byte(n)), value[:n]...)
		value = value[n:]
	}
	return b
}

// reply4 is what a server sends.
type reply4 struct {
	xid     uint32
	your    netip.Addr
	mac     net.HardwareAddr
	options map[byte][]byte
}

// parseReply4 decodes a BOOTREPLY.
func parseReply4(b []byte) (*reply4, error) {
	switch {
	case len(b) < offOptions:
		return nil, fmt.Errorf("DHCP message of %d bytes", len(b))
	case b[0] != bootReply || binary.BigEndian.Uint32(b[offCookie:]) != magicCookie:
		return nil, errors.New("no answer of DHCP")
	}
	options, err := parseOptions4(b[offOptions:])
	if err != nil {
		return nil, err
	}
	return &reply4{
		xid:     binary.BigEndian.Uint32(b[offXID:]),
		your:    netip.AddrFrom4([4]byte(b[offYourIP:])),
		mac:     bytes.Clone(b[offMAC : offMAC+min(int(b[2]), 16)]),
		options: options,
	}, nil
}

// parseOptions4 reads options up to the one that says that they end. The parts
// of one that stands there several times belong together (RFC 3396, 7).
func parseOptions4(b []byte) (map[byte][]byte, error) {
	options := make(map[byte][]byte)
	for len(b) > 0 {
		code := b[0]
		switch {
		case code == option4Pad:
			b = b[1:]
			continue
		case code == option4End:
			return options, nil
		case len(b) < 2 || len(b) < 2+int(b[1]):
			return nil, fmt.Errorf("DHCP option %d is cut short", code)
		}
		end := 2 + int(b[1])
		options[code] = append(options[code], b[2:end]...)
		b = b[end:]
	}
	return nil, errors.New("DHCP options without an end")
}

// kind returns the type of message, 0 where it has none.
func (r *reply4) kind() byte {
	if b := r.options[option4MessageType]; len(b) == 1 {
		return b[0]
	}
	return 0
}
