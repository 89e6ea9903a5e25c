package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// packetConn carries DHCPv4 over a NIC that has no address yet: IPv4 and UDP
// headers are ours, from 0.0.0.0 to 255.255.255.255. (nclient4 does the same,
// but it and its libraries add 120 KB to the boot binary, and its
// retransmission neither jitters nor tells.)
type packetConn struct {
	*socket
	index int
	mac   net.HardwareAddr
	udp   unix.Sockaddr // not nil: it is a UDP socket, and this is whom it sends to
}

const (
	clientPort, serverPort = 68, 67
	ipHeader, udpHeader    = 20, 8
	maxMessage             = 1500 // bytes of a datagram that we take
)

// openPacket opens a packet socket on the NIC of that index. Close it.
func openPacket(index int, mac net.HardwareAddr) (*packetConn, error) {
	s, err := newSocket(unix.AF_PACKET, unix.SOCK_DGRAM, int(protocolIP()), func(fd int) error {
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocolIP(), Ifindex: index})
	})
	if err != nil {
		return nil, err
	}
	return &packetConn{socket: s, index: index, mac: mac}, nil
}

// protocolIP is ETH_P_IP in network byte order.
func protocolIP() uint16 {
	return binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
}

// send broadcasts a message.
func (c *packetConn) send(message []byte) error {
	if c.udp != nil {
		return c.socket.send(message, c.udp)
	}
	return c.socket.send(datagram(message), &unix.SockaddrLinklayer{
		Protocol: protocolIP(), Ifindex: c.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	})
}

// receive returns the next answer to a message of that transaction that accept
// takes, or ctx's error.
func (c *packetConn) receive(ctx context.Context, xid uint32, accept func(*reply4) bool) (answer *reply4, err error) {
	err = c.socket.receive(ctx, func(b []byte) bool {
		if c.udp == nil {
			b = payload(b)
		}
		m, err := parseReply4(b)
		if err != nil || m.xid != xid || !bytes.Equal(m.mac, c.mac) || !accept(m) {
			return false
		}
		answer = m
		return true
	})
	return answer, err
}

// datagram puts the headers of IPv4 (RFC 791, 3.1) and UDP (RFC 768) before a
// message.
func datagram(message []byte) []byte {
	from, to := netip.IPv4Unspecified().As4(), [4]byte{255, 255, 255, 255}
	b := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(message))
	b = append(b, message...)
	b[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = 64, unix.IPPROTO_UDP // time to live, protocol
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[10:], ^checksum(0, b[:ipHeader]))

	udp := b[ipHeader:]
	binary.BigEndian.PutUint16(udp[0:], clientPort)
	binary.BigEndian.PutUint16(udp[2:], serverPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	pseudo := checksum(uint16(unix.IPPROTO_UDP), b[12:20]) // both addresses
	pseudo = checksum(pseudo, udp[4:6])
	if sum := ^checksum(pseudo, udp); sum != 0 {
		binary.BigEndian.PutUint16(udp[6:], sum)
	} else {
		binary.BigEndian.PutUint16(udp[6:], 0xffff)
	}
	return b
}

// payload returns what a datagram to the client's port carries, or nil. The
// checksums are not looked at: between virtual machines they are often left
// unfinished, and the message has its own transaction number.
func payload(b []byte) []byte {
	if len(b) < ipHeader || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // a fragment
		return nil
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ipHeader || total > len(b) || total < header+udpHeader {
		return nil
	}
	udp := b[header:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp[2:]) != clientPort || length < udpHeader || length > len(udp) {
		return nil
	}
	return udp[udpHeader:length]
}

// checksum adds b to a ones' complement sum (RFC 1071).
func checksum(sum uint16, b []byte) uint16 {
	n := uint32(sum)
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
