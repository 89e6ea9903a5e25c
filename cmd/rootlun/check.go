package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/fw"
)

const checkUsage = `usage: rootlun check [--ibft FILE] [--cmdline TEXT|@FILE] [--root DIR]
                     [--dhcp NAME=VALUE]...

Reads the plan as show does, and tries on this machine what a boot by it needs:
the NICs and their links, the drivers, the routes, the portals, and that each
portal lists its target. It prints a verdict a line, with what to mend; skip is
what can't be told without changing something. It brings no link up, and
touches no session.

The exit code is 0 when nothing fails, 1 when something does, 21 when nothing
asks for iSCSI.

  rootlun check
  rootlun check --cmdline "netroot=iscsi:192.0.2.1::::iqn.2026-01.net.example:disk ip=dhcp"

`

// runCheck is rootlun check.
func runCheck(args []string, stdout, stderr io.Writer) int {
	in := input{stdin: os.Stdin}
	check := command{name: "check", usage: checkUsage, options: in.options()}
	if code, ok := check.read(args, stdout, stderr); !ok {
		return code
	}
	plan, err := in.read()
	if errors.Is(err, fw.ErrNothing) {
		return view{}.print(plan, err, stdout, stderr)
	}
	code := 0
	say := func(result, what, text string) {
		if result == "fail" {
			code = 1
		}
		fmt.Fprintf(stdout, "%-5s %s: %s\n", result, printable(what), printable(text))
	}
	for _, e := range errorTexts(err) {
		say("fail", "plan", e)
	}
	if err == nil {
		text := verdict(plan, 0, 0)
		if n := len(plan.Warnings); n > 0 {
			text += fmt.Sprintf("; warnings: %d, which rootlun show prints", n)
		}
		say("ok", "plan", text)
	}
	if len(plan.NICs)+len(plan.Targets) > 0 {
		for _, v := range boot.Check(context.Background(), plan) {
			say(v.Result, v.What, v.Text)
		}
	}
	return code
}
