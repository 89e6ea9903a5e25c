package network

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// find waits until the NIC that cfg means is there.
func (h host) find(ctx context.Context, cfg *Config, p Progress) (*link, error) {
	who := cfg.who()
	var found *link
	var present []*link
	start := time.Now()
	err := await(ctx, p, who, cfg.FindTimeout, func() (bool, error) {
		var err error
		if present, err = listLinks(); err != nil {
			return false, err
		}
		found, err = h.choose(cfg, present)
		return found != nil, err
	})
	_, refused := errors.AsType[*Error](err)
	switch {
	case err == nil:
		if err := h.awaitUdev(ctx, found, p); err != nil {
			return nil, &Error{found.name, "cannot be left to udev", err}
		}
		if found, err = getLink(found.index); err != nil {
			return nil, &Error{who, "went away", err}
		}
		switch {
		case cfg.Name != "" && found.name != cfg.Name:
			p.Printf("%s is named %s here", cfg.Name, found.name)
		case cfg.Name == "" && cfg.MAC != nil && !found.hasMAC(cfg.MAC):
			p.Printf("no NIC has MAC %s; %s, at the PCI address that goes with it, is taken: it has %s", cfg.MAC, found.name, found.mac)
		}
		return found, nil
	case refused:
		return nil, err
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, failed(who, err, "did not appear within %s; present: %s", seconds(cfg.FindTimeout), h.describe(present))
	case ctx.Err() != nil:
		return nil, failed(who, err, "not there after %s; present: %s", seconds(time.Since(start)), h.describe(present))
	default:
		return nil, &Error{who, "cannot be looked for", err}
	}
}

// choose picks the NIC that cfg means, or returns nil when it is not there. A
// name may be that of any interface; a MAC only finds hardware, as a VLAN, a
// bond and a bridge share theirs with a NIC.
func (h host) choose(cfg *Config, links []*link) (*link, error) {
	if l := linkNamed(links, cfg.Name); l != nil {
		return l, nil
	}
	var nics, fit []*link
	for _, l := range links {
		// A slave's addresses are its master's. This also picks the one of two
		// that Hyper-V's netvsc or virtio's net_failover pair up.
		if !h.physical(l) || l.master != 0 && !cfg.bonded(l, links) {
			continue
		}
		nics = append(nics, l)
		switch {
		case cfg.Name != "":
			if !strings.HasPrefix(cfg.Name, "en") || !slices.Contains(h.udevNames(l), cfg.Name) {
				continue
			}
		case cfg.MAC != nil:
			if !l.hasMAC(cfg.MAC) {
				continue
			}
		case cfg.PCI != "":
			continue
		}
		fit = append(fit, l)
	}
	if cfg.Name == "" && cfg.PCI != "" {
		if at := h.atPCI(fit, cfg.PCI); len(at) > 0 {
			fit = at
		}
		// Some firmware has a MAC of its own for iSCSI.
		if at := h.atPCI(nics, cfg.PCI); len(fit) == 0 && (len(at) == 1 || cfg.MAC == nil) {
			fit = at
		}
	}
	switch len(fit) {
	case 0:
		return nil, nil
	case 1:
		return fit[0], nil
	}
	hint := ""
	if cfg.who() == theOnly {
		hint = " or in the iBFT"
	}
	return nil, failed(cfg.who(), nil, "there is more than one: %s; name the one to use with ip=<interface>:…%s", h.describe(fit), hint)
}

const theOnly = "the only NIC"

// who names for a person what cfg means.
func (cfg *Config) who() string {
	switch {
	case cfg.Name != "":
		return "NIC " + cfg.Name
	case cfg.MAC != nil:
		return "NIC with MAC " + cfg.MAC.String()
	case cfg.PCI != "":
		return "NIC at PCI address " + cfg.PCI
	}
	return theOnly
}

// bonded says whether a NIC is a port of one of the bonds that cfg names.
func (cfg *Config) bonded(l *link, links []*link) bool {
	for _, b := range cfg.Bonds {
		if bond := linkNamed(links, b.Name); bond != nil && bond.index == l.master {
			return true
		}
	}
	return false
}

// hasMAC says whether the NIC has that MAC, or was made with it. A port of a
// bond has that of another port as its own.
func (l *link) hasMAC(mac net.HardwareAddr) bool {
	return bytes.Equal(l.permanent, mac) || bytes.Equal(l.mac, mac) && (l.master == 0 || l.permanent == nil)
}

// physical says whether the interface is a wired Ethernet NIC: hardware, and
// not Wi-Fi.
func (h host) physical(l *link) bool {
	if !l.ethernet {
		return false
	}
	class := path.Join(h.sysfs, "class/net", l.name)
	if _, err := os.Stat(path.Join(class, "device")); err != nil {
		return false
	}
	_, err := os.Stat(path.Join(class, "phy80211"))
	return err != nil
}

// driver returns the name of the driver of an interface, or "".
func (h host) driver(name string) string {
	to, err := os.Readlink(path.Join(h.sysfs, "class/net", name, "device/driver"))
	if err != nil {
		return ""
	}
	return path.Base(to)
}

// describe lists NICs for a person.
func (h host) describe(links []*link) string {
	var list []string
	for _, l := range links {
		if !l.ethernet {
			continue
		}
		s := l.name + " " + l.mac.String()
		if d := h.driver(l.name); d != "" {
			s += " (" + d + ")"
		}
		for _, m := range links {
			if l.master != 0 && m.index == l.master {
				s += ", part of " + m.name
			}
		}
		list = append(list, s)
	}
	if list == nil {
		return "none; check that the initramfs has the driver of the NIC"
	}
	return strings.Join(list, "; ")
}
