// Package handoff writes what the next system needs to know of the boot: all
// of it in /run/rootlun/state.json, and the network in the files of each network
// manager.
package handoff

import (
	"net/netip"

	"github.com/rootlun/rootlun/boot/json"
)

// StateFile is where the state lies in the booted system.
const StateFile = "/run/rootlun/state.json"

// State is the boot as it went: what was found, what was used, and when. It
// holds no secret.
type State struct {
	Version   string   `json:"version"`
	Initiator string   `json:"initiator"`
	NIC       NIC      `json:"nic"`
	NICs      []NIC    `json:"nics"` // all that the boot brought up, NIC first
	Target    Target   `json:"target"`
	Session   Session  `json:"session"`
	Disk      Disk     `json:"disk"`
	Paths     []Path   `json:"paths"` // all of the plan's; the root's is one of them
	Root      Root     `json:"root"`
	Fallback  string   `json:"fallback"` // why a local disk was booted instead; empty: it was not
	Warnings  []string `json:"warnings"`
	Timeline  []Step   `json:"timeline"`
}

// NIC is the interface that leads to the root. All of it is empty when an
// offload adapter has its own way.
type NIC struct {
	Name    string         `json:"name"`
	MAC     string         `json:"mac"`
	Driver  string         `json:"driver"`
	MTU     int            `json:"mtu"`
	Address []netip.Prefix `json:"address"`
	Gateway string         `json:"gateway"`
	DNS     []netip.Addr   `json:"dns"`
	How     string         `json:"how"`         // as ip= has it: dhcp, dhcp6, auto6, none
	DHCP    string         `json:"dhcp_server"` // empty: not known
	Lease   int            `json:"lease_seconds"`
	From    string         `json:"from"`
}

// Target is the logical unit that was booted from.
type Target struct {
	Name   string `json:"name"`
	Portal string `json:"portal"` // as configured, ip:port or [ip6]:port
	LUN    uint64 `json:"lun"`
	Auth   string `json:"auth"` // none, chap or mutual
	From   string `json:"from"`
}

// Session is the kernel's session. The timers are in seconds; 0 is off.
type Session struct {
	SID                uint32 `json:"sid"`
	Attached           bool   `json:"attached"` // it was there before, and the rest is not known
	TPGT               uint16 `json:"tpgt"`
	Timers             string `json:"timers"` // root or multipath: which set the rest is of
	ReplacementTimeout int    `json:"replacement_timeout"`
	NoopOutInterval    int    `json:"noop_out_interval"`
	NoopOutTimeout     int    `json:"noop_out_timeout"`
}

// Path is the way to one target. One that was not there in time has no session:
// the next system has to log in.
type Path struct {
	Target string `json:"target"`
	Portal string `json:"portal"`
	NIC    string `json:"nic"` // empty: the session was there before
	SID    uint32 `json:"sid"`
	Disk   string `json:"disk"` // empty: not there
}

// Disk is the logical unit's block device.
type Disk struct {
	Name string `json:"name"`
	Size uint64 `json:"size"` // bytes
}

// Root is what was mounted and what runs from it.
type Root struct {
	Device   string `json:"device"`
	FSType   string `json:"fstype"`
	ReadOnly bool   `json:"read_only"`
	Init     string `json:"init"`
}

// Step is one line of the timeline.
type Step struct {
	Milliseconds float64 `json:"ms"`   // since the start of /init
	Name         string  `json:"step"` // plan, network, login, disk, root, handoff; empty: a remark
	Text         string  `json:"text"`
}

// Write writes the state to path, whole or not at all.
func (s *State) Write(path string) error {
	return writeFile(path, json.Marshal(s), 0o644)
}
