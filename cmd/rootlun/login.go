package main

import (
	"context"
	"errors"
	"flag"
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
	flags := flag.NewFlagSet("login", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, loginUsage); flags.PrintDefaults() }
	flags.StringVar(&cfg.TargetName, "target", "", "the target's iSCSI `name`")
	flags.StringVar(&cfg.InitiatorName, "initiator", "", "our iSCSI `name`")
	portal := flags.String("portal", "", "the portal's `address`, with a port if it is not 3260")
	lun := flags.Uint64("lun", 0, "the logical unit, as Linux counts it (decimal)")
	timeout := flags.Duration("timeout", 30*time.Second, "how long to try")
	credentials := flags.String("credentials", "", "a `file` with node.session.auth.* settings, one NAME = VALUE a line")
	flags.Func("param", "an open-iscsi record setting, `NAME=VALUE`; may be repeated", func(s string) error { return setParam(&cfg, s) })
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	fail := func(code int, err error) int {
		fmt.Fprintf(stderr, "rootlun login: %v\n", err)
		return code
	}
	var err error
	if cfg.Portal, err = parsePortal(*portal); err != nil {
		return fail(2, err)
	}
	if cfg.TargetName == "" || cfg.InitiatorName == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	if *credentials != "" {
		if err := readCredentials(&cfg, *credentials); err != nil {
			return fail(2, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	disk, err := boot.Login(ctx, boot.NewConsole(stderr, start), cfg, *lun)
	if err != nil {
		return fail(1, err)
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
