// Package network brings up the NIC that leads to the root: link, VLAN, bond,
// carrier, addresses, routes, DHCP. It is the only user of the netlink and DHCP
// libraries, and it waits by the kernel's netlink events. Beside netlink it
// reads /sys/class/net and /sys/bus/pci, and writes a bond's options
// (/sys/class/net/NAME/bonding) and, where NICs share a subnet,
// /proc/sys/net/ipv4/conf/NAME.
//
// Every error is an *Error. errors.Is finds context.DeadlineExceeded where a
// wait ran out, context.Canceled where the caller gave up, and the kernel's
// errno where it refused a request.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Config says which NIC to bring up, and how.
type Config struct {
	Name string           // interface name, also an alternative one or the one that udev would give it; wins over MAC
	MAC  net.HardwareAddr // nil with an empty Name and PCI: the only Ethernet NIC there is
	PCI  string           // "0000:00:03.0": which one where the MAC is no NIC's or that of several

	Bonds    []Bond           // a NIC that is a port of one is used through it; Name may be a bond's
	VLAN     uint16           // its frames carry this tag; 0: none
	VLANName string           // of the VLAN's interface; empty: "<NIC>.<VLAN>"
	SetMAC   net.HardwareAddr // nil: it keeps its own

	// Load loads the kernel module of a VLAN, a bond, IPv6: 8021q, bonding, ipv6. nil: it
	// is there. An error that is fs.ErrNotExist may mean that it is built in.
	Load func(module string) error

	DHCP      bool // DHCPv4; the fields below then add to its answer
	RA        bool // IPv6 addresses from router advertisements, and from DHCPv6 where these ask for it
	DHCP6     bool // DHCPv6; with RA only where that gives no address
	LinkLocal bool // the IPv6 link-local address is enough

	Address   []netip.Prefix // static, IPv4 or IPv6
	Gateway   netip.Addr     // instead of the DHCP server's
	Peers     []netip.Addr   // the portals: each gets a host route when nothing else leads to it
	Routes    []Route        // more of them; those whose gateway is not on this link are left out
	Narrow    bool           // no default route: the gateway serves the peers alone, each by a host route
	Loose     bool           // another NIC is in the same subnet: each answers for its own address, and the peers go by this one
	MTU       int            // 0: as it is, or as DHCP says
	Hostname  string         // sent in DHCP
	DNS       []netip.Addr   // its own name servers
	NoPeerDNS bool           // those that the network names are passed over

	Requested   netip.Addr // the address that DHCP once gave to firmware; not valid: not known
	VendorClass string     // sent in DHCP, option 60

	FindTimeout  time.Duration // for the device; 0: 60 s
	LinkTimeout  time.Duration // for its carrier; 0: 60 s
	DHCPTimeout  time.Duration // also for DHCPv6; 0: 60 s
	AutoTimeout  time.Duration // for router advertisements; 0: 60 s
	DADTimeout   time.Duration // for duplicate address detection; 0: 60 s
	RouteTimeout time.Duration // for a router's route to a peer, once the address is there; 0: 9 s

	// KeepLink says that a failure leaves the link as it is: up, with its VLAN
	// and its bond. Who tries again needs that, as a port of a switch that runs
	// spanning tree starts over when the link goes down.
	KeepLink bool
}

// Route is a route through the NIC; without gateway its destination is on the
// link.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
}

// Result is the NIC as it stands now.
type Result struct {
	Name     string
	Index    int
	MAC      net.HardwareAddr
	Made     net.HardwareAddr // the MAC that it was made with; nil: not known
	Driver   string           // empty for a NIC that is no hardware (VLAN, bond)
	VLAN     uint16           // 0: none
	Link     string           // the interface that the VLAN's frames go by
	Ports    []string         // of the bond that this is, or that the VLAN goes by
	Options  []Option         // of that bond, as it was asked for
	Below    []Part           // what it stands on: Ports, then Link
	MTU      int
	Address  []netip.Prefix
	Gateway  netip.Addr   // of the default route; not valid: none
	Gateway6 netip.Addr   // of router advertisements
	Routes   []Route      // all of them but the kernel's own; one may stand twice
	DNS      []netip.Addr // Config's own before those that the network names
	DHCP     bool         // its IPv4 address is leased
	RA       bool         // router advertisements are listened to
	Hostname string       // as DHCP says, else as in Config
	Lease    *Lease       // nil without DHCP, and where the NIC had its address already
	Lease6   *Lease6      // nil without DHCPv6, and so
}

// Part is an interface that a VLAN or a bond stands on.
type Part struct {
	Name  string
	Index int
	MAC   net.HardwareAddr
	Made  net.HardwareAddr // as in Result
	MTU   int
}

// Lease is what the DHCP server said beyond addresses. The strings hold no
// control characters, but are otherwise the server's; RootPath may carry a
// secret.
type Lease struct {
	Server        netip.Addr
	Acquired      time.Time     // by this machine's clock, which may be wrong yet
	Duration      time.Duration // may be Forever
	Renew, Rebind time.Duration // T1 and T2 (RFC 2131, 4.4.5), from Acquired on
	ClientID      []byte        // option 61 as it was sent
	RootPath      string        // option 17
	InitiatorName string        // option 203
	Domain        string
}

// Forever is how long a lease without an end lasts (RFC 2131, 3.3; RFC 8415,
// 7.7).
const Forever = (1<<32 - 1) * time.Second

// Progress hears what is going on. Wait is called when a wait begins that a
// person may notice; done ends it.
type Progress interface {
	Wait(what string, limit time.Duration) (done func())
	Printf(format string, args ...any)
}

// Error says which NIC the network failed at, and why.
type Error struct {
	NIC     string // interface name, or what was looked for
	Message string // what was tried, for how long, and what to check
	Err     error  // the cause; nil when there is none but Message
}

func (e *Error) Error() string {
	what, hint, _ := strings.Cut(e.Message, "; check ")
	what = e.NIC + ": " + what
	if e.Err != nil && !errors.Is(e.Err, context.DeadlineExceeded) { // Message says how long already
		what += ": " + e.Err.Error()
	}
	if hint != "" {
		what += "; check " + hint
	}
	return what
}

func (e *Error) Unwrap() error { return e.Err }

// Up brings the NIC up and returns when its route is there. On failure it
// leaves the NIC as it found it.
//
// A NIC that is up and has its addresses already is left as it is: with DHCP
// that is any IPv4 address, and no other is asked for. Only where no route
// leads to a peer does it get one.
func Up(ctx context.Context, cfg Config, p Progress) (*Result, error) {
	h := host{sysfs: "/sys", procfs: "/proc", run: "/run", retransmit: time.Second, solicit: 4 * time.Second}
	return h.up(ctx, cfg, p)
}

// host is the machine that the NIC is in.
type host struct {
	sysfs      string        // where sysfs is mounted
	procfs     string        // where procfs is
	run        string        // where udev runs, if it does; empty: it does not
	retransmit time.Duration // the first of DHCP's delays
	solicit    time.Duration // how far apart router solicitations are
}

// nic is a NIC on its way up.
type nic struct {
	*link     // as it was before it was set up, but for the MTU and the MAC
	driver    string
	lower     *nic     // what the VLAN goes by; nil: it is none
	ports     []string // of the bond
	parts     []Part   // the same
	options   []Option // of the bond
	addresses []netip.Prefix
	near      []netip.Prefix // what routers say is on the link, beside the addresses' own
	routes    []Route
	p         Progress
	undo      []func() error // what it takes to leave it as it was, first thing first
	keepLink  bool           // what is done to the link is not undone
}

func (h host) up(ctx context.Context, cfg Config, p Progress) (res *Result, err error) {
	cfg.FindTimeout = orMinute(ctx, cfg.FindTimeout)
	cfg.DHCPTimeout = orMinute(ctx, cfg.DHCPTimeout)
	n, err := h.base(ctx, &cfg, p)
	defer func() {
		if err != nil {
			n.restore()
		}
	}()
	if err != nil {
		return nil, err
	}
	mac, lowest := cfg.SetMAC, n
	if cfg.VLAN != 0 {
		if err := n.raise(mac, max(n.mtu, cfg.MTU)); err != nil {
			return nil, err
		}
		v, err := n.overVLAN(&cfg)
		if err != nil {
			return nil, err
		}
		n, mac = v, nil
	}

	kept, err := n.configured(cfg)
	if err != nil {
		return nil, err
	}
	restore6, err := h.prepare6(n, &cfg)
	defer restore6()
	if err != nil {
		return nil, err
	}
	if kept {
		p.Printf("%s has its address already and is left as it is", n.name)
	} else if err := n.raise(mac, cfg.MTU); err != nil {
		return nil, err
	}
	if err := n.awaitCarrier(ctx, &cfg); err != nil {
		return nil, err
	}
	if !kept {
		p.Printf("%s has its link", n.name)
	}
	if cfg.Loose {
		n.loosen(h.procfs)
	}

	res = &Result{Gateway: cfg.Gateway, Hostname: cfg.Hostname}
	var routes []route
	if cfg.DHCP && !kept {
		if routes, err = h.lease4(ctx, n, &cfg, res); err != nil {
			return nil, err
		}
	}
	for _, address := range cfg.Address {
		if err := n.addAddress(address); err != nil {
			return nil, err
		}
	}
	if err := n.configure6(ctx, &h, &cfg, res); err != nil {
		return nil, err
	}
	if !kept || !n.reaches(cfg.Peers) {
		routes, gateway := n.wanted(routes, &cfg)
		if res.Gateway, err = n.addRoutes(routes, gateway); err != nil {
			return nil, err
		}
	}
	for _, peer := range cfg.Peers {
		if err := n.leadTo(peer); err != nil {
			return nil, err
		}
	}
	res.Name, res.Index, res.MAC, res.Made, res.Driver = n.name, n.index, n.mac, n.permanent, n.driver
	res.VLAN, res.Ports, res.Options, res.RA = cfg.VLAN, lowest.ports, lowest.options, cfg.auto6()
	res.DHCP, res.Below = res.Lease != nil || cfg.DHCP && kept, lowest.parts
	if n != lowest {
		res.Link, res.Below = lowest.name, append(res.Below, lowest.part())
	}
	if cfg.NoPeerDNS {
		res.DNS = nil
	}
	res.DNS = append(cfg.DNS[:len(cfg.DNS):len(cfg.DNS)], res.DNS...)
	res.MTU, res.Address, res.Routes = n.mtu, n.addresses, n.routes
	return res, nil
}

// lease4 asks DHCPv4 and puts the answer into cfg and res. It returns the routes
// that came with it.
func (h host) lease4(ctx context.Context, n *nic, cfg *Config, res *Result) ([]route, error) {
	asked := *cfg
	if cfg.spares(unix.AF_INET) {
		asked.DHCPTimeout = min(cfg.DHCPTimeout, spareTimeout)
	}
	a, err := n.dhcp4(ctx, h.retransmit, asked)
	switch {
	case err != nil && cfg.spares(unix.AF_INET) && ctx.Err() == nil:
		n.p.Printf("warning: %v; no portal needs it", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	if cfg.MTU == 0 {
		if err := n.leasedMTU(ctx, a.mtu, cfg); err != nil {
			return nil, err
		}
	}
	cfg.Address = append([]netip.Prefix{a.address}, cfg.Address...)
	res.DNS, res.Lease = a.dns, &a.lease
	if a.hostname != "" {
		res.Hostname = a.hostname
	}
	return a.routes, nil
}

// base returns the NIC that cfg means, or the bond that it is a port of, before
// it is set up. It is never nil: it has what is to be undone.
func (h host) base(ctx context.Context, cfg *Config, p Progress) (*nic, error) {
	n := &nic{p: p, keepLink: cfg.KeepLink}
	for i := range cfg.Bonds {
		if b := &cfg.Bonds[i]; b.Name == cfg.Name || cfg.who() == theOnly && len(cfg.Bonds) == 1 {
			return n, h.bond(ctx, cfg, b, n)
		}
	}
	var err error
	if n.link, err = h.find(ctx, cfg, p); err != nil {
		return n, err
	}
	for i := range cfg.Bonds {
		if b := &cfg.Bonds[i]; b.has(h, n.link) {
			return n, h.bond(ctx, cfg, b, n)
		}
	}
	n.driver = h.driver(n.name)
	return n, nil
}

func (l *link) part() Part { return Part{l.name, l.index, l.mac, l.permanent, l.mtu} }

// onFailure notes how to take back what was just done.
func (n *nic) onFailure(undo func() error) { n.undo = append(n.undo, undo) }

// onLinkFailure is onFailure for what was done to the link itself.
func (n *nic) onLinkFailure(undo func() error) {
	if !n.keepLink {
		n.onFailure(undo)
	}
}

// restore takes back what was done to the NIC and what it stands on, last thing
// first.
func (n *nic) restore() {
	for i := len(n.undo) - 1; i >= 0; i-- {
		err := n.undo[i]()
		gone := errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
		if err != nil && !gone {
			n.p.Printf("%s is not as it was before: %v", n.name, err)
		}
	}
	if n.lower != nil {
		n.lower.restore()
	}
}

// fail returns an error about this NIC.
func (n *nic) fail(err error, format string, args ...any) error {
	name := n.name
	if n.driver != "" {
		name += " (" + n.driver + ")"
	}
	return failed(name, err, format, args...)
}

func failed(nic string, err error, format string, args ...any) error {
	return &Error{NIC: nic, Message: fmt.Sprintf(format, args...), Err: err}
}
