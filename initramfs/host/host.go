// Package host says what an image made for the machine that runs has to know of
// its root, as neither the firmware nor the boot loader will tell: the target, the
// NIC that leads there, and the secrets.
//
// It reads these files below a root, and changes nothing: proc/self/mountinfo,
// sys/dev/block, sys/class/block, sys/class/iscsi_session,
// sys/class/iscsi_connection, sys/class/net, proc/net/vlan, run/rootlun/state.json,
// and what package fw reads.
package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/ibft"
)

// ErrLocal says that the root is on no iSCSI disk.
var ErrLocal = errors.New("the root is on no iSCSI disk")

// Needs is what the image has to know.
type Needs struct {
	Cmdline     []string // words of a kernel command line, a few a line, without a secret
	Credentials string   // a credential file, or the end of one; empty: none
	Warnings    []string
}

// Machine is the one that runs. RouteTo and Addresses are those of package network.
type Machine struct {
	Root      string
	RouteTo   func(netip.Addr) (nic string, via netip.Addr, err error)
	Addresses func(nic string) ([]network.Address, error)
}

// Read returns what the root needs. What is known when the firmware and the kernel
// command line of this boot are there again is left out. errors.Is finds ErrLocal.
func (m Machine) Read() (*Needs, error) {
	units, err := m.units()
	if err != nil {
		return nil, err
	}
	plan, err := fw.Read(fw.Sources{FS: os.DirFS(m.Root)})
	n := new(Needs)
	if err != nil && !errors.Is(err, fw.ErrNothing) {
		n.Warnings = append(n.Warnings, "the next boot will find this wrong: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for _, u := range units {
		if err := n.add(m, plan, u); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Needs) add(m Machine, plan *fw.Plan, u unit) error {
	host := m.read("sys/class/scsi_host/" + u.host + "/proc_name")
	if host != "iscsi_tcp" { // an adapter makes its sessions itself
		return nil
	}
	at := "sys/class/iscsi_session/" + u.session + "/"
	connection := "sys/class/iscsi_connection/connection" + strings.TrimPrefix(u.session, "session") + ":0/"
	name, initiator := m.read(at+"targetname"), m.read(at+"initiatorname")
	portal, err := netip.ParseAddr(m.read(connection + "persistent_address"))
	port, portErr := strconv.ParseUint(m.read(connection+"persistent_port"), 10, 16)
	if err := errors.Join(err, portErr); err != nil || name == "" {
		return fmt.Errorf("/%s and /%s do not tell of a session: %w", at, connection, err)
	}
	i := slices.IndexFunc(plan.Targets, func(t fw.Target) bool { return t.Name == name && (t.LUN.Uint64() == u.lun || t.AnyLUN) })
	known := plan.Credentials.For(name)
	switch {
	case i >= 0:
		known = fw.CHAP{}
		if h := plan.Targets[i].CHAP; h != nil {
			known = *h
		}
	case plan.AskDHCP == "": // else DHCP says so again
		host := portal.String()
		if portal.Is6() {
			host = "[" + host + "]"
		}
		n.word(fmt.Sprintf("netroot=iscsi:%s::%d:%s:%s", host, port, hexLUN(u.lun), name))
		words, err := m.network(portal)
		if err != nil {
			n.Warnings = append(n.Warnings, fmt.Sprintf("the NIC that leads to %s will ask DHCP: %v", portal, err))
		} else {
			n.word(words)
		}
	}
	if plan.Initiator.Name != initiator {
		n.word("rd.iscsi.initiator=" + initiator)
	}
	chap := [][2]string{
		{"username", m.read(at + "username")}, {"password", m.read(at + "password")},
		{"username_in", m.read(at + "username_in")}, {"password_in", m.read(at + "password_in")},
	}
	was := []string{known.Username, string(known.Password), known.UsernameIn, string(known.PasswordIn)}
	section := ""
	for i, f := range chap {
		if f[1] != "" && f[1] != was[i] {
			section += "node.session.auth." + f[0] + " = " + f[1] + "\n"
		}
	}
	if section = "[" + name + "]\n" + section; strings.Contains(section, " = ") && !strings.Contains(n.Credentials, section) {
		n.Credentials += section
	}
	return nil
}

// word adds words, once.
func (n *Needs) word(words string) {
	if !slices.Contains(n.Cmdline, words) {
		n.Cmdline = append(n.Cmdline, words)
	}
}

// hexLUN writes a LUN as root-path has it (RFC 4173, 5).
func hexLUN(n uint64) string {
	l := ibft.LUNFromUint64(n)
	text := fmt.Sprintf("%x-%x-%x-%x", l[0:2], l[2:4], l[4:6], l[6:8])
	for strings.HasSuffix(text, "-0000") {
		text = strings.TrimSuffix(text, "-0000")
	}
	if text = strings.TrimLeft(text, "0"); text == "" || text[0] == '-' {
		text = "0" + text
	}
	return text
}

// unit is a logical unit of a session: host0, session1, and its LUN as Linux counts.
type unit struct {
	host, session string
	lun           uint64
}

// units returns those that the root is made of, through dm and md.
func (m Machine) units() (list []unit, err error) {
	device, err := m.rootDevice()
	if err != nil {
		return nil, err
	}
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil || depth == 0 { // no system nests that deep
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
			dir = filepath.Dir(dir)
		}
		below, _ := filepath.Glob(filepath.Join(dir, "slaves", "*"))
		for _, b := range below {
			if err := walk(b, depth-1); err != nil {
				return err
			}
		}
		if u, ok := parseUnit(dir); ok && !slices.Contains(list, u) {
			list = append(list, u)
		}
		return nil
	}
	const deepest = 16
	if err := walk(device, deepest); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrLocal
	}
	return list, nil
}

// parseUnit reads …/host2/session1/target2:0:0/2:0:0:1/block/sda.
func parseUnit(dir string) (u unit, ok bool) {
	f := strings.Split(dir, "/")
	at := slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "session") })
	if at < 1 || at+2 >= len(f) {
		return u, false
	}
	lun, err := strconv.ParseUint(f[at+2][strings.LastIndexByte(f[at+2], ':')+1:], 10, 64)
	return unit{f[at-1], f[at], lun}, err == nil
}

// rootDevice returns the folder of sysfs of what the root is mounted from. A file
// system of several devices has none of its own in mountinfo (proc(5)), and names
// one of them.
func (m Machine) rootDevice() (dir string, err error) {
	text, err := os.ReadFile(filepath.Join(m.Root, "proc/self/mountinfo"))
	if err != nil {
		return "", err
	}
	number, source := "", ""
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if dash := slices.Index(f, "-"); len(f) > 5 && f[4] == "/" && dash > 0 && dash+2 < len(f) {
			number, source = f[2], f[dash+2] // the last one covers the others
		}
	}
	switch {
	case number == "":
		return "", errors.New("/proc/self/mountinfo does not tell of a root")
	case !strings.HasPrefix(number, "0:"):
		return filepath.Join(m.Root, "sys/dev/block", number), nil
	case !strings.HasPrefix(source, "/dev/"):
		return "", ErrLocal
	}
	device, err := filepath.EvalSymlinks(filepath.Join(m.Root, source))
	return filepath.Join(m.Root, "sys/class/block", filepath.Base(device)), err
}

// read returns a file's text, or "" where there is none; so says the kernel's class
// of what was not set.
func (m Machine) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(m.Root, name))
	s := strings.TrimSuffix(string(text), "\n")
	if s == "(null)" || s == "<NULL>" {
		return ""
	}
	return s
}
