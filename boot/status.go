package boot

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/session/kernel"
)

// Status is how safe the root's sessions are in a booted system.
type Status struct {
	Safe     bool            `json:"safe"`    // nothing is wrong with a session of the root
	Manager  string          `json:"manager"` // iscsid, rootlun keep or nobody
	Sessions []SessionStatus `json:"sessions"`
}

// SessionStatus is one session. The timers are those in force, in seconds; 0 is
// off, and a replacement timeout of -1 is for ever.
type SessionStatus struct {
	SID                uint32    `json:"sid"`
	Target             string    `json:"target"`
	Portal             string    `json:"portal"` // as configured
	TPGT               string    `json:"tpgt"`
	State              string    `json:"state"`
	Root               bool      `json:"root"` // the root is on a disk of its
	Multipath          bool      `json:"multipath"`
	ReplacementTimeout int       `json:"replacement_timeout"`
	NoopOutInterval    int       `json:"noop_out_interval"`
	NoopOutTimeout     int       `json:"noop_out_timeout"`
	Record             string    `json:"record"` // the node record's file; empty: none
	Problems           []Problem `json:"problems"`
}

// Problem is what is not safe for a root, and what to do about it.
type Problem struct {
	What string `json:"what"`
	Mend string `json:"mend"`
}

// shortReplacement is how many seconds of replacement timeout are too few for a
// root on one path: a target's restart takes longer.
const shortReplacement = 3600

// LookAtStatus reads how this system's sessions are kept. It changes nothing.
func LookAtStatus() Status {
	l := statusLooker{root: "/", fsys: os.DirFS("/"), sys: "/sys", route: network.RouteTo}
	return l.look()
}

func (l *statusLooker) look() Status {
	st := Status{Safe: true, Manager: l.manager()}
	carriers, multipath := l.rootSessions()
	for _, dir := range [...]string{"etc/iscsi", "var/lib/iscsi"} {
		if exists(l.fsys, "etc/iscsi/iscsid.conf") && exists(l.fsys, dir) {
			l.db = dir + "/nodes"
		}
	}
	sids, _ := l.sys.Sessions()
	for _, sid := range sids {
		s := SessionStatus{SID: sid}
		for _, n := range carriers {
			s.Root = s.Root || n == sid
		}
		s.Multipath = s.Root && multipath
		l.session(&s, st.Manager)
		st.Safe = st.Safe && len(s.Problems) == 0
		st.Sessions = append(st.Sessions, s)
	}
	return st
}

type statusLooker struct {
	root  string
	fsys  fs.FS
	sys   kernel.Sysfs
	route func(netip.Addr) (nic string, via netip.Addr, err error)
	db    string // open-iscsi's folder of node records; empty: it is not installed
}

func (l *statusLooker) text(name string) string {
	b, _ := fs.ReadFile(l.fsys, name)
	return string(b)
}

// manager says who repairs a session: iscsid, before whom rootlun keep gives
// way, rootlun keep, or nobody. That somebody listens on iscsid's socket would
// say little: systemd does in its place until it is needed.
func (l *statusLooker) manager() string {
	if processes(l.fsys, func(cmdline string) bool {
		program, _, _ := strings.Cut(cmdline, "\x00")
		return path.Base(program) == "iscsid"
	}) != nil {
		return "iscsid"
	}
	if keepers(l.fsys) != nil {
		return "rootlun keep"
	}
	return "nobody"
}

// rootSessions returns the sessions whose disks carry the root, through
// partitions and whatever the device mapper and its like make of disks.
func (l *statusLooker) rootSessions() (sids []uint32, multipath bool) {
	source := ""
	for _, m := range mounts(l.text("proc/self/mountinfo")) {
		if m.dir == "/" {
			source = m.source // the last one lies on top
		}
	}
	device, err := kernel.Resolve(path.Join(l.root, source)) // /dev/mapper/… is a link
	if source == "" || source[0] != '/' || err != nil {
		return nil, false
	}
	var walk func(name string, depth int)
	walk = func(name string, depth int) {
		dir, err := kernel.Resolve(path.Join(l.root, "sys/class/block", name))
		if err != nil || depth > 8 {
			return
		}
		if uuid := l.text("sys/class/block/" + name + "/dm/uuid"); strings.HasPrefix(uuid, "mpath-") {
			multipath = true
		}
		for _, part := range strings.Split(dir, "/") {
			if n, ok := strings.CutPrefix(part, "session"); ok {
				if sid, err := strconv.ParseUint(n, 10, 32); err == nil {
					sids = append(sids, uint32(sid))
				}
			}
		}
		if l.text("sys/class/block/"+name+"/partition") != "" { // what is below it is its disk's
			dir = path.Dir(dir)
		}
		below, _ := stable.ReadDir(os.DirFS(dir), "slaves")
		for _, e := range below {
			walk(e.Name(), depth+1)
		}
	}
	walk(path.Base(device), 0)
	return sids, multipath
}

// session fills in what there is to say of a session.
func (l *statusLooker) session(s *SessionStatus, manager string) {
	sid := s.SID
	portal := portalOf(l.sys, sid)
	s.Portal = portal.String()
	s.Target, _ = l.sys.SessionAttr(sid, "targetname")
	s.TPGT, _ = l.sys.SessionAttr(sid, "tpgt")
	s.State, _ = l.sys.SessionAttr(sid, "state")
	recovery, _ := l.sys.SessionAttr(sid, "recovery_tmo")
	interval, _ := l.sys.ConnAttr(sid, 0, "recv_tmo")
	timeout, _ := l.sys.ConnAttr(sid, 0, "ping_tmo")
	s.ReplacementTimeout, _ = strconv.Atoi(recovery)
	s.NoopOutInterval, _ = strconv.Atoi(interval)
	s.NoopOutTimeout, _ = strconv.Atoi(timeout)
	if recovery == "off" {
		s.ReplacementTimeout = -1
	}
	record := fmt.Sprintf("%s/%s/%s,%d,%s/default", l.db, s.Target, portal.Addr(), portal.Port(), s.TPGT)
	text := l.text(record)
	if text != "" {
		s.Record = "/" + record
	}
	if !s.Root {
		return
	}
	l.network(s, portal.Addr())
	const noop = "node.conn[0].timeo.noop_out_interval"
	next, startup := setting(text, noop), setting(text, "node.startup")
	pin := fmt.Sprintf(" >/sys/class/iscsi_session/session%d/recovery_tmo", sid)
	update := fmt.Sprintf("iscsiadm -m node -T %s -p %s -o update -n ", s.Target, s.Portal)
	s.check(s.State != "LOGGED_IN", "the session is not logged in", "look at the target and the network")
	s.check(manager == "nobody", "nobody logs in again when the connection is lost", "start iscsid, or boot without rd.rootlun.keep=0")
	if s.Multipath {
		s.check(s.ReplacementTimeout < 0 || s.ReplacementTimeout > 120, "I/O waits long for this path before dm-multipath takes another", "echo 5"+pin)
		s.check(s.NoopOutInterval == 0, "without NOPs a path that is cut is not noticed", update+noop+" -v 5, for the next login")
	} else {
		s.check(s.ReplacementTimeout >= 0 && s.ReplacementTimeout < shortReplacement, "I/O fails too soon after the connection is lost", "echo 86400"+pin)
		s.check(s.NoopOutInterval != 0 || next != "" && next != "0", "NOPs end, now or after the next login, the connection to a target that is only slow", update+noop+" -v 0, for the next login")
	}
	s.check(l.db != "" && s.Record == "", "there is no node record, so that iscsid takes iscsid.conf's timers", "rootlun records")
	s.check(startup != "" && startup != "onboot", "by node.startup iscsiadm -m node --logoutall may end the session", update+"node.startup -v onboot")
}

// check notes a problem, if it is one.
func (s *SessionStatus) check(is bool, what, mend string) {
	if is {
		s.Problems = append(s.Problems, Problem{what, mend})
	}
}

// setting returns what a file of open-iscsi's says of a setting, "" when nothing.
func setting(text, name string) (value string) {
	for _, line := range strings.Split(text, "\n") {
		if key, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == name {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

// network checks how systemd-networkd, where it runs, keeps the interface that
// leads to a session's portal.
func (l *statusLooker) network(s *SessionStatus, portal netip.Addr) {
	nic, _, err := l.route(portal)
	s.check(err != nil, "no route leads to the portal", "look at the network")
	index := strings.TrimSpace(l.text("sys/class/net/" + nic + "/ifindex"))
	file := setting(l.text("run/systemd/netif/links/"+index), "NETWORK_FILE")
	text := l.text(strings.TrimPrefix(file, "/"))
	s.check(text != "" && setting(text, "KeepConfiguration") != "yes", "systemd-networkd takes the addresses of "+nic+" away when it stops", "KeepConfiguration=yes below [Network] in "+file)
}
