package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

// packetConn carries DHCPv4 over a NIC that has no address yet: IPv4 and UDP
// headers are ours, from 0.0.0.0 to 255.255.255.255. (nclient4 does the same,
// but it and its libraries add 120 KB to the boot binary, and its
// retransmission neither jitters nor tells.)
type packetConn struct {
	file  *os.File
	raw   syscall.RawConn
	index int
	mac   net.HardwareAddr
}

const (
	clientPort, serverPort = 68, 67
	ipHeader, udpHeader    = 20, 8
	maxMessage             = 1500 // bytes of a datagram that we take
)

// openPacket opens a packet socket on the NIC of that index. Close it.
func openPacket(index int, mac net.HardwareAddr) (*packetConn, error) {
	protocol := int(binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff}))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "packet")
	c := &packetConn{file: file, index: index, mac: mac}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(protocol), Ifindex: index}); err != nil {
		file.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	if c.raw, err = file.SyscallConn(); err != nil {
		file.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the socket.
func (c *packetConn) Close() error { return c.file.Close() }

// send broadcasts m.
func (c *packetConn) send(m *dhcpv4.DHCPv4) error {
	b := datagram(m.ToBytes())
	to := &unix.SockaddrLinklayer{
		Protocol: binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff}),
		Ifindex:  c.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	var err error
	waitErr := c.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, to)
		return err != unix.EAGAIN
	})
	return errors.Join(waitErr, os.NewSyscallError("sendto", err))
}

// receive returns the next answer to a message of that transaction that accept
// takes, or ctx's error.
func (c *packetConn) receive(ctx context.Context, xid dhcpv4.TransactionID, accept func(*dhcpv4.DHCPv4) bool) (*dhcpv4.DHCPv4, error) {
	if err := c.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.file.SetReadDeadline(time.Unix(1, 0)) // long ago
		close(ended)
	})
	defer func() {
		if !stop() {
			<-ended // it must not set the deadline of the next call
		}
	}()
	buf := make([]byte, maxMessage)
	for {
		var n int
		var err error
		waitErr := c.raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, 0)
			return err != unix.EAGAIN
		})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case waitErr != nil:
			return nil, waitErr
		case err == unix.ENETDOWN || err == unix.EINTR: // the link was down for a moment
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		}
		m, err := dhcpv4.FromBytes(payload(buf[:n]))
		if err == nil && m.OpCode == dhcpv4.OpcodeBootReply && m.TransactionID == xid &&
			bytes.Equal(m.ClientHWAddr, c.mac) && accept(m) {
			return m, nil
		}
	}
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
