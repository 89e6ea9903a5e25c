package network

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// spareTimeout is for how long is asked for what a boot can do without.
const spareTimeout = 10 * time.Second

// Lease6 is what a DHCPv6 server said, and who it said it to. The strings hold
// no control characters, but are otherwise the server's.
type Lease6 struct {
	Server      []byte     // its DUID, RFC 8415, 11
	Client      []byte     // ours
	IAID        uint32     // identity association of Address
	Address     netip.Addr // not valid where only information was asked for
	Preferred   time.Duration
	Valid       time.Duration
	BootFileURL string // option 59, RFC 5970
	Domain      string // the first of option 24
}

// auto6 says that IPv6 addresses are asked of the network.
func (cfg *Config) auto6() bool { return cfg.RA || cfg.DHCP6 }

// spares says that the boot can do without that IP version's address: the other's
// is asked for as well, and no portal needs this.
func (cfg *Config) spares(version int) bool {
	return cfg.DHCP && cfg.auto6() &&
		!slices.ContainsFunc(cfg.Peers, func(a netip.Addr) bool { return family(a.Unmap()) == version })
}

// prepare6 sets the kernel up for IPv6 on the NIC; it must be done before the
// link is set up, when the kernel makes the link-local address. Some of it is
// only for now: restore ends that.
func (h *host) prepare6(n *nic, cfg *Config) (restore func(), err error) {
	restore = func() {}
	if !cfg.uses6(n) {
		return restore, nil
	}
	local := n.localPeer(cfg)
	dir := path.Join(h.procfs, "sys/net/ipv6/conf", n.name)
	if _, err := os.Stat(dir); err != nil && cfg.Load != nil {
		_ = cfg.Load("ipv6") // if there is none still, that shows below
	}
	if !cfg.auto6() && !local {
		return restore, nil
	}
	accept := "1"
	if strings.TrimSpace(readFile(path.Join(dir, "forwarding"))) == "1" {
		accept = "2" // also on a router
	}
	for _, s := range [...]struct {
		name, value string
		forRA, now  bool // only for router advertisements; only until the address is there
	}{
		{"accept_ra", accept, true, false}, {"autoconf", "1", true, false}, {"disable_ipv6", "0", false, false},
		// The address is checked at once, not after a random second, and what has to
		// be asked is asked from it meanwhile (RFC 4429). A kernel that cannot do
		// without takes a second or two longer.
		{"router_solicitation_delay", "0", false, true}, {"optimistic_dad", "1", false, true}, {"use_optimistic", "1", false, true},
	} {
		file := path.Join(dir, s.name)
		before := strings.TrimSpace(readFile(file))
		if s.forRA && !cfg.auto6() || before == s.value {
			continue
		}
		err := os.WriteFile(file, []byte(s.value), 0)
		back := func() error { return os.WriteFile(file, []byte(before), 0) }
		switch {
		case s.now && err == nil:
			rest := restore
			restore = func() { _ = back(); rest() } // the NIC may be gone
		case !s.now && err != nil:
			return restore, n.fail(err, "cannot have IPv6; check that the kernel has it (module ipv6; ipv6.disable= on its command line)")
		case !s.now:
			n.onLinkFailure(back)
		}
	}
	return restore, nil
}

// uses6 says whether the NIC needs IPv6.
func (cfg *Config) uses6(n *nic) bool {
	return cfg.auto6() || n.localPeer(cfg) || slices.ContainsFunc(cfg.Address, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// localPeer says whether the NIC's link-local address is needed.
func (n *nic) localPeer(cfg *Config) bool {
	return cfg.LinkLocal || slices.ContainsFunc(cfg.Peers, func(a netip.Addr) bool {
		return a.Is6() && a.IsLinkLocalUnicast() &&
			(a.Zone() == "" || a.Zone() == n.name || a.Zone() == strconv.Itoa(n.index))
	})
}

// configure6 waits for the IPv6 addresses that cfg asks for, and notes them in
// the NIC and in res.
func (n *nic) configure6(ctx context.Context, h *host, cfg *Config, res *Result) error {
	local := n.localPeer(cfg)
	if !cfg.auto6() && !local {
		return nil
	}
	w, err := h.watch6(n)
	if err != nil {
		return err
	}
	defer w.Close()
	if cfg.auto6() {
		err := w.automatic(ctx, cfg, res)
		switch {
		case err != nil && cfg.spares(unix.AF_INET6) && len(n.addresses) > 0 && ctx.Err() == nil:
			n.p.Printf("warning: %v; no portal needs it", err)
		case err != nil:
			return err
		}
	}
	if local {
		s, err := w.checked(ctx, cfg, (*address).linkLocal)
		if err != nil {
			return err
		}
		if cfg.LinkLocal && len(n.addresses) == 0 {
			n.addresses = s.linkLocal((*address).usable)
		}
	}
	return nil
}

// automatic gets addresses by router advertisements and DHCPv6.
func (w *watch6) automatic(ctx context.Context, cfg *Config, res *Result) error {
	auto := orMinute(ctx, cfg.AutoTimeout)
	if cfg.spares(unix.AF_INET6) {
		auto = min(auto, spareTimeout)
	}
	s, err := getState6(w.index)
	if err != nil {
		return w.fail(err, "its IPv6 addresses cannot be read")
	}
	// DHCPv6 alone takes none of a router's prefix for its own: these are not permanent.
	own := func(a *address) bool {
		return a.usable() && (cfg.RA || a.Bits() == 128 || a.flags&unix.IFA_F_PERMANENT != 0)
	}
	if have := s.global(own); w.up() && len(have) > 0 {
		w.p.Printf("%s has its IPv6 address already and is left as it is", w.name)
		w.addresses, res.Gateway6 = append(w.addresses, have...), s.gateway
		return nil
	}
	if w.routers, err = newSocket6(w.link, unix.SOCK_RAW, unix.IPPROTO_ICMPV6, 0); err != nil {
		return w.fail(err, "cannot open a socket for router solicitations")
	}

	if s, err = w.advertisement(ctx, cfg, auto); err != nil {
		return err
	}
	given := len(s.global(unrefuted)) > 0 || w.listen().prefix
	switch {
	case cfg.DHCP6 && (!cfg.RA || !given) || s.flags&raManaged != 0:
		limit := cfg.DHCPTimeout
		if given || cfg.spares(unix.AF_INET6) {
			limit = min(limit, spareTimeout)
		}
		err := w.managed(ctx, cfg, limit, given, res)
		if now, _ := getState6(w.index); err != nil && now != nil && len(now.global(unrefuted)) > 0 && ctx.Err() == nil {
			w.p.Printf("warning: %v; going on with the address of a router advertisement", err)
		} else if err != nil {
			return err
		}
	case s.flags&raOther != 0:
		w.information(ctx, res)
	}
	if s, err = w.checked(ctx, cfg, (*address).global); err != nil {
		return err
	}
	if s, err = w.routed(ctx, cfg, s, auto); err != nil {
		return err
	}
	for _, p := range s.global((*address).usable) {
		if !slices.Contains(w.addresses, p) {
			w.addresses = append(w.addresses, p)
		}
	}
	res.Gateway6 = s.gateway
	w.servers(res, w.listen().dns)
	return nil
}

// unrefuted says that an address is not another machine's, as far as is known.
func unrefuted(a *address) bool { return a.checking() || a.usable() }

// advertisement waits for what a router says, as far as it is needed: an address or
// that there is DHCPv6 to be asked. Where DHCPv6 is asked anyway it waits for no
// more than an address to ask from.
func (w *watch6) advertisement(ctx context.Context, cfg *Config, limit time.Duration) (*state6, error) {
	wait := limit
	if cfg.RA && cfg.DHCP6 {
		wait = min(limit, w.host.noRouters())
	}
	start := time.Now()
	s, err := w.await(ctx, "router advertisement on "+w.name, wait, func(s *state6) (bool, error) {
		if d := s.linkLocal((*address).duplicate); len(d) > 0 {
			return false, w.inUse(d[0].Addr())
		}
		sends := len(s.linkLocal((*address).sends)) > 0
		switch {
		case !sends:
			return false, nil
		case !cfg.RA, cfg.DHCP6 && (s.gateway.IsValid() || s.flags&raReceived != 0) && !w.listen().prefix:
			return true, nil
		}
		if len(s.global(unrefuted)) > 0 || s.flags&raManaged != 0 {
			return true, nil
		}
		if len(w.duplicates) > 0 {
			return false, w.inUse(w.duplicates[0])
		}
		return false, nil
	})
	_, failed := errors.AsType[*Error](err)
	switch {
	case err == nil, failed:
		return s, err
	case s == nil || ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded):
		return nil, w.fail(err, "router advertisements cannot be awaited")
	case ctx.Err() == nil && cfg.RA && cfg.DHCP6 && len(s.linkLocal((*address).sends)) > 0:
		return s, nil // DHCPv6 may be there all the same
	case len(s.linkLocal((*address).sends)) == 0:
		return nil, w.fail(err, "no link-local IPv6 address after %s; check the kernel log", seconds(time.Since(start)))
	}
	return nil, w.fail(err, "no IPv6 address by router advertisements after %s%s; check that a router advertises an autonomous prefix of 64 bits, or DHCPv6, on this network",
		seconds(time.Since(start)), w.router(s))
}

// router says for a person what is known of routers.
func (w *watch6) router(s *state6) string {
	switch {
	case s.gateway.IsValid():
		return " (router " + s.gateway.String() + " gives none)"
	case s.flags&raReceived != 0:
		return " (a router gives none)"
	}
	return ""
}

// managed gets an address by DHCPv6 and gives it to the NIC. One that another
// machine has is declined, and another asked for.
func (w *watch6) managed(ctx context.Context, cfg *Config, limit time.Duration, content bool, res *Result) error {
	d, err := w.host.dhcp6(w.nic)
	if err != nil {
		return err
	}
	defer d.Close()
	d.content = content
	for try := 1; ; try++ {
		a, err := d.address(ctx, limit)
		if err != nil {
			return err
		}
		s, err := getState6(w.index)
		if err != nil {
			return w.fail(err, "its IPv6 routes cannot be read")
		}
		// A leased address says nothing of what is on the link (RFC 8415, 18.2.10.1);
		// a router does. All clients take it so, and networkd refuses to take over
		// one with a shorter prefix.
		p := netip.PrefixFrom(a.address, 128)
		w.near = s.onLink
		before := len(w.undo)
		switch err := newAddress(w.index, p, 0); {
		case err == nil:
			w.onFailure(func() error { return delAddress(w.index, p) })
		case !errors.Is(err, unix.EEXIST):
			return w.fail(err, "cannot have the address %s", p)
		}
		_, err = w.checked(ctx, cfg, func(a *address) bool { return a.Prefix == p })
		_, duplicate := errors.AsType[*duplicateError](err)
		switch {
		case err == nil:
			w.lease6(res, d.client, a)
			return nil
		case !duplicate || try == 3:
			return err
		}
		w.p.Printf("%v; DHCPv6 is asked for another one", err)
		d.decline(a)
		_ = delAddress(w.index, p)
		w.undo = w.undo[:before]
	}
}

// information asks DHCPv6 for name servers, while the address is checked and no
// longer: a boot seldom needs them.
func (w *watch6) information(ctx context.Context, res *Result) {
	d, err := w.host.dhcp6(w.nic)
	if err == nil {
		defer d.Close()
		var a *answer6
		if a, err = d.information(ctx, 2); err == nil {
			w.lease6(res, d.client, a)
			return
		}
	}
	if ctx.Err() == nil {
		w.p.Printf("%s: no information by DHCPv6: %v", w.name, err)
	}
}

// lease6 notes what a DHCPv6 server said.
func (w *watch6) lease6(res *Result, c client6, a *answer6) {
	res.Lease6 = &Lease6{Server: a.server, Client: c.duid, IAID: c.iaid, Address: a.address, Preferred: a.preferred, Valid: a.valid,
		BootFileURL: a.bootFile, Domain: a.domain}
	w.servers(res, a.dns)
}

// servers adds name servers to those of res.
func (w *watch6) servers(res *Result, dns []netip.Addr) {
	for _, a := range dns {
		if a.IsLinkLocalUnicast() {
			a = a.WithZone(w.name)
		}
		if !slices.Contains(res.DNS, a) {
			res.DNS = append(res.DNS, a)
		}
	}
}

// checked waits until duplicate address detection is over for the addresses
// that pick picks, and one of them is the NIC's.
func (w *watch6) checked(ctx context.Context, cfg *Config, pick func(*address) bool) (*state6, error) {
	limit := orMinute(ctx, cfg.DADTimeout)
	s, err := w.await(ctx, "duplicate address detection on "+w.name, limit, func(s *state6) (bool, error) {
		usable, taken := false, netip.Addr{}
		if len(w.duplicates) > 0 {
			taken = w.duplicates[0]
		}
		for i := range s.addresses {
			switch a := &s.addresses[i]; {
			case !pick(a):
			case a.checking():
				return false, nil
			case a.usable():
				usable = true
			case a.duplicate():
				taken = a.Addr()
			}
		}
		if !usable && taken.IsValid() {
			return false, w.inUse(taken)
		}
		return usable, nil
	})
	if _, failed := errors.AsType[*Error](err); err == nil || failed {
		return s, err
	}
	return nil, w.fail(err, "no IPv6 address passed duplicate address detection within %s; check what the routers advertise, and the kernel log", seconds(limit))
}

// duplicateError says that another machine has the address.
type duplicateError struct{ addr netip.Addr }

func (e *duplicateError) Error() string { return "duplicate address " + e.addr.String() }

func (w *watch6) inUse(a netip.Addr) error {
	return w.fail(&duplicateError{a}, "the address %s is in use by another machine on this link; check for the same MAC or the same address twice", a)
}

// routed waits for the routes of router advertisements where a portal needs
// one, if nobody says how long for as long as it takes to know that there are no
// routers.
func (w *watch6) routed(ctx context.Context, cfg *Config, s *state6, limit time.Duration) (*state6, error) {
	var peers []netip.Addr
	for _, a := range cfg.Peers {
		if isHost6(a) && !cfg.Gateway.Is6() {
			peers = append(peers, a)
		}
	}
	now, err := w.await(ctx, "route on "+w.name, cmp.Or(cfg.RouteTimeout, min(limit, w.host.noRouters())), func(s *state6) (bool, error) { return w.reaches(peers), nil })
	switch {
	case err == nil:
		return now, nil
	case ctx.Err() != nil:
		return nil, w.fail(err, "no route to %s; check that a router advertises itself", peers[0])
	}
	return s, nil
}

// orMinute is a limit that has a default, and is not over after ctx is.
func orMinute(ctx context.Context, limit time.Duration) time.Duration {
	if limit == 0 {
		limit = time.Minute
	}
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	return limit
}
