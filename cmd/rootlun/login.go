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
	flags.SetOutput(io.Discard) // an error is one line, below
	flags.StringVar(&cfg.TargetName, "target", "", "the target's iSCSI `name`")
	flags.StringVar(&cfg.InitiatorName, "initiator", "", "our iSCSI `name`")
	portal := flags.String("portal", "", "the portal's `address`, with a port if it is not 3260")
	lun := flags.Uint64("lun", 0, "the logical unit, as Linux counts it (decimal)")
	timeout := flags.Duration("timeout", 30*time.Second, "how long to try")
	credentials := flags.String("credentials", "", "a `file` with node.session.auth.* settings, one NAME = VALUE a line")
	var params []string // read later: package flag's errors would show a secret
	flags.Func("param", "an open-iscsi record setting, `NAME=VALUE`; may be repeated", func(s string) error {
		params = append(params, s)
		return nil
	})
	fail := func(code int, err error) int {
		fmt.Fprintf(stderr, "rootlun login: %v\n", err)
		if code == 2 {
			fmt.Fprintln(stderr, "rootlun login --help tells more")
		}
		return code
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, loginUsage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0
	case err != nil:
		return fail(2, err)
	case flags.NArg() > 0:
		return fail(2, fmt.Errorf("there is no argument %q", flags.Arg(0)))
	}
	for _, name := range []string{"target", "portal", "initiator"} {
		if flags.Lookup(name).Value.String() == "" {
			return fail(2, fmt.Errorf("--%s is missing", name))
		}
	}
	if cfg.Portal, err = parsePortal(*portal); err != nil {
		return fail(2, err)
	}
	for _, p := range params {
		if err := setParam(&cfg, p); err != nil {
			return fail(2, fmt.Errorf("--param: %w", err))
		}
	}
	if *credentials != "" {
		if err := readCredentials(&cfg, *credentials, stderr); err != nil {
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
