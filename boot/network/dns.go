package network

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/timer"
)

// maxDNSWait is the longest that one server is waited for at a time.
const maxDNSWait = 8 * time.Second

// Lookup returns the addresses of a name, IPv4 first. It asks the servers for A
// and AAAA records at once (RFC 1035, RFC 3596), one server after the other, the
// next when one has not answered for a second, and goes round again with longer
// waits until ctx ends. That a name has no address is believed when all servers
// say so. A name without a dot is tried in each of the search domains first. An
// IPv6 link-local server has an interface's name as its zone. The error is an
// *Error.
//
// The package net has a resolver too; it would add 500 KB to the boot binary.
func Lookup(ctx context.Context, servers []netip.Addr, search []string, name string) ([]netip.Addr, error) {
	r := resolver{port: 53, wait: time.Second}
	return r.lookup(ctx, servers, search, name)
}

// resolver asks name servers.
type resolver struct {
	port int           // of all of them
	wait time.Duration // for an answer; a round takes no less
}

func (r resolver) lookup(ctx context.Context, servers []netip.Addr, search []string, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if len(servers) == 0 {
		return nil, &Error{name, "no name server is known; check nameserver=, or write the address", nil}
	}
	var names []string
	for _, domain := range search {
		if !strings.Contains(name, ".") {
			names = append(names, name+"."+domain)
		}
	}
	names = append(names, name)
	began, failures := time.Now(), ""
	for tries := 1; ; tries++ {
		round := timer.After(r.wait)
		now := ""
		for _, n := range names {
			for _, server := range servers {
				addrs, err := r.ask(ctx, server, n, tries%2 == 0)
				if len(addrs) > 0 {
					return addrs, nil
				}
				if err != nil {
					now += "; " + server.String() + ": " + err.Error()
				}
			}
		}
		if now == "" {
			return nil, &Error{name, "the name has no address, all name servers say; check the name", nil}
		}
		if failures == "" || ctx.Err() == nil { // else time was up, and the round before says more
			failures = now
		}
		select {
		case <-round:
			r.wait = min(2*r.wait, maxDNSWait)
		case <-ctx.Done():
			return nil, failed(name, ctx.Err(), "no address within %s%s; check the name servers and the way to them", seconds(time.Since(began)), failures)
		}
	}
}

// ask asks one server once, and waits until both answers are there; when only one
// comes in time and has addresses, that will do. Without an error the server has
// said that there are none. extended: see dnsQuery.
func (r resolver) ask(ctx context.Context, server netip.Addr, name string, extended bool) (addrs []netip.Addr, err error) {
	wire := dnsName(name)
	if wire == "" { // which none can have
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	s, err := r.open(server.Unmap())
	if err != nil {
		return nil, plainError(err)
	}
	defer s.Close()
	id := uint16(rand.Uint32())
	open := [][]byte{dnsQuery(id, wire, typeA, extended), dnsQuery(id+1, wire, typeAAAA, extended)}
	for _, query := range open {
		if err := s.send(query, nil); err != nil {
			return nil, plainError(err)
		}
	}
	left, failure := len(open), error(nil)
	err = s.receive(ctx, func(b []byte) bool {
		for i, query := range open {
			list, ok, err := parseDNSAnswer(b, query)
			if !ok {
				continue
			}
			if open[i], left = nil, left-1; err != nil {
				failure = err
			}
			if i == 0 {
				addrs = append(list, addrs...)
			} else {
				addrs = append(addrs, list...)
			}
		}
		return left == 0
	})
	if failure == nil {
		failure = plainError(err)
	}
	return addrs[:min(len(addrs), maxAddresses)], failure
}

// open opens a socket that takes datagrams from the server alone. The kernel
// picks its port at random.
func (r resolver) open(server netip.Addr) (*socket, error) {
	return newSocket(family(server), unix.SOCK_DGRAM, 0, func(fd int) error {
		if server.Is4() {
			return unix.Connect(fd, &unix.SockaddrInet4{Port: r.port, Addr: server.As4()})
		}
		if zone := server.Zone(); zone != "" {
			if err := unix.BindToDevice(fd, zone); err != nil {
				return err
			}
		}
		return unix.Connect(fd, &unix.SockaddrInet6{Port: r.port, Addr: server.As16()})
	})
}

// plainError leaves of an error what tells people something.
func plainError(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer")
	}
	return err
}
