package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rootlun/rootlun/fw"
)

// exitNothing says that nothing asks for iSCSI (open-iscsi's
// ISCSI_ERR_NO_OBJS_FOUND).
const exitNothing = 21

const showUsage = `usage: rootlun show [--json] [--ibft FILE] [--cmdline TEXT|@FILE] [--root DIR]
                    [--dhcp NAME=VALUE]...

Prints what a boot would do, and which source says so: the firmware's table, the
kernel command line, the files of the image. It changes nothing. Without --ibft
and --root it reads this machine; --cmdline then takes the place of its command
line alone. With them it reads what is given and nothing else. --dhcp stands for a DHCP
server's answer.

The exit code is 0 when a boot is possible, 1 when it is not, 21 when nothing
asks for iSCSI.

  rootlun show
  rootlun show --json --ibft table.bin --cmdline "rd.iscsi.firmware ip=dhcp"

`

// view is how a plan is shown.
type view struct {
	json, showSecrets bool
}

func (v *view) options() []option {
	return []option{
		{"json", "", "for programs", toBool(&v.json)},
		{"show-secrets", "", "print secrets, which are *** otherwise", toBool(&v.showSecrets)},
	}
}

// runShow is rootlun show.
func runShow(args []string, stdout, stderr io.Writer) int {
	in, v := input{stdin: os.Stdin}, view{}
	show := command{name: "show", usage: showUsage, options: append(v.options(), in.options()...)}
	if code, ok := show.read(args, stdout, stderr); !ok {
		return code
	}
	plan, err := in.read()
	return v.print(plan, err, stdout, stderr)
}

// print shows a plan and its errors, and returns the exit code.
func (v view) print(plan *fw.Plan, err error, stdout, stderr io.Writer) int {
	errs := errorTexts(err)
	code := 0
	switch {
	case errors.Is(err, fw.ErrNothing):
		code = exitNothing
	case err != nil:
		code = 1
	}
	if v.json {
		stdout.Write(marshalPlan(plan, errs, v.showSecrets))
		return code
	}
	var out page
	if len(plan.NICs)+len(plan.Targets) > 0 && code != exitNothing {
		out.plan(plan, v.showSecrets)
	}
	for _, w := range plan.Warnings {
		out.row("warning", w, "")
	}
	io.WriteString(stdout, out.String())
	for _, e := range errs {
		fmt.Fprintf(stderr, "error: %s\n", printable(e))
	}
	fmt.Fprintln(stdout, verdict(plan, code, len(errs)))
	return code
}

// verdict is the last line.
func verdict(p *fw.Plan, code, errs int) string {
	switch {
	case code == exitNothing:
		return "no boot: nothing asks for iSCSI"
	case errs == 1:
		return "no boot: 1 error"
	case errs > 0:
		return fmt.Sprintf("no boot: %d errors", errs)
	case len(p.Targets) == 0:
		return "a boot is possible: DHCP names the target"
	case len(p.Targets) == 1:
		return "a boot is possible: 1 target"
	}
	return fmt.Sprintf("a boot is possible: %d targets, tried in this order", len(p.Targets))
}

// errorTexts takes joined errors apart, one line each.
func errorTexts(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var list []string
	for _, e := range joined.Unwrap() {
		list = append(list, errorTexts(e)...)
	}
	return list
}

// page is text in rows: what, its value, and in parentheses who says so.
type page struct{ strings.Builder }

func (p *page) row(label, value, from string) {
	if value == "" {
		return
	}
	if from != "" {
		value += "  (" + from + ")"
	}
	fmt.Fprintf(p, "%-12s %s\n", label, printable(value))
}

// printable is s in one line, without what could drive a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func (p *page) plan(plan *fw.Plan, showSecrets bool) {
	p.row("initiator", plan.Initiator.Name, plan.Initiator.From)
	nics := indexes(len(plan.NICs), func(i int) int { return plan.NICs[i].Index })
	for i := range plan.NICs {
		p.nic(nics[i], &plan.NICs[i])
	}
	for _, v := range plan.VLANs {
		p.row("VLAN", fmt.Sprintf("%s: %d over %s", v.Name, v.ID, v.Link), v.From)
	}
	for _, b := range plan.Bonds {
		p.row("bond", words(b.Name+" of", strings.Join(b.Links, ","), strings.Join(paramTexts(b.Options, true), ","), number("MTU", b.MTU)), b.From)
	}
	for _, r := range plan.Routes {
		p.row("route", words(r.Destination.String(), addr("via", r.Gateway), text("by", r.Interface)), r.From)
	}
	for _, a := range plan.DNS {
		p.row("DNS", a.String(), "nameserver=")
	}
	if plan.AskDHCP != "" && len(plan.Targets) == 0 {
		p.row("target", "the one that DHCP names when the machine boots", plan.AskDHCP)
	}
	targets := indexes(len(plan.Targets), func(i int) int { return plan.Targets[i].Index })
	for i := range plan.Targets {
		nic := -1
		if n := plan.Targets[i].NIC; n >= 0 && n < len(nics) {
			nic = nics[n]
		}
		p.target(targets[i], nic, &plan.Targets[i], showSecrets)
	}
	p.root(plan.Root)
	for _, s := range paramTexts(plan.Params, showSecrets) {
		p.row("parameter", s, "rd.iscsi.param=")
	}
	p.row("timers", plan.Timers, "rd.rootlun.timers=")
	if plan.Failure.Timeout > 0 {
		p.row("gives up", fmt.Sprintf("after %d s", plan.Failure.Timeout), "rd.rootlun.timeout=")
	}
	p.row("fallback", plan.Failure.Fallback, "rd.rootlun.fallback=")
	p.row("on failure", plan.Failure.Action, "rd.emergency=")
}

func (p *page) nic(index int, n *fw.NIC) {
	who := words(n.Name, n.MAC, text("PCI", n.PCI), number("VLAN", int(n.VLAN)), text("takes the MAC", n.SetMAC))
	if n.Name == "" && n.MAC == "" && n.PCI == "" {
		who = words("the only one", who)
	}
	p.row(fmt.Sprintf("NIC %d", index), words(who, flags(n.Index, n.Valid, n.Boot)), n.From)
	from := cmp.Or(n.AddressFrom, n.From)
	var how []string
	for _, h := range []struct {
		on   bool
		name string
	}{{n.DHCP, "DHCP"}, {n.DHCP6, "DHCPv6"}, {n.RA, "router advertisements"}, {n.LinkLocal, "link-local"}} {
		if h.on {
			how = append(how, h.name)
		}
	}
	var fixed []string
	for _, a := range n.Address {
		fixed = append(fixed, a.String())
	}
	address := words(strings.Join(fixed, ", "), addr("via", n.Gateway))
	if len(how) > 0 && address != "" {
		address = "else " + address
	}
	p.row("  address", words(strings.Join(how, ", "), addr("from", n.DHCPServer), address), from)
	for _, a := range n.DNS {
		p.row("  DNS", a.String(), from)
	}
	p.row("  host name", n.Hostname, from)
	p.row("  MTU", number("", n.MTU), from)
}

func (p *page) target(index, nic int, t *fw.Target, showSecrets bool) {
	p.row(fmt.Sprintf("target %d", index), words(t.Title(), flags(t.Index, t.Valid, t.Boot)), t.From)
	p.row("  portal", t.Portal(), t.From)
	p.row("  LUN", fmt.Sprint(t.LUN.Uint64()), t.From)
	if nic >= 0 {
		p.row("  by", fmt.Sprintf("NIC %d", nic), "")
	} else {
		p.row("  by", "the NIC that has the route", "")
	}
	if c := t.CHAP; c == nil {
		p.row("  auth", "none", t.From)
	} else {
		from := cmp.Or(c.From, t.From)
		p.row("  auth", words("CHAP as", c.Username, text("secret", secretText(c.Password, showSecrets))), from)
		if t.Auth() == "mutual" {
			p.row("", words("the target proves itself", text("as", c.UsernameIn), text("secret", secretText(c.PasswordIn, showSecrets))), from)
		}
	}
	p.row("  session", text("there already:", t.Session), "")
}

func (p *page) root(r fw.Root) {
	device, from := r.Device, "root="
	switch {
	case r.Other != "":
		device = "by another program: " + r.Other
	case device == "":
		device, from = "the LUN itself, or its only file system", "default"
	}
	mode := "read-write"
	if r.ReadOnly {
		mode = "read-only"
	}
	p.row("root", device, from)
	p.row("  mounted", words(mode, text("as", r.FSType), text("with", r.Flags)), "")
	p.row("  init", r.Init, "init=")
}

// flags are those of the firmware's table.
func flags(index int, valid, boot bool) string {
	switch {
	case index < 0 || valid && boot:
		return ""
	case valid:
		return "not selected for boot"
	case boot:
		return "not marked valid"
	}
	return "neither marked valid nor selected for boot"
}

// words joins those that are not empty.
func words(list ...string) string {
	var full []string
	for _, w := range list {
		if w != "" {
			full = append(full, w)
		}
	}
	return strings.Join(full, " ")
}

// text, number and addr put a label before a value, and are empty without one.
func text(label, value string) string {
	if value == "" {
		return ""
	}
	return words(label, value)
}

func number(label string, n int) string {
	if n == 0 {
		return ""
	}
	return words(label, fmt.Sprint(n))
}

func addr(label string, a interface {
	IsValid() bool
	String() string
}) string {
	if !a.IsValid() {
		return ""
	}
	return words(label, a.String())
}
