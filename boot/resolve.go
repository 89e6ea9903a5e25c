package boot

import (
	"context"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

const (
	maxServers    = 6 // name servers that are asked
	maxDomains    = 6 // search domains that are tried
	maxResolvConf = 64 << 10
)

// resolve returns the addresses of a portal's host, those that a route leads to
// first: of an address itself, of a name those in the image's /etc/hosts, else
// those that the name servers know of nameserver=, of the NICs' own, of DHCP and
// router advertisements of the NICs that are up, or else of the image's
// /etc/resolv.conf. It asks them until ctx ends or all say that there is none. An
// error may pass: the name, or another NIC with another server, may come.
func resolve(ctx context.Context, root fs.FS, plan *fw.Plan, nics []*network.Result, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs := inHosts(root, host)
	if len(addrs) == 0 {
		servers, search := nameServers(root, plan, nics)
		var err error
		if addrs, err = network.Lookup(ctx, servers, search, host); err != nil {
			return nil, err
		}
	}
	return reachableFirst(addrs, func(a netip.Addr) bool {
		_, _, err := network.RouteTo(a)
		return err == nil
	}), nil
}

func reachableFirst(addrs []netip.Addr, reachable func(netip.Addr) bool) []netip.Addr {
	var first, rest []netip.Addr
	for _, a := range addrs {
		if reachable(a) {
			first = append(first, a)
		} else {
			rest = append(rest, a)
		}
	}
	return append(first, rest...)
}

// nameServers returns the servers and the search domains of all sources.
func nameServers(root fs.FS, plan *fw.Plan, nics []*network.Result) (servers []netip.Addr, search []string) {
	add := func(list ...netip.Addr) {
		for _, a := range list {
			if a.IsValid() && len(servers) < maxServers && !slices.Contains(servers, a) {
				servers = append(servers, a)
			}
		}
	}
	domain := func(list ...string) {
		for _, d := range list {
			if d != "" && len(search) < maxDomains && !slices.Contains(search, d) {
				search = append(search, d)
			}
		}
	}
	add(plan.DNS...)
	for _, n := range plan.NICs {
		add(n.DNS...)
	}
	for _, n := range nics {
		if plan.NoPeerDNS {
			break
		}
		add(n.DNS...)
		if n.Lease != nil {
			domain(strings.Fields(n.Lease.Domain)...) // some servers name several
		}
		if n.Lease6 != nil {
			domain(n.Lease6.Domain)
		}
	}
	named := len(servers) > 0
	for _, f := range etcLines(root, "etc/resolv.conf") {
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && !named {
				add(a)
			}
		case "search", "domain":
			domain(f[1:]...)
		}
	}
	return servers, search
}

// inHosts returns the addresses of a name in /etc/hosts.
func inHosts(root fs.FS, host string) (addrs []netip.Addr) {
	for _, f := range etcLines(root, "etc/hosts") {
		addr, err := netip.ParseAddr(f[0])
		for _, name := range f[1:] {
			if err == nil && strings.EqualFold(name, strings.TrimSuffix(host, ".")) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// etcLines returns the lines of a file that have two words or more, without
// comments. A file that is not there has none.
func etcLines(root fs.FS, file string) (lines [][]string) {
	data, _ := fs.ReadFile(root, file)
	for line := range strings.Lines(string(data[:min(len(data), maxResolvConf)])) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 1 {
			lines = append(lines, f)
		}
	}
	return lines
}
