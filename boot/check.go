package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
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
func Check(ctx context.Context, plan *fw.Plan) []*Verdict {
	c := &checker{
		plan: plan, fsys: os.DirFS("/"),
		look: network.Look, route: network.RouteTo, connect: session.Connect, discover: session.Discover,
	}
	var v verdicts
	loader, release, err := newLoader()
	if err == nil {
		err = modulesFit(c.fsys, release)
	}
	if err != nil {
		v.fail("modules", err.Error())
	} else {
		c.where = loader.Where
	}
	return append(v, c.all(ctx)...)
}

// checker is what Check asks; tests replace it.
type checker struct {
	plan *fw.Plan
	fsys fs.FS // the machine's

	where    func(module string) string // nil: the modules are not known
	look     func(network.Config) (*network.State, error)
	route    func(netip.Addr) (nic string, via netip.Addr, err error)
	connect  func(context.Context, netip.AddrPort) error
	discover AskFunc
}

// verdicts is a list that grows.
type verdicts []*Verdict

func (v *verdicts) add(result, what, text string) { *v = append(*v, &Verdict{result, what, text}) }

func (v *verdicts) ok(what, text string)   { v.add("ok", what, text) }
func (v *verdicts) fail(what, text string) { v.add("fail", what, text) }
func (v *verdicts) skip(what, text string) { v.add("skip", what, text) }

func (c *checker) all(ctx context.Context) (v verdicts) {
	for i := range c.plan.NICs {
		c.nic(&v, i)
	}
	if c.where != nil {
		c.drivers(&v)
	}
	if c.plan.AskDHCP != "" && len(c.plan.Targets) == 0 {
		v.skip("target", c.plan.AskDHCP+": DHCP names it when the machine boots")
	}
	found := make([]verdicts, len(c.plan.Targets))
	var wait sync.WaitGroup
	for i := range c.plan.Targets {
		wait.Go(func() { c.target(ctx, &found[i], &c.plan.Targets[i]) })
	}
	wait.Wait()
	for _, f := range found {
		v = append(v, f...)
	}
	c.root(&v)
	return v
}

// nic checks that a NIC of the plan is there, has a driver that a boot will find
// too, and a link.
func (c *checker) nic(v *verdicts, index int) {
	nic := c.plan.NICs[index]
	what := "NIC " + planNICName(nic)
	s, err := c.look(networkConfig(c.plan, index, nic))
	if err != nil {
		v.fail(what, err.Error()+c.driverless(nic))
		return
	}
	v.ok(what, s.Name+", "+s.MAC)
	what = "link of " + s.Name
	switch {
	case !s.Up:
		v.skip(what, "the NIC is down: it has to be brought up to tell, as a boot does")
	case !s.Carrier:
		v.fail(what, "there is none; check the cable and the switch port")
	default:
		v.ok(what, "up, MTU "+strconv.Itoa(s.MTU))
	}
	if s.Driver == "" || c.where == nil {
		return
	}
	what = "driver of " + s.Name
	if module, err := fs.ReadLink(c.fsys, "sys/class/net/"+s.Name+"/device/driver/module"); err == nil {
		c.module(v, what, path.Base(module))
	} else {
		v.ok(what, s.Driver+", built in")
	}
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
func (c *checker) drivers(v *verdicts) {
	c.module(v, "module iscsi_tcp", "iscsi_tcp")
	c.module(v, "module sd_mod", "sd_mod")
	if kind := c.plan.Root.FSType; kind != "" && kind != "auto" {
		known, _ := fs.ReadFile(c.fsys, "proc/filesystems")
		if slices.Contains(strings.Fields(string(known)), kind) {
			v.ok("file system "+kind, "the kernel has it")
		} else {
			c.module(v, "file system "+kind, "fs-"+kind)
		}
	}
}

func (c *checker) module(v *verdicts, what, name string) {
	if at := c.where(name); at != "" {
		v.ok(what, at)
	} else {
		v.fail(what, name+" is neither in /lib/modules nor built in; check that the image has it (rootlun-initramfs --driver "+name+")")
	}
}

// target checks the way to a target as far as its name on the portal's list.
func (c *checker) target(ctx context.Context, v *verdicts, t *fw.Target) {
	what, route, portal := "target "+t.Title(), "route to "+t.Host, "portal "+t.Portal()
	if t.Session != "" {
		v.ok(what, t.Session+" is logged in to it already and is left alone")
		return
	}
	at := *t
	if _, err := netip.ParseAddr(t.Host); err != nil {
		const name = "portal's name"
		addrs, err := c.lookup(ctx, t.Host)
		if err != nil {
			v.fail(name, err.Error())
			v.skip(portal, "its address is not known")
			v.skip(what, "its portal's address is not known")
			return
		}
		at.Host = addrs[0].String() // which a boot tries first
		v.ok(name, fmt.Sprintf("%s has %v", t.Host, addrs))
	}
	cfg, err := sessionConfig(c.plan, &at)
	if err != nil {
		v.fail(what, err.Error())
		return
	}
	cfg.Resolve = c.lookup
	nic, via, err := c.route(cfg.Portal.Addr())
	switch {
	case err != nil:
		v.fail(route, "none: "+err.Error()+"; check the addresses and gateways of the NICs")
		v.skip(portal, "no route leads there")
		v.skip(what, "no route leads to its portal")
		return
	case via.IsValid():
		v.ok(route, "by "+nic+" through "+via.String())
	default:
		v.ok(route, "by "+nic+", on its link")
	}
	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := c.connect(connect, cfg.Portal); err != nil {
		v.fail(portal, err.Error())
		v.skip(what, "its portal can't be reached")
		return
	}
	v.ok(portal, "it takes connections")
	c.listed(ctx, v, what, cfg)
}

func (c *checker) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return resolve(ctx, c.fsys, c.plan, nil, host)
}

// listed asks the portal for its targets.
func (c *checker) listed(ctx context.Context, v *verdicts, what string, cfg *session.Config) {
	cfg.Timers.Login = discoverTimeout
	records, err := Discover(ctx, c.discover, cfg, &c.plan.Credentials.Discovery)
	refused, denied := errors.AsType[*login.StatusError](err)
	_, auth := errors.AsType[*login.AuthError](err)
	switch {
	case denied && !refused.Temporary(), auth:
		v.skip(what, "the portal does not list its targets to us, which says nothing of a login: "+err.Error())
		return
	case err != nil:
		v.fail(what, err.Error())
		return
	}
	for _, r := range records {
		if r.Name == cfg.TargetName || cfg.TargetName == "" && len(records) == 1 {
			v.ok("target "+r.Name, "on its portal's list"+elsewhere(r, cfg.Portal))
			return
		}
	}
	v.fail(what, "not on its portal's list, which has "+names(records)+"; check the name, and that the target lets "+cfg.InitiatorName+" in")
}

// elsewhere says where a target is listed, unless that is the portal itself.
func elsewhere(r session.TargetRecord, portal netip.AddrPort) string {
	for _, p := range r.Portals {
		if p.Host == portal.Addr().Unmap().String() && p.Port == portal.Port() {
			return ""
		}
	}
	p := r.Portals[0]
	return ", at " + net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
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
		list = append(list, "and "+strconv.Itoa(more)+" more")
	}
	return strings.Join(list, ", ")
}

// root checks what can be said of root= before its disk is there.
func (c *checker) root(v *verdicts) {
	device := c.plan.Root.Device
	switch {
	case len(c.plan.Targets) == 0 && c.plan.AskDHCP == "":
	case device == "":
		v.ok("root", "the LUN itself, or its only file system")
	case strings.HasPrefix(device, "/dev/sd"):
		v.ok("root", device+", a name that may go to another disk at the next boot: LABEL= or UUID= can't")
	default:
		v.ok("root", device)
	}
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
