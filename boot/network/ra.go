package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/timer"
)

// Router advertisements are the kernel's: it makes addresses and routes of
// them, renews these, and lets them expire with the lifetimes that the routers
// give, so that nobody has to stay behind for them. This file watches what it
// makes (net/ipv6/addrconf.c, ndisc.c), asks the routers to speak, and reads in
// their advertisements what the kernel does not keep.

// watch6 watches IPv6 come up on a NIC.
type watch6 struct {
	*nic
	host   *host
	sock   *nl.NetlinkSocket
	events chan []syscall.NetlinkMessage // closed when sock cannot be read any more
	err    error                         // why that is
	closed chan struct{}

	routers    *socket      // where routers are asked and heard; nil: they are not
	asked      time.Time    // when they were; zero: not yet
	heard      advertised   // what they said
	duplicates []netip.Addr // of their prefixes' addresses, those that others have
}

// watch6 begins to watch. Close it.
func (h *host) watch6(n *nic) (*watch6, error) {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_IFINFO)
	if err != nil {
		return nil, n.fail(err, "its IPv6 events cannot be watched")
	}
	w := &watch6{nic: n, host: h, sock: sock, events: make(chan []syscall.NetlinkMessage), closed: make(chan struct{})}
	go w.receive() // ends with Close
	return w, nil
}

func (w *watch6) Close() {
	close(w.closed)
	w.sock.Close()
	for range w.events { // until receive has ended
	}
	if w.routers != nil {
		w.routers.Close()
	}
}

// receive passes events on. An overrun is one.
func (w *watch6) receive() {
	defer close(w.events)
	for {
		msgs, _, err := w.sock.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			w.err = err
			return
		}
		select {
		case w.events <- msgs:
		case <-w.closed:
			return
		}
	}
}

// note keeps what only events tell: an address of a router's prefix goes when it
// is found to be a duplicate.
func (w *watch6) note(msgs []syscall.NetlinkMessage) {
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_DELADDR {
			continue
		}
		if a, err := parseAddress(m.Data); err == nil && a.index == w.index && a.duplicate() {
			w.duplicates = append(w.duplicates, a.Addr())
		}
	}
}

// noRouters is how long it takes to know that there is no router: three
// solicitations, four seconds apart, and one second more (RFC 4861, 6.3.7 and
// 10).
func (h *host) noRouters() time.Duration { return 2*h.solicit + h.solicit/4 }

// await waits until look says that the state is as wanted, and returns it. From
// when the NIC has an address to send from it asks the routers to speak, if they
// are to be asked: the kernel does so itself, but only after it has checked that
// address, and not when the link was up before. The error is look's, or ctx's, or
// context.DeadlineExceeded after limit.
func (w *watch6) await(ctx context.Context, what string, limit time.Duration, look func(*state6) (bool, error)) (*state6, error) {
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := func() {}
	defer func() { done() }()
	for waiting := false; ; waiting = true {
		s, err := getState6(w.index)
		if err != nil {
			return nil, err
		}
		if ok, err := look(s); ok || err != nil {
			return s, err
		}
		if !waiting {
			done = w.p.Wait(what, limit)
		}
		var again <-chan struct{}
		if w.routers != nil && !s.gateway.IsValid() && len(s.linkLocal((*address).sends)) > 0 {
			if time.Since(w.asked) >= w.host.solicit {
				w.solicit()
			}
			again = timer.After(time.Until(w.asked.Add(w.host.solicit)))
		}
		select {
		case msgs, ok := <-w.events:
			if !ok {
				return s, fmt.Errorf("read IPv6 events: %w", w.err)
			}
			w.note(msgs)
		case <-again:
		case <-bound.Done():
			if ctx.Err() != nil {
				return s, ctx.Err()
			}
			return s, bound.Err()
		}
	}
}

// solicit sends a router solicitation (RFC 4861, 4.1), without the MAC, which
// an address that is not checked yet must not tell (RFC 4429, 2.2). The kernel
// fills in the checksum.
func (w *watch6) solicit() {
	w.asked = time.Now()
	const solicitation = 133
	message := []byte{solicitation, 7: 0}
	if err := w.routers.send(message, linkAddr(w.link, netip.IPv6LinkLocalAllRouters(), 0)); err != nil {
		w.p.Printf("%s: router solicitation not sent: %v", w.name, err)
	}
}

// listen reads the advertisements that have come. What the kernel makes of one it
// makes bit by bit, the address last; the message itself is there before
// (net/ipv6/ip6_input.c, ip6_protocol_deliver_rcu).
func (w *watch6) listen() *advertised {
	for b, from := w.routers.poll(); b != nil; b, from = w.routers.poll() {
		if from.IsLinkLocalUnicast() { // no other is of this link (RFC 4861, 6.1.2)
			w.heard.add(b)
		}
	}
	return &w.heard
}

// advertised is what routers said.
type advertised struct {
	prefix bool         // there is one to make an address of
	dns    []netip.Addr // RFC 8106, 5.1
}

// add reads an ICMPv6 message, and passes over what is no router advertisement
// (RFC 4861, 4.2) and what is broken.
func (r *advertised) add(b []byte) {
	const advertisement, head = 134, 16
	const prefix, flagA, rdnss = 3, 0x40, 25
	if len(b) < head || b[0] != advertisement {
		return
	}
	for b = b[head:]; len(b) >= 8; {
		length := int(b[1]) * 8
		if length == 0 || length > len(b) {
			return
		}
		lifetime := binary.BigEndian.Uint32(b[4:])
		switch {
		case lifetime == 0:
		case b[0] == prefix && length == 32 && b[2] == 64 && b[3]&flagA != 0:
			// Of no other does the kernel make an address that can be used.
			net, preferred := netip.AddrFrom16([16]byte(b[16:])), binary.BigEndian.Uint32(b[8:])
			r.prefix = r.prefix || 0 < preferred && preferred <= lifetime && !net.IsLinkLocalUnicast() && !net.IsMulticast()
		case b[0] == rdnss && len(r.dns) < 8:
			r.dns = append(r.dns, servers6(b[8:length])...)
		}
		b = b[length:]
	}
}
