package fw

import (
	"cmp"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"

	"github.com/rootlun/rootlun/fw/stable"
)

const (
	sessionDir    = "sys/class/iscsi_session"
	connectionDir = "sys/class/iscsi_connection"
)

// session is one that the kernel has, whoever made it.
type session struct {
	name   string // "session1"
	target string
	portal []netip.AddrPort // as configured, and where a redirect led
}

// Session returns the name of the kernel's session to a target's portal that is
// logged in, "session1": an offload adapter's, or another program's. There is
// nothing to log in to, then. "" is none.
func Session(fsys fs.FS, t Target) string { return serving(sessions(fsys), &t) }

// findSessions marks the targets to which a session runs.
func (p *Plan) findSessions(fsys fs.FS) {
	if len(p.Targets) == 0 {
		return
	}
	running := sessions(fsys)
	for i := range p.Targets {
		p.Targets[i].Session = serving(running, &p.Targets[i])
	}
}

// serving returns the first that runs to t's portal. Zones are no part of it:
// the kernel does not show them.
func serving(running []session, t *Target) string {
	host, err := netip.ParseAddr(t.Host)
	if err != nil {
		return "" // a name
	}
	portal := netip.AddrPortFrom(host.Unmap().WithZone(""), t.Port)
	for _, s := range running {
		if s.target == t.Name && slices.Contains(s.portal, portal) {
			return s.name
		}
	}
	return ""
}

// sessions lists the sessions that are logged in, in the order of their
// numbers (the kernel's drivers/scsi/scsi_transport_iscsi.c).
func sessions(fsys fs.FS) (list []session) {
	const most = 256
	var ids []int
	entries, _ := stable.ReadDir(fsys, sessionDir) // without the class there is none
	for _, e := range entries {
		if id, ok := numbered(e.Name(), "session"); ok {
			ids = append(ids, id)
		}
	}
	stable.Sort(ids, cmp.Compare)
	m := machine{fsys}
	for _, id := range ids[:min(len(ids), most)] {
		name := "session" + strconv.Itoa(id)
		if m.line(path.Join(sessionDir, name, "state")) != "LOGGED_IN" {
			continue
		}
		s := session{name: name, target: m.line(path.Join(sessionDir, name, "targetname"))}
		// The software initiator and all adapters have one connection a session.
		dir := path.Join(connectionDir, "connection"+strconv.Itoa(id)+":0")
		for _, prefix := range [...]string{"persistent_", ""} {
			addr, err := netip.ParseAddr(m.line(path.Join(dir, prefix+"address")))
			port, portErr := strconv.ParseUint(m.line(path.Join(dir, prefix+"port")), 10, 16)
			if err == nil && portErr == nil {
				s.portal = append(s.portal, netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)))
			}
		}
		list = append(list, s)
	}
	return list
}
