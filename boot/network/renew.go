package network

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// AnyServer is for Renew to ask all DHCP servers that the network has.
var AnyServer = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Name returns the name of the interface of that index; "" when there is none.
func Name(index int) string {
	l, err := getLink(index)
	if err != nil {
		return ""
	}
	return l.name
}

// Renew asks for more time for an address that DHCPv4 gave to the interface of
// that index, of the server that gave it (RFC 2131, 4.4.5: RENEWING) or of
// AnyServer (REBINDING). It takes some seconds and changes nothing on the NIC.
func Renew(ctx context.Context, p Progress, index int, address, server netip.Addr) (*Lease, error) {
	l, err := getLink(index)
	if err != nil {
		return nil, err
	}
	s, err := newSocket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP, func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1), unix.BindToDevice(fd, l.name),
			unix.Bind(fd, &unix.SockaddrInet4{Port: clientPort}))
	})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	d := dhcp4{
		nic:        &nic{link: l, p: p},
		conn:       &packetConn{socket: s, mac: l.mac, udp: &unix.SockaddrInet4{Port: serverPort, Addr: server.As4()}},
		retransmit: time.Second, start: time.Now(),
	}
	m := d.message(&Config{}, request4)
	m.client = address
	ack, err := d.exchange(ctx, m, 3, "acknowledgement", func(r *reply4) bool {
		return r.kind() == nak4 || r.kind() == ack4 && r.your == address && d.sane(r, "acknowledgement")
	})
	if err != nil {
		return nil, err
	}
	if ack.kind() == nak4 {
		return nil, errors.New("the DHCP server refuses to renew it")
	}
	a, err := d.acquired(ack)
	if err != nil {
		return nil, err
	}
	return &a.lease, nil
}
