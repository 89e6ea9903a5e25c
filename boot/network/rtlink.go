package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// link is what RTM_GETLINK says of an interface.
type link struct {
	name      string
	index     int
	mtu       int
	master    int // index of the bridge, bond or team it is part of; 0: none
	lower     int // index of the link that it stands on: a VLAN's; 0: none
	kind      string
	vlan      uint16   // a VLAN's ID
	alt       []string // its alternative names
	mac       net.HardwareAddr
	permanent net.HardwareAddr // the MAC it was made with; nil where the driver does not say
	flags     uint32           // IFF_*
	ethernet  bool
	carrier   bool // also of a link that is not up
	changes   int  // how often the carrier came or went
}

func (l *link) up() bool { return l.flags&unix.IFF_UP != 0 }

// running says that the link has carrier and that the kernel knows: it starts
// the transmit queue when it takes notice of the carrier, and drops packets
// before (net/core/link_watch.c). IFF_LOWER_UP is the carrier, IFF_RUNNING the
// notice; the latter alone is also set where nothing is known of the link yet.
func (l *link) running() bool {
	const want = unix.IFF_LOWER_UP | unix.IFF_RUNNING
	return l.flags&want == want
}

// listLinks returns all interfaces.
func listLinks() ([]*link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	msgs, err := dump(req, unix.RTM_NEWLINK)
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	links := make([]*link, 0, len(msgs))
	for _, m := range msgs {
		l, err := parseLink(m)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// getLink returns one interface.
func getLink(index int) (*link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(linkMessage(index))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	if len(msgs) == 0 {
		return nil, unix.ENODEV
	}
	return parseLink(msgs[0])
}

func linkMessage(index int) *nl.IfInfomsg {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	return msg
}

func parseLink(m []byte) (*link, error) {
	if len(m) < unix.SizeofIfInfomsg {
		return nil, fmt.Errorf("RTM_NEWLINK of %d bytes", len(m))
	}
	head := nl.DeserializeIfInfomsg(m)
	l := &link{index: int(head.Index), flags: head.Flags, ethernet: head.Type == unix.ARPHRD_ETHER}
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, fmt.Errorf("RTM_NEWLINK: %w", err)
	}
	for _, a := range attrs {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_ADDRESS:
			l.mac = a.Value
		case unix.IFLA_PERM_ADDRESS:
			l.permanent = a.Value
		case unix.IFLA_MTU:
			l.mtu = attrUint32(a.Value)
		case unix.IFLA_LINK:
			l.lower = attrUint32(a.Value)
		case unix.IFLA_LINKINFO:
			l.kind, l.vlan = parseLinkInfo(a.Value)
		case unix.IFLA_PROP_LIST:
			names, _ := nl.ParseRouteAttr(a.Value)
			for _, n := range names {
				if n.Attr.Type == unix.IFLA_ALT_IFNAME {
					l.alt = append(l.alt, unix.ByteSliceToString(n.Value))
				}
			}
		case unix.IFLA_MASTER:
			l.master = attrUint32(a.Value)
		case unix.IFLA_CARRIER:
			l.carrier = len(a.Value) > 0 && a.Value[0] != 0
		case unix.IFLA_CARRIER_CHANGES:
			l.changes = attrUint32(a.Value)
		}
	}
	return l, nil
}

// parseLinkInfo reads IFLA_LINKINFO: what kind of link it is, and the ID of a
// VLAN.
func parseLinkInfo(b []byte) (kind string, vlan uint16) {
	attrs, _ := nl.ParseRouteAttr(b)
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.IFLA_INFO_KIND:
			kind = unix.ByteSliceToString(a.Value)
		case a.Attr.Type&^unix.NLA_F_NESTED == unix.IFLA_INFO_DATA && kind == "vlan":
			data, _ := nl.ParseRouteAttr(a.Value)
			for _, d := range data {
				if d.Attr.Type == unix.IFLA_VLAN_ID && len(d.Value) >= 2 {
					vlan = binary.NativeEndian.Uint16(d.Value)
				}
			}
		}
	}
	return kind, vlan
}

// linkNamed returns the interface of that name, which may be an alternative
// one, or nil.
func linkNamed(links []*link, name string) *link {
	for _, l := range links {
		if l.name == name || slices.Contains(l.alt, name) {
			return l
		}
	}
	return nil
}

// setUp sets IFF_UP or clears it.
func setUp(index int, up bool) error {
	msg := linkMessage(index)
	msg.Change = unix.IFF_UP
	if up {
		msg.Flags = unix.IFF_UP
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	return run(req)
}

func setMTU(index, mtu int) error {
	return setLink(index, unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu)))
}

func setMAC(index int, mac net.HardwareAddr) error { return setLink(index, unix.IFLA_ADDRESS, mac) }

// setMaster makes a link a port of another; 0 ends that.
func setMaster(index, master int) error {
	return setLink(index, unix.IFLA_MASTER, nl.Uint32Attr(uint32(master)))
}

// setLink changes one attribute of a link.
func setLink(index, attribute int, value []byte) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(linkMessage(index))
	req.AddData(nl.NewRtAttr(attribute, value))
	return run(req)
}

// newLinkRequest makes a link of a kind, with more attributes of its own, or
// returns EEXIST, or EOPNOTSUPP where the kernel does not know the kind.
func newLinkRequest(name, kind string, more ...*nl.RtAttr) *nl.NetlinkRequest {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte(kind))
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(linkMessage(0))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	for _, a := range more {
		info.AddChild(a)
	}
	req.AddData(info)
	return req
}

func vlanRequest(parent int, name string, id uint16) *nl.NetlinkRequest {
	data := nl.NewRtAttr(unix.IFLA_INFO_DATA, nil)
	data.AddRtAttr(unix.IFLA_VLAN_ID, nl.Uint16Attr(id))
	req := newLinkRequest(name, "vlan", data)
	req.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent))))
	return req
}

func delLink(index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	req.AddData(linkMessage(index))
	return run(req)
}
