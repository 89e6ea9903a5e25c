package network

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// advertisement is a router advertisement with these prefixes, on the link and
// autonomous (RFC 4861, 4.2 and 4.6.2).
func advertisement(flags byte, lifetime uint16, prefixes ...string) []byte {
	b := []byte{134, 0, 0, 0, 64, flags, byte(lifetime >> 8), byte(lifetime), 0, 0, 0, 0, 0, 0, 0, 0}
	for _, p := range prefixes {
		p := prefix(p)
		b = append(b, 3, 4, byte(p.Bits()), 0xc0, 0, 0, 0x1c, 0x20, 0, 0, 0x0e, 0x10, 0, 0, 0, 0)
		b = append(b, p.Addr().AsSlice()...)
	}
	return b
}

// answer6To is a good answer: an ADVERTISE to a SOLICIT, else a REPLY, with an
// address unless it is empty.
func answer6To(m *dhcpv6.Message, address string) *dhcpv6.Message {
	kind := dhcpv6.MessageTypeReply
	if m.MessageType == dhcpv6.MessageTypeSolicit {
		kind = dhcpv6.MessageTypeAdvertise
	}
	client := client6{duid: m.Options.ClientID().ToBytes()}
	a := goodReply(kind, m.TransactionID, client)
	if ia := m.Options.OneIANA(); ia != nil && address != "" {
		a.AddOption(iana6(binary.BigEndian.Uint32(ia.IaId[:]), address))
	}
	return a
}

// router answers solicitations at far0 with one advertisement.
func (w *world) router(ra []byte) {
	w.t.Helper()
	var zone string // not by name: package net holds on to the numbers of names
	w.far.do(func() { zone = strconv.Itoa(must(netlink.LinkByName("far0")).Attrs().Index) })
	conn := w.listen6("ip6:ipv6-icmp", "fe80::1%"+zone, net.IPv6linklocalallrouters)
	w.serve(conn, func(b []byte, _ net.Addr) {
		if b[0] == 133 {
			w.send(conn, ra, &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: zone})
		}
	})
}

// server6 answers DHCPv6 at far0 as a test says; only for what no real server does.
func (w *world) server6(answer func(m *dhcpv6.Message) []*dhcpv6.Message) {
	w.t.Helper()
	conn := w.listen6("udp6", "[::]:547", dhcpv6.AllDHCPRelayAgentsAndServers)
	w.serve(conn, func(b []byte, from net.Addr) {
		m, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			w.t.Errorf("the client's message: %v", err)
			return
		}
		for _, a := range answer(m) {
			w.send(conn, a.ToBytes(), from)
		}
	})
}

// listen6 opens a socket that hears a group at far0.
func (w *world) listen6(network, address string, group net.IP) (conn net.PacketConn) {
	w.t.Helper()
	var err error
	w.far.do(func() {
		if conn, err = net.ListenPacket(network, address); err == nil {
			err = w.farSocket(conn, group)
		}
	})
	w.check(err)
	return conn
}

// farSocket makes a socket hear a group at far0, and speak as a router must.
func (w *world) farSocket(conn net.PacketConn, group net.IP) error {
	raw, err := conn.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	if err != nil {
		return err
	}
	index := must(netlink.LinkByName("far0")).Attrs().Index
	controlErr := raw.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: [16]byte(group), Interface: uint32(index)}),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255))
	})
	return errors.Join(controlErr, err)
}

// farAddress gives far0 an address more.
func (w *world) farAddress(a string) {
	w.t.Helper()
	w.far.do(func() {
		addr := must(netlink.ParseAddr(a + "/64"))
		addr.Flags = unix.IFA_F_NODAD
		w.check(netlink.AddrAdd(must(netlink.LinkByName("far0")), addr))
	})
}

// address returns an address of near0.
func (w *world) address(a string) netlink.Addr {
	w.t.Helper()
	for _, have := range must(netlink.AddrList(must(netlink.LinkByName("near0")), netlink.FAMILY_V6)) {
		if have.IP.Equal(net.ParseIP(a)) {
			return have
		}
	}
	w.t.Fatalf("near0 does not have %s", a)
	return netlink.Addr{}
}

// sysctl sets one of near0's, unless value is empty, and returns it.
func (w *world) sysctl(name, value string) string {
	w.t.Helper()
	file := "/proc/sys/net/ipv6/conf/near0/" + name
	if value != "" {
		w.check(os.WriteFile(file, []byte(value), 0))
	}
	return strings.TrimSpace(string(must(os.ReadFile(file))))
}
