package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/session"
)

const loginUsage = `usage: rootlun login --target NAME --portal ADDRESS[:PORT] --initiator NAME [--lun N]

Logs in to a target with timers that are safe for a root (NOP off, replacement
timeout 86400 s), scans the LUN and prints its disk. The NIC has to be up.

  rootlun login --target iqn.2026-01.net.example:disk --portal 192.0.2.10 \
      --initiator iqn.2026-01.net.example:node1 --lun 0

`

// runLogin is rootlun login.
func runLogin(args []string, stdout, stderr io.Writer) int {
	cfg := session.Default()
	var lun uint64
	var credentials string
	timeout := 30 * time.Second
	login := command{
		name:  "login",
		usage: loginUsage,
		must:  []string{"target", "portal", "initiator"},
		options: []option{
			{"target", "NAME", "the target's iSCSI name", toText(&cfg.TargetName)},
			{"initiator", "NAME", "our iSCSI name", toText(&cfg.InitiatorName)},
			{"portal", "ADDRESS", "the portal's address, with a port if it is not 3260", func(s string) (err error) {
				cfg.Portal, err = parsePortal(s)
				return err
			}},
			{"lun", "N", "the logical unit, as Linux counts it; default 0", toNumber(&lun)},
			{"timeout", "TIME", "how long to try; default 30s", toDuration(&timeout)},
			{"credentials", "FILE", "node.session.auth.* settings, one NAME = VALUE a line", toText(&credentials)},
			{"param", "NAME=VALUE", "an open-iscsi record setting; may be repeated", func(s string) error { return setParam(&cfg, s) }},
		},
	}
	if code, ok := login.read(args, stdout, stderr); !ok {
		return code
	}
	if credentials != "" {
		if err := readCredentials(&cfg, credentials, stderr); err != nil {
			return login.fail(stderr, 2, err)
		}
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(stderr, "rootlun login: warning: %s\n", w)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	disk, err := boot.Login(ctx, boot.NewConsole(stderr, start), cfg, lun)
	if err != nil {
		return login.fail(stderr, 1, err)
	}
	fmt.Fprintf(stdout, "/dev/%s\n", disk.Name)
	return 0
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
