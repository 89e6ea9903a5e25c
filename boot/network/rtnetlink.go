package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// This file speaks rtnetlink(7) through the library's nl package alone: the
// library's own links, addresses and routes weigh 320 KB more in the binary.

// route is a route through the NIC; without via its destination is on the link.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

func (r route) String() string {
	if r.via.IsValid() {
		return r.to.String() + " via " + r.via.String()
	}
	return r.to.String()
}

// listAddresses returns the addresses of one interface that are valid beyond
// its link.
func listAddresses(index int) (list []netip.Prefix, err error) {
	all, err := allAddresses(unix.AF_UNSPEC, index)
	for _, a := range all {
		if a.scope < unix.RT_SCOPE_LINK {
			list = append(list, a.Prefix)
		}
	}
	return list, err
}

// address is what RTM_NEWADDR and RTM_DELADDR say.
type address struct {
	netip.Prefix
	index int
	scope uint8
	flags uint32 // IFA_F_*
}

// allAddresses returns the addresses of that family of one interface.
func allAddresses(family, index int) (list []address, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfAddrmsg(family))
	msgs, err := dump(req, unix.RTM_NEWADDR)
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	for _, m := range msgs {
		a, err := parseAddress(m)
		if err != nil {
			return nil, err
		}
		if a.index == index && a.IsValid() {
			list = append(list, a)
		}
	}
	return list, nil
}

func parseAddress(m []byte) (a address, err error) {
	if len(m) < unix.SizeofIfAddrmsg {
		return a, fmt.Errorf("RTM_NEWADDR of %d bytes", len(m))
	}
	head := nl.DeserializeIfAddrmsg(m)
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfAddrmsg:])
	if err != nil {
		return a, fmt.Errorf("RTM_NEWADDR: %w", err)
	}
	// IPv4 has both attributes and IFA_LOCAL is ours; IPv6 has IFA_ADDRESS.
	a.index, a.scope, a.flags = int(head.Index), head.Scope, uint32(head.Flags)
	var local, addr netip.Addr
	old := false
	for _, at := range attrs {
		switch at.Attr.Type {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_ADDRESS:
			addr, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_FLAGS:
			a.flags = uint32(attrUint32(at.Value))
		case unix.IFA_CACHEINFO: // its preferred lifetime comes first; the kernel sets the flag a moment later
			old = attrUint32(at.Value) == 0
		}
	}
	if old {
		a.flags |= unix.IFA_F_DEPRECATED
	}
	if !local.IsValid() {
		local = addr
	}
	a.Prefix = netip.PrefixFrom(local, int(head.Prefixlen))
	return a, nil
}

// newAddress adds an address, or returns EEXIST. It stays for ever, also when
// DHCP leased it for less: nobody may be there to renew it, and the root
// depends on it. An IPv6 address is usable at once with IFA_F_NODAD in flags.
func newAddress(index int, p netip.Prefix, flags uint8) error {
	return run(addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, p, flags))
}

func delAddress(index int, p netip.Prefix) error {
	return run(addressRequest(unix.RTM_DELADDR, 0, index, p, 0))
}

func addressRequest(kind, flags, index int, p netip.Prefix, addressFlags uint8) *nl.NetlinkRequest {
	msg := nl.NewIfAddrmsg(family(p.Addr()))
	msg.Prefixlen = uint8(p.Bits())
	msg.Index = uint32(index)
	msg.Flags = addressFlags
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.Addr().AsSlice()))
	return req
}

// newRoute adds a route behind those to the same destination that are there,
// so that it never takes the place of another NIC's. The same route again is
// EEXIST.
func newRoute(index int, r route) error {
	return run(routeRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, index, r))
}

func delRoute(index int, r route) error {
	return run(routeRequest(unix.RTM_DELROUTE, 0, index, r))
}

func routeRequest(kind, flags, index int, r route) *nl.NetlinkRequest {
	msg := nl.NewRtMsg()
	msg.Family = uint8(family(r.to.Addr()))
	msg.Dst_len = uint8(r.to.Bits())
	if !r.via.IsValid() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, r.to.Addr().AsSlice()))
	if r.via.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.via.AsSlice()))
	}
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	return req
}

// routeTo asks the kernel how it would reach an address: through which gateway,
// if any, and which interface. Without a route the error is ENETUNREACH or
// EHOSTUNREACH.
func routeTo(a netip.Addr) (via netip.Addr, index int, err error) {
	msg := &nl.RtMsg{}
	msg.Family = uint8(family(a))
	msg.Dst_len = uint8(a.BitLen())
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	if len(msgs) == 0 || len(msgs[0]) < unix.SizeofRtMsg {
		return netip.Addr{}, 0, errors.New("RTM_GETROUTE: no answer")
	}
	attrs, err := nl.ParseRouteAttr(msgs[0][unix.SizeofRtMsg:])
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("RTM_NEWROUTE: %w", err)
	}
	for _, at := range attrs {
		switch at.Attr.Type {
		case unix.RTA_GATEWAY:
			via, _ = netip.AddrFromSlice(at.Value)
		case unix.RTA_OIF:
			index = attrUint32(at.Value)
		}
	}
	return via, index, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func attrUint32(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(b))
}

// run executes a request whose only answer is yes or no.
func run(req *nl.NetlinkRequest) error {
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// dump executes a request that lists. The kernel marks a list that changed
// under its hands, and then it is asked for again.
func dump(req *nl.NetlinkRequest, answer uint16) (msgs [][]byte, err error) {
	for range 10 {
		msgs, err = req.Execute(unix.NETLINK_ROUTE, answer)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return msgs, err
		}
	}
	return nil, err
}

// await waits until look says true: it looks at once, and again after each
// link event. It subscribes before it looks, so that none is lost, and takes an
// overrun of its buffer (ENOBUFS) for an event. wait is told p when there is
// something to wait for. The error is look's, or ctx's, or
// context.DeadlineExceeded after limit.
func await(ctx context.Context, p Progress, wait string, limit time.Duration, look func() (bool, error)) error {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		return fmt.Errorf("subscribe to link events: %w", err)
	}
	defer sock.Close()
	if done, err := look(); done || err != nil {
		return err
	}

	defer p.Wait(wait, limit)()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(ctx, sock.Close)() // ends Receive
	for {
		_, _, err := sock.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("read link events: %w", err)
		}
		if done, err := look(); done || err != nil {
			return err
		}
	}
}
