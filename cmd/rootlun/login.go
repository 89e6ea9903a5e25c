package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

const loginUsage = `usage: rootlun login --target NAME --portal ADDRESS[:PORT] --initiator NAME [--lun N]

Logs in to a target with timers that are safe for a root (NOP off, replacement
timeout 86400 s), scans the LUN and prints its disk. The NIC has to be up.

  rootlun login --target iqn.2026-01.net.example:disk --portal 192.0.2.10 \
      --initiator iqn.2026-01.net.example:node1 --lun 0

`

// caller is what login and discover have in common: whom they call, and how.
type caller struct {
	cfg         session.Config
	credentials string
	discovery   fw.CHAP // from the credentials
	timeout     time.Duration
}

// read reads a verb's arguments, with the options of both and the verb's own.
func (c *caller) read(cmd *command, args []string, stdout, stderr io.Writer) (code int, ok bool) {
	c.cfg, c.timeout = session.Default(), 30*time.Second
	cmd.options = append(cmd.options,
		option{"initiator", "NAME", "our iSCSI name", toText(&c.cfg.InitiatorName)},
		option{"timeout", "TIME", "how long to try; default 30s", toDuration(&c.timeout)},
		option{"credentials", "FILE", "node.session.auth.* and discovery.sendtargets.auth.* settings, one NAME = VALUE a line", toText(&c.credentials)},
		option{"param", "NAME=VALUE", "an open-iscsi record setting; may be repeated", toParam(&c.cfg)})
	if code, ok = cmd.read(args, stdout, stderr); ok && c.credentials != "" {
		if err := c.readCredentials(stderr); err != nil {
			return cmd.fail(stderr, 2, err), false
		}
	}
	return code, ok
}

// runLogin is rootlun login.
func runLogin(args []string, stdout, stderr io.Writer) int {
	var c caller
	var lun uint64
	login := command{
		name:  "login",
		usage: loginUsage,
		must:  []string{"target", "portal", "initiator"},
		options: []option{
			{"target", "NAME", "the target's iSCSI name", toText(&c.cfg.TargetName)},
			{"portal", "ADDRESS", "the portal's address, with a port if it is not 3260", c.setPortal},
			{"lun", "N", "the logical unit, as Linux counts it; default 0", toNumber(&lun)},
		},
	}
	if code, ok := c.read(&login, args, stdout, stderr); !ok {
		return code
	}
	for _, w := range c.cfg.Warnings {
		fmt.Fprintf(stderr, "rootlun login: warning: %s\n", w)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	disk, err := boot.Login(ctx, boot.NewConsole(stderr, start), &c.cfg, lun)
	if err != nil {
		return login.fail(stderr, 1, err)
	}
	fmt.Fprintf(stdout, "/dev/%s\n", disk.Name)
	return 0
}

func (c *caller) setPortal(s string) (err error) {
	c.cfg.Portal, err = parsePortal(s)
	return err
}

// parsePortal reads 192.0.2.1, 192.0.2.1:3260, 2001:db8::1 or [2001:db8::1]:3260.
func parsePortal(s string) (netip.AddrPort, error) {
	const port = 3260 // RFC 7143, 4.2.7.3
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	if p, err := netip.ParseAddrPort(s); err == nil && p.Port() != 0 {
		return p, nil
	}
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : n-1]); err == nil {
			return netip.AddrPortFrom(a, port), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("the portal %q is not ADDRESS, ADDRESS:PORT or [IPV6]:PORT", s)
}
