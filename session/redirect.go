package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/rootlun/rootlun/session/login"
)

// maxRedirects is how often an attempt lets itself be sent on.
const maxRedirects = 8

// route is the way that an attempt takes from portal to portal.
type route struct {
	portal    netip.AddrPort
	redirects int
	note      func(string)
}

// follow connects to where a target sends us: to the first of its addresses that
// takes the connection. Each of several gets its part of the time until ctx's
// deadline, which there must be.
func (r *route) follow(ctx context.Context, c *Config, moved *login.RedirectError) (*os.File, error) {
	if r.redirects++; r.redirects > maxRedirects {
		return nil, fmt.Errorf("gave up after %d redirects: %w", maxRedirects, moved)
	}
	addrs, err := c.addresses(ctx, moved.Host)
	for i, addr := range addrs {
		if addr.IsUnspecified() { // that would be ourselves
			return nil, moved
		}
		if addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "" {
			addr = addr.WithZone(r.portal.Addr().Zone())
		}
		to := netip.AddrPortFrom(addr, moved.Port)
		end, _ := ctx.Deadline()
		part, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(len(addrs)-i))
		sock, dialErr := dial(part, to, c.Interface, c.TCPWindow)
		cancel()
		if dialErr == nil {
			r.note(r.portal.String() + " sends us on to " + to.String() + ": " + moved.Error())
			r.portal = to
			return sock, nil
		}
		err = errors.Join(err, fmt.Errorf("%v: %w", to, dialErr))
	}
	return nil, err
}

// addresses returns those of a host, at least one.
func (c *Config) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if c.Resolve == nil {
		return nil, errors.New("that is not an address, and there is nobody to ask for it")
	}
	return c.Resolve(ctx, host)
}
