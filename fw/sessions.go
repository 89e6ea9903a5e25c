package fw

import (
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
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
	id     uint64
}

// Session returns the name of the kernel's session to a target's portal that is
// logged in, "session1": an offload adapter's, or another program's. There is
// nothing to log in to, then. "" is none.
func Session(fsys fs.FS, t Target) string {
	for _, s := range sessions(fsys) {
		if s.serves(t) {
			return s.name
		}
	}
	return ""
}

// findSessions marks the targets to which a session runs.
func (p *Plan) findSessions(fsys fs.FS) {
	if len(p.Targets) == 0 {
		return
	}
	running := sessions(fsys)
	for i, t := range p.Targets {
		if k := slices.IndexFunc(running, func(s session) bool { return s.serves(t) }); k >= 0 {
			p.Targets[i].Session = running[k].name
		}
	}
}

func (s *session) serves(t Target) bool {
	host, err := netip.ParseAddr(t.Host)
	if err != nil || s.target != t.Name {
		return false
	}
	return slices.Contains(s.portal, netip.AddrPortFrom(host.Unmap().WithZone(""), t.Port))
}

// sessions lists the sessions that are logged in, in the order of their
// numbers (the kernel's drivers/scsi/scsi_transport_iscsi.c).
func sessions(fsys fs.FS) (list []session) {
	const most = 256
	entries, _ := fs.ReadDir(fsys, sessionDir) // without the class there is none
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "session")
		id, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || number != strconv.FormatUint(id, 10) {
			continue
		}
		list = append(list, session{name: e.Name(), id: id})
	}
	slices.SortFunc(list, func(a, b session) int { return int(int64(a.id) - int64(b.id)) })
	list = list[:min(len(list), most)]

	m := machine{fsys}
	list = slices.DeleteFunc(list, func(s session) bool {
		return m.line(path.Join(sessionDir, s.name, "state")) != "LOGGED_IN"
	})
	for i := range list {
		s := &list[i]
		s.target = m.line(path.Join(sessionDir, s.name, "targetname"))
		// The software initiator and all adapters have one connection a session.
		dir := path.Join(connectionDir, "connection"+strconv.FormatUint(s.id, 10)+":0")
		for _, prefix := range [...]string{"persistent_", ""} {
			addr, err := netip.ParseAddr(m.line(path.Join(dir, prefix+"address")))
			port, perr := strconv.ParseUint(m.line(path.Join(dir, prefix+"port")), 10, 16)
			if err == nil && perr == nil {
				s.portal = append(s.portal, netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)))
			}
		}
	}
	return list
}
