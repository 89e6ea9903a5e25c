package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/rootlun/rootlun/boot/json"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/ibft"
)

// planJSON is the output of show --json and fw --json, on which scripts rely:
// members are added behind those of their object, and none is ever taken away,
// renamed or null. Text that no source gives is "".
type planJSON struct {
	Initiator initiatorJSON `json:"initiator"`
	NICs      []nicJSON     `json:"nics"`
	Targets   []targetJSON  `json:"targets"`
	Warnings  []string      `json:"warnings"`
	Errors    []string      `json:"errors"`

	Root      rootJSON     `json:"root"`
	VLANs     []vlanJSON   `json:"vlans"`
	Bonds     []bondJSON   `json:"bonds"`
	Routes    []routeJSON  `json:"routes"`
	DNS       []netip.Addr `json:"dns"`
	NoPeerDNS bool         `json:"no_peer_dns"`
	Params    []string     `json:"params"` // NAME=VALUE
	AskDHCP   string       `json:"ask_dhcp"`
	Failure   failureJSON  `json:"failure"`
	Timeouts  timeoutsJSON `json:"timeouts"`
	Timers    string       `json:"timers"` // root, multipath or auto; "": auto
}

type initiatorJSON struct {
	Name string `json:"name"`
	From string `json:"from"`
}

type nicJSON struct {
	Index      int          `json:"index"`
	MAC        string       `json:"mac"`
	VLAN       uint16       `json:"vlan"`
	Origin     string       `json:"origin"`
	Address    netip.Prefix `json:"address"` // the first
	Gateway    netip.Addr   `json:"gateway"`
	DNS        []netip.Addr `json:"dns"`
	DHCPServer netip.Addr   `json:"dhcp_server"`
	Hostname   string       `json:"hostname"`
	PCI        string       `json:"pci"`
	Valid      bool         `json:"valid"`
	Boot       bool         `json:"boot"`

	From        string         `json:"from"`
	AddressFrom string         `json:"address_from"`
	Addresses   []netip.Prefix `json:"addresses"`
	Name        string         `json:"name"`
	MTU         int            `json:"mtu"`
	SetMAC      string         `json:"set_mac"`
	DHCP        bool           `json:"dhcp"`
	DHCP6       bool           `json:"dhcp6"`
	RA          bool           `json:"ra"`
	LinkLocal   bool           `json:"link_local"`
}

type targetJSON struct {
	Index  int      `json:"index"`
	Name   string   `json:"name"`
	Portal string   `json:"portal"`
	LUN    uint64   `json:"lun"`
	NIC    int      `json:"nic"` // the "index" of one in "nics"; -1: whichever has the route
	Valid  bool     `json:"valid"`
	Boot   bool     `json:"boot"`
	Auth   authJSON `json:"auth"`

	From    string `json:"from"`
	Session string `json:"session"`
}

type authJSON struct {
	Type       string `json:"type"`
	Username   string `json:"username"`
	UsernameIn string `json:"username_in"`

	Password   string `json:"password"` // "***" without --show-secrets
	PasswordIn string `json:"password_in"`
	From       string `json:"from"`
}

type rootJSON struct {
	Device   string `json:"device"`
	FSType   string `json:"fstype"`
	Flags    string `json:"flags"`
	ReadOnly bool   `json:"read_only"`
	Init     string `json:"init"`
}

type vlanJSON struct {
	Name string `json:"name"`
	ID   uint16 `json:"id"`
	Link string `json:"link"`
	From string `json:"from"`
}

type bondJSON struct {
	Name    string   `json:"name"`
	Links   []string `json:"links"`
	Options []string `json:"options"` // NAME=VALUE
	MTU     int      `json:"mtu"`
	From    string   `json:"from"`
}

type routeJSON struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway"`
	Interface   string       `json:"interface"`
	From        string       `json:"from"`
}

type failureJSON struct {
	Action  string `json:"action"`
	Panic   int    `json:"panic"`
	Timeout int    `json:"timeout"` // seconds; 0: none

	Fallback string `json:"fallback"`
}

// timeoutsJSON is in seconds; 0 where none is given.
type timeoutsJSON struct {
	Link    int `json:"link"`
	Up      int `json:"up"`
	Carrier int `json:"carrier"`
	Route   int `json:"route"`
	DHCP    int `json:"dhcp"`
	DAD     int `json:"dad"`
	Auto    int `json:"auto"`
}

// marshalPlan writes a plan, or what there is of it, with its errors.
func marshalPlan(p *fw.Plan, errs []string, showSecrets bool) []byte {
	out := planJSON{
		Initiator: initiatorJSON(p.Initiator),
		Warnings:  p.Warnings,
		Errors:    errs,
		Root:      rootJSON{cmp.Or(p.Root.Device, p.Root.Other), p.Root.FSType, p.Root.Flags, p.Root.ReadOnly, p.Root.Init},
		DNS:       p.DNS,
		NoPeerDNS: p.NoPeerDNS,
		Params:    paramTexts(p.Params, showSecrets),
		AskDHCP:   p.AskDHCP,
		Failure:   failureJSON(p.Failure),
		Timers:    p.Timers,
		Timeouts: timeoutsJSON{
			wholeSeconds(p.Timeouts.Link), wholeSeconds(p.Timeouts.Up), wholeSeconds(p.Timeouts.Carrier),
			wholeSeconds(p.Timeouts.Route), wholeSeconds(p.Timeouts.DHCP), wholeSeconds(p.Timeouts.DAD), wholeSeconds(p.Timeouts.Auto),
		},
	}
	nics := indexes(len(p.NICs), func(i int) int { return p.NICs[i].Index })
	for i, n := range p.NICs {
		j := nicJSON{
			Index: nics[i], MAC: n.MAC, VLAN: n.VLAN, Origin: n.Origin, Gateway: n.Gateway, DNS: n.DNS,
			DHCPServer: n.DHCPServer, Hostname: n.Hostname, PCI: n.PCI, Valid: n.Valid, Boot: n.Boot,
			From: n.From, AddressFrom: cmp.Or(n.AddressFrom, n.From), Addresses: n.Address, Name: n.Name, MTU: n.MTU, SetMAC: n.SetMAC,
			DHCP: n.DHCP, DHCP6: n.DHCP6, RA: n.RA, LinkLocal: n.LinkLocal,
		}
		if len(n.Address) > 0 {
			j.Address = n.Address[0]
		}
		if n.Index < 0 { // no firmware has set flags: it is there to be used
			j.Valid, j.Boot = true, true
		}
		out.NICs = append(out.NICs, j)
	}
	targets := indexes(len(p.Targets), func(i int) int { return p.Targets[i].Index })
	for i, t := range p.Targets {
		j := targetJSON{
			Index: targets[i], Name: t.Name, Portal: t.Portal(), LUN: t.LUN.Uint64(), NIC: -1, Valid: t.Valid, Boot: t.Boot,
			Auth: authJSON{Type: t.Auth()}, From: t.From, Session: t.Session,
		}
		if t.NIC >= 0 && t.NIC < len(nics) {
			j.NIC = nics[t.NIC]
		}
		if t.Index < 0 {
			j.Valid, j.Boot = true, true
		}
		if c := t.CHAP; c != nil {
			j.Auth.Username, j.Auth.UsernameIn, j.Auth.From = c.Username, c.UsernameIn, cmp.Or(c.From, t.From)
			j.Auth.Password, j.Auth.PasswordIn = secretText(c.Password, showSecrets), secretText(c.PasswordIn, showSecrets)
		}
		out.Targets = append(out.Targets, j)
	}
	for _, v := range p.VLANs {
		out.VLANs = append(out.VLANs, vlanJSON(v))
	}
	for _, b := range p.Bonds {
		out.Bonds = append(out.Bonds, bondJSON{b.Name, b.Links, paramTexts(b.Options, showSecrets), b.MTU, b.From})
	}
	for _, r := range p.Routes {
		out.Routes = append(out.Routes, routeJSON(r))
	}
	return json.Marshal(out)
}

// indexes returns the numbers of n things: those that a firmware's table gives
// them, and for others (-1) the lowest that are free.
func indexes(n int, index func(int) int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = index(i)
	}
	for i, next := 0, 0; i < n; i++ {
		if list[i] >= 0 {
			continue
		}
		for slices.Contains(list, next) {
			next++
		}
		list[i] = next
	}
	return list
}

func paramTexts(params []fw.Param, showSecrets bool) []string {
	var list []string
	for _, p := range params {
		text := p.String()
		if showSecrets {
			text = p.Name + "=" + p.Value
		}
		list = append(list, text)
	}
	return list
}

func secretText(s ibft.Secret, show bool) string {
	if show {
		return string(s)
	}
	return s.String()
}

func wholeSeconds(d time.Duration) int { return int(d / time.Second) }
