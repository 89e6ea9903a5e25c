package network

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

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

// checking says that duplicate address detection is not over for an address
// that could be used then.
func (a *address) checking() bool {
	return a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == unix.IFA_F_TENTATIVE
}

func (a *address) duplicate() bool { return a.flags&unix.IFA_F_DADFAILED != 0 }

// usable says that it can be the address of the root.
func (a *address) usable() bool {
	return a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0
}

// sends says that something may already be sent from it: RFC 4429.
func (a *address) sends() bool {
	return a.usable() || a.checking() && a.flags&unix.IFA_F_OPTIMISTIC != 0
}

func (a *address) linkLocal() bool { return a.Addr().IsLinkLocalUnicast() }
func (a *address) global() bool    { return !a.linkLocal() }

// global returns the addresses that are valid beyond the link and fit.
func (s *state6) global(fit func(*address) bool) []netip.Prefix {
	return s.only((*address).global, fit)
}

// linkLocal returns the link-local addresses that fit.
func (s *state6) linkLocal(fit func(*address) bool) []netip.Prefix {
	return s.only((*address).linkLocal, fit)
}

func (s *state6) only(scope, fit func(*address) bool) (list []netip.Prefix) {
	for i := range s.addresses {
		if a := &s.addresses[i]; scope(a) && fit(a) {
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
