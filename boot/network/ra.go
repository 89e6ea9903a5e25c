package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Router advertisements are the kernel's: it makes addresses and routes of
// them, renews these, and lets them expire with the lifetimes that the routers
// give, so that nobody has to stay behind for them. This file watches what it
// makes (net/ipv6/addrconf.c, ndisc.c).

// Flags of IFLA_INET6_FLAGS, include/net/if_inet6.h.
const (
	raReceived = 0x20
	raManaged  = 0x40 // RFC 4861, 4.2: M, addresses are to be had by DHCPv6
	raOther    = 0x80 // O, the rest is
)

// state6 is what the kernel has of IPv6 on a NIC.
type state6 struct {
	flags     uint32
	addresses []address
	gateway   netip.Addr     // of the default route
	onLink    []netip.Prefix // prefixes that are on the link
}

// checking says that duplicate address detection is not over.
func (a address) checking() bool {
	return a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_DADFAILED == 0
}

func (a address) duplicate() bool { return a.flags&unix.IFA_F_DADFAILED != 0 }

// usable says that it can be the address of the root.
func (a address) usable() bool {
	return a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0
}

// sends says that something may already be sent from it: RFC 4429.
func (a address) sends() bool {
	return a.usable() || a.checking() && a.flags&unix.IFA_F_OPTIMISTIC != 0
}

// global returns the addresses that are valid beyond the link and fit.
func (s *state6) global(fit func(address) bool) []netip.Prefix { return s.only(false, fit) }

// linkLocal returns the link-local addresses that fit.
func (s *state6) linkLocal(fit func(address) bool) []netip.Prefix { return s.only(true, fit) }

func (s *state6) only(linkLocal bool, fit func(address) bool) (list []netip.Prefix) {
	for _, a := range s.addresses {
		if a.Addr().IsLinkLocalUnicast() == linkLocal && fit(a) {
			list = append(list, a.Prefix)
		}
	}
	return list
}

// getState6 reads the state of one interface.
func getState6(index int) (*state6, error) {
	s := &state6{}
	var err error
	if s.flags, err = inet6Flags(index); err != nil {
		return nil, err
	}
	if err := s.readRoutes(index); err != nil {
		return nil, err
	}
	// The kernel makes addresses last: they are not missed where the rest is there.
	s.addresses, err = allAddresses(unix.AF_INET6, index)
	return s, err
}

// inet6Flags reads IFLA_INET6_FLAGS. An interface without IPv6 has none.
func inet6Flags(index int) (uint32, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(linkMessage(index))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return 0, err
	}
	if len(msgs) == 0 || len(msgs[0]) < unix.SizeofIfInfomsg {
		return 0, unix.ENODEV
	}
	b := msgs[0][unix.SizeofIfInfomsg:]
	for _, kind := range []uint16{unix.IFLA_AF_SPEC, unix.AF_INET6, unix.IFLA_INET6_FLAGS} {
		if b, err = attribute(b, kind); err != nil {
			return 0, fmt.Errorf("RTM_NEWLINK: %w", err)
		}
	}
	return uint32(attrUint32(b)), nil
}

// attribute returns the value of one attribute, or nil.
func attribute(b []byte, kind uint16) ([]byte, error) {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, err
	}
	for _, a := range attrs {
		if a.Attr.Type&^unix.NLA_F_NESTED == kind {
			return a.Value, nil
		}
	}
	return nil, nil
}

// readRoutes takes the default gateway and the prefixes on the link from the
// main routing table.
func (s *state6) readRoutes(index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6}})
	msgs, err := dump(req, unix.RTM_NEWROUTE)
	if err != nil {
		return fmt.Errorf("list the routes: %w", err)
	}
	for _, m := range msgs {
		if len(m) < unix.SizeofRtMsg {
			return fmt.Errorf("RTM_NEWROUTE of %d bytes", len(m))
		}
		head := nl.DeserializeRtMsg(m)
		if head.Table != unix.RT_TABLE_MAIN || head.Type != unix.RTN_UNICAST || head.Flags&unix.RTM_F_CLONED != 0 {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[unix.SizeofRtMsg:])
		if err != nil {
			return fmt.Errorf("RTM_NEWROUTE: %w", err)
		}
		to, via, out := netip.IPv6Unspecified(), netip.Addr{}, 0
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.RTA_DST:
				to, _ = netip.AddrFromSlice(a.Value)
			case unix.RTA_GATEWAY:
				via, _ = netip.AddrFromSlice(a.Value)
			case unix.RTA_OIF:
				out = attrUint32(a.Value)
			}
		}
		prefix := netip.PrefixFrom(to, int(head.Dst_len))
		switch {
		case out != index || !prefix.IsValid():
		case prefix.Bits() == 0 && via.IsValid() && !s.gateway.IsValid():
			s.gateway = via
		case !via.IsValid() && prefix.Bits() > 0 && isHost6(prefix.Addr()):
			s.onLink = append(s.onLink, prefix)
		}
	}
	return nil
}

// watch6 watches IPv6 come up on a NIC, and asks its routers to speak.
type watch6 struct {
	*nic
	host    *host
	sock    *nl.NetlinkSocket
	routers *socket       // where they are asked; nil: they are not
	asked   time.Time     // when they were; zero: not yet
	prefix  bool          // one promised an address: see promised
	changed chan struct{} // something did
	ended   chan struct{} // closed when receive has returned

	mu         sync.Mutex
	err        error        // why receive ended
	dns        []netip.Addr // of router advertisements
	duplicates []netip.Addr // addresses that others have
}

// watch6 begins to watch. Close it.
func (h *host) watch6(n *nic) (*watch6, error) {
	w := &watch6{nic: n, host: h, changed: make(chan struct{}, 1), ended: make(chan struct{})}
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_IFINFO, unix.RTNLGRP_ND_USEROPT)
	if err != nil {
		return nil, n.fail(err, "its IPv6 events cannot be watched")
	}
	w.sock = sock
	go w.receive() // ends with Close
	return w, nil
}

func (w *watch6) Close() {
	w.sock.Close()
	<-w.ended
	if w.routers != nil {
		w.routers.Close()
	}
}

// receive notes what only events tell, and that there was one.
func (w *watch6) receive() {
	defer close(w.ended)
	for {
		msgs, _, err := w.sock.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			return
		}
		for _, m := range msgs {
			w.note(m)
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *watch6) note(m syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_DELADDR: // one of a router's prefix goes when it is found to be a duplicate
		if a, err := parseAddress(m.Data); err == nil && a.index == w.index && a.duplicate() {
			w.mu.Lock()
			w.duplicates = append(w.duplicates, a.Addr())
			w.mu.Unlock()
		}
	case unix.RTM_NEWNDUSEROPT:
		dns, index := parseRDNSS(m.Data)
		if index != w.index {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, a := range dns {
			if !slices.Contains(w.dns, a) && len(w.dns) < 8 {
				w.dns = append(w.dns, a)
			}
		}
	}
}

// parseRDNSS reads the name servers of an RTM_NEWNDUSEROPT: struct nduseroptmsg
// of 16 bytes (linux/rtnetlink.h), and the option (RFC 8106, 5.1: type, length
// in units of 8 bytes, 2 bytes reserved, lifetime, addresses).
func parseRDNSS(m []byte) (dns []netip.Addr, index int) {
	const head, rdnss = 16, 25
	if len(m) < head || m[0] != unix.AF_INET6 {
		return nil, 0
	}
	opts, index := m[head:], int(int32(binary.NativeEndian.Uint32(m[4:])))
	if length := int(binary.NativeEndian.Uint16(m[2:])); length < len(opts) {
		opts = opts[:length]
	}
	for len(opts) >= 8 {
		length := int(opts[1]) * 8
		if length == 0 || length > len(opts) {
			return dns, index
		}
		if opts[0] == rdnss && binary.BigEndian.Uint32(opts[4:]) > 0 {
			for b := opts[8:length]; len(b) >= 16; b = b[16:] {
				if a := netip.AddrFrom16([16]byte(b)); isHost6(a) || a.IsLinkLocalUnicast() {
					dns = append(dns, a)
				}
			}
		}
		opts = opts[length:]
	}
	return dns, index
}

// noRouters is how long it takes to know that there is no router: three
// solicitations, four seconds apart, and one second more (RFC 4861, 6.3.7 and
// 10).
func (h *host) noRouters() time.Duration { return 2*h.solicit + h.solicit/4 }

// await waits until look says that the state is as wanted, and returns it. From
// when the NIC has an address to send from it asks the routers to speak, if that
// was begun: the kernel does so itself, but only after it has checked that
// address, and not when the link was up before. The error is look's, or ctx's, or
// context.DeadlineExceeded after limit.
func (w *watch6) await(ctx context.Context, what string, limit time.Duration, look func(*state6) (bool, error)) (*state6, error) {
	var done func()
	defer func() {
		if done != nil {
			done()
		}
	}()
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		s, err := getState6(w.index)
		if err != nil {
			return nil, err
		}
		if ok, err := look(s); ok || err != nil {
			return s, err
		}
		if done == nil {
			done = w.p.Wait(what, limit)
		}
		var again <-chan time.Time
		if w.routers != nil && !s.gateway.IsValid() && len(s.linkLocal(address.sends)) > 0 {
			if time.Since(w.asked) >= w.host.solicit {
				w.solicit()
			}
			again = time.After(time.Until(w.asked.Add(w.host.solicit)))
		}
		select {
		case <-w.changed:
		case <-again:
		case <-w.ended:
			w.mu.Lock()
			defer w.mu.Unlock()
			return s, fmt.Errorf("read IPv6 events: %w", w.err)
		case <-ctx.Done():
			if outer.Err() != nil {
				return s, outer.Err()
			}
			return s, ctx.Err()
		}
	}
}

// duplicate returns an address of a router's prefix that another machine has, if
// there is one.
func (w *watch6) duplicate() (netip.Addr, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.duplicates) == 0 {
		return netip.Addr{}, false
	}
	return w.duplicates[0], true
}

// solicit sends a router solicitation (RFC 4861, 4.1), without the MAC, which
// an address that is not checked yet must not tell (RFC 4429, 2.2). The kernel
// fills in the checksum.
func (w *watch6) solicit() {
	w.asked = time.Now()
	const routerSolicitation = 133
	message := []byte{routerSolicitation, 7: 0}
	if err := w.routers.send(message, linkAddr(w.link, netip.IPv6LinkLocalAllRouters(), 0)); err != nil {
		w.p.Printf("%s: router solicitation not sent: %v", w.name, err)
	}
}

// promised says whether a router has advertised a prefix to make an address of.
// What the kernel makes of an advertisement it makes bit by bit, the address
// last; the message itself is there before (ip6_protocol_deliver_rcu).
func (w *watch6) promised() bool {
	for b := w.routers.poll(); b != nil; b = w.routers.poll() {
		w.prefix = w.prefix || autonomous(b)
	}
	return w.prefix
}

// autonomous says whether an ICMPv6 message is a router advertisement with an
// option for a prefix that has the A flag and is still valid (RFC 4861, 4.2 and
// 4.6.2).
func autonomous(b []byte) bool {
	const advertisement, head, prefix, flagA = 134, 16, 3, 0x40
	if len(b) < head || b[0] != advertisement {
		return false
	}
	for b = b[head:]; len(b) >= 8; {
		length := int(b[1]) * 8
		if length == 0 || length > len(b) {
			return false
		}
		if b[0] == prefix && length == 32 && b[3]&flagA != 0 && binary.BigEndian.Uint32(b[4:]) > 0 {
			return true
		}
		b = b[length:]
	}
	return false
}
