package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// Verdict is what one check came to.
type Verdict struct {
	Result string // "ok", "fail", "skip"
	What   string // was looked at: "module iscsi_tcp"
	Text   string // what was found; for a failure what to mend, too
}

// How long a check may take.
const (
	connectTimeout  = 5 * time.Second
	discoverTimeout = 10 * time.Second
)

// Check tries, on the machine that runs, what a boot by the plan would need:
// NICs, drivers, routes, portals, targets. It touches no session and brings no
// link up. Verdicts come in the plan's order; the targets are tried at once.
func Check(ctx context.Context, plan *fw.Plan) []Verdict {
	c := &checker{
		plan: plan, fsys: os.DirFS("/"),
		look: network.Look, route: network.RouteTo, connect: session.Connect, discover: session.Discover,
	}
	var list []Verdict
	loader, release, err := newLoader()
	if err == nil {
		err = modulesFit(c.fsys, release)
	}
	if err != nil {
		list = append(list, failed("modules", err.Error()))
	} else {
		c.where = loader.Where
	}
	return append(list, c.all(ctx)...)
}

// checker is what Check asks; tests replace it.
type checker struct {
	plan *fw.Plan
	fsys fs.FS // the machine's

	where    func(module string) string // nil: the modules are not known
	look     func(network.Config) (*network.State, error)
	route    func(netip.Addr) (nic string, via netip.Addr, err error)
	connect  func(context.Context, netip.AddrPort) error
	discover func(context.Context, session.Config) ([]session.TargetRecord, error)
}

func good(what, format string, args ...any) Verdict {
	return Verdict{"ok", what, fmt.Sprintf(format, args...)}
}

func failed(what, text string) Verdict { return Verdict{"fail", what, text} }

func skipped(what, text string) Verdict { return Verdict{"skip", what, text} }

func (c *checker) all(ctx context.Context) (list []Verdict) {
	for i := range c.plan.NICs {
		list = append(list, c.nic(i)...)
	}
	if c.where != nil {
		list = append(list, c.drivers()...)
	}
	if c.plan.AskDHCP != "" && len(c.plan.Targets) == 0 {
		list = append(list, skipped("target", c.plan.AskDHCP+": DHCP names it when the machine boots"))
	}
	found := make([][]Verdict, len(c.plan.Targets))
	var wait sync.WaitGroup
	for i, t := range c.plan.Targets {
		wait.Go(func() { found[i] = c.target(ctx, t) })
	}
	wait.Wait()
	list = append(list, slices.Concat(found...)...)
	return append(list, c.root()...)
}

// nic checks that a NIC of the plan is there, has a driver that a boot will find
// too, and a link.
func (c *checker) nic(index int) []Verdict {
	nic := c.plan.NICs[index]
	what := "NIC " + planNICName(nic)
	s, err := c.look(networkConfig(c.plan, index, nic))
	if err != nil {
		return []Verdict{failed(what, err.Error()+c.driverless(nic))}
	}
	list := []Verdict{good(what, "%s, %s", s.Name, s.MAC)}
	what = "link of " + s.Name
	switch {
	case !s.Up:
		list = append(list, skipped(what, "the NIC is down: it has to be brought up to tell, as a boot does"))
	case !s.Carrier:
		list = append(list, failed(what, "there is none; check the cable and the switch port"))
	default:
		list = append(list, good(what, "up, MTU %d", s.MTU))
	}
	if s.Driver == "" || c.where == nil {
		return list
	}
	what = "driver of " + s.Name
	module, err := fs.ReadLink(c.fsys, "sys/class/net/"+s.Name+"/device/driver/module")
	if module = path.Base(module); err != nil {
		return append(list, good(what, "%s, built in", s.Driver))
	}
	return append(list, c.module(what, module))
}

// driverless tells of a NIC that is there by its PCI address and lacks a driver.
func (c *checker) driverless(nic fw.NIC) string {
	dir := "sys/bus/pci/devices/" + nic.PCI
	if nic.PCI == "" || !exists(c.fsys, dir) || exists(c.fsys, dir+"/driver") {
		return ""
	}
	text := "; the device at " + nic.PCI + " has no driver"
	alias, err := fs.ReadFile(c.fsys, dir+"/modalias")
	if err != nil || c.where == nil {
		return text
	}
	if at := c.where(strings.TrimSpace(string(alias))); at != "" {
		return text + ", which would be " + at
	}
	return text + ", and no module is for it"
}

// drivers checks those that every boot needs, and that of the root's file system
// where it is named.
func (c *checker) drivers() (list []Verdict) {
	for _, name := range []string{"iscsi_tcp", "sd_mod"} {
		list = append(list, c.module("module "+name, name))
	}
	if kind := c.plan.Root.FSType; kind != "" && kind != "auto" {
		known, _ := fs.ReadFile(c.fsys, "proc/filesystems")
		if slices.Contains(strings.Fields(string(known)), kind) {
			list = append(list, good("file system "+kind, "the kernel has it"))
		} else {
			list = append(list, c.module("file system "+kind, "fs-"+kind))
		}
	}
	return list
}

func (c *checker) module(what, name string) Verdict {
	if at := c.where(name); at != "" {
		return good(what, "%s", at)
	}
	return failed(what, name+" is neither in /lib/modules nor built in; check that the image has it (rootlun-initramfs --driver "+name+")")
}

// target checks the way to a target as far as its name on the portal's list.
func (c *checker) target(ctx context.Context, t fw.Target) (list []Verdict) {
	add := func(v Verdict) { list = append(list, v) }
	what := "target " + t.Name
	if t.Session != "" {
		return []Verdict{good(what, "%s is logged in to it already and is left alone", t.Session)}
	}
	cfg, err := sessionConfig(c.plan, t)
	if err != nil {
		return []Verdict{failed(what, err.Error())}
	}
	nic, via, err := c.route(cfg.Portal.Addr())
	if route := "route to " + t.Host; err != nil {
		add(failed(route, "none: "+err.Error()+"; check the addresses and gateways of the NICs"))
		add(skipped("portal "+t.Portal(), "no route leads there"))
		add(skipped(what, "no route leads to its portal"))
		return list
	} else if via.IsValid() {
		add(good(route, "by %s through %s", nic, via))
	} else {
		add(good(route, "by %s, on its link", nic))
	}

	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := c.connect(connect, cfg.Portal); err != nil {
		add(failed("portal "+t.Portal(), err.Error()))
		add(skipped(what, "its portal can't be reached"))
		return list
	}
	add(good("portal "+t.Portal(), "it takes connections"))
	add(c.listed(ctx, what, t, cfg))
	return list
}

// listed asks the portal for its targets, with credentials only where it wants
// some: those for discovery, else the target's.
func (c *checker) listed(ctx context.Context, what string, t fw.Target, cfg session.Config) Verdict {
	cfg.Timers.Login = discoverTimeout
	plain := cfg
	plain.CHAP = nil
	if d := c.plan.Credentials.Discovery; d.Password != "" {
		cfg.CHAP = loginCHAP(d)
	}
	records, err := c.discover(ctx, plain)
	if cfg.CHAP != nil && (errors.Is(err, login.ErrAuthFailed) || errors.Is(err, login.ErrNoCredentials)) {
		records, err = c.discover(ctx, cfg)
	}
	var refused *login.StatusError
	var auth *login.AuthError
	switch {
	case errors.As(err, &refused) && !refused.Temporary(), errors.As(err, &auth):
		return skipped(what, "the portal does not list its targets to us, which says nothing of a login: "+err.Error())
	case err != nil:
		return failed(what, err.Error())
	}
	i := slices.IndexFunc(records, func(r session.TargetRecord) bool { return r.Name == t.Name })
	if i < 0 {
		return failed(what, fmt.Sprintf("not on its portal's list, which has %s; check the name, and that the target lets %s in",
			names(records), cfg.InitiatorName))
	}
	if !slices.ContainsFunc(records[i].Portals, func(p session.Portal) bool {
		return p.Host == cfg.Portal.Addr().Unmap().String() && p.Port == t.Port
	}) {
		return good(what, "on its portal's list, at %s:%d", records[i].Portals[0].Host, records[i].Portals[0].Port)
	}
	return good(what, "on its portal's list")
}

// names lists a few targets.
func names(records []session.TargetRecord) string {
	const most = 4
	var list []string
	for _, r := range records[:min(len(records), most)] {
		list = append(list, r.Name)
	}
	switch more := len(records) - most; {
	case len(records) == 0:
		return "no target"
	case more > 0:
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

// root checks what can be said of root= before its disk is there.
func (c *checker) root() []Verdict {
	device := c.plan.Root.Device
	switch {
	case len(c.plan.Targets) == 0 && c.plan.AskDHCP == "":
		return nil
	case device == "":
		return []Verdict{good("root", "the LUN itself, or its only file system")}
	case strings.HasPrefix(device, "/dev/sd"):
		return []Verdict{good("root", "%s, a name that may go to another disk at the next boot: LABEL= or UUID= can't", device)}
	}
	return []Verdict{good("root", "%s", device)}
}

// planNICName names a NIC for a person.
func planNICName(n fw.NIC) string {
	for _, name := range []string{n.Name, n.MAC, n.PCI} {
		if name != "" {
			return name
		}
	}
	return "the only one"
}
