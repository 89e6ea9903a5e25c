// Package network brings up the NIC that leads to the root: link, carrier,
// addresses, routes, DHCP. It is the only user of the netlink and DHCP
// libraries, and it waits by the kernel's netlink events.
package network

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Config says which NIC to bring up, and how.
type Config struct {
	Name string           // interface name; wins over MAC
	MAC  net.HardwareAddr // nil with an empty Name: the only Ethernet NIC there is

	DHCP     bool           // DHCPv4; the fields below then add to its answer
	Address  []netip.Prefix // static, IPv4 or IPv6
	Gateway  netip.Addr
	Peers    []netip.Addr // the portals: each gets a host route when nothing else leads to it
	MTU      int          // 0: as it is, or as DHCP says
	Hostname string       // sent in DHCP

	LinkTimeout time.Duration // for the device and for the carrier, each; 0: 60 s
	DHCPTimeout time.Duration // 0: 60 s
}

// Result is the NIC as it stands now.
type Result struct {
	Name     string
	Index    int
	MAC      net.HardwareAddr
	Driver   string
	MTU      int
	Address  []netip.Prefix
	Gateway  netip.Addr
	DNS      []netip.Addr
	Hostname string
	Lease    *Lease // nil without DHCP
}

// Lease is what the DHCP server said beyond addresses.
type Lease struct {
	Server        netip.Addr
	Duration      time.Duration
	RootPath      string // option 17
	InitiatorName string // option 203
	Domain        string
}

// Progress hears what is going on. Wait is called when a wait begins that a
// person may notice; done ends it.
type Progress interface {
	Wait(what string, limit time.Duration) (done func())
	Printf(format string, args ...any)
}

// Up brings the NIC up and returns when its route is there. On failure it
// leaves the NIC as it found it.
func Up(ctx context.Context, cfg Config, p Progress) (*Result, error) { panic("not written yet") }
