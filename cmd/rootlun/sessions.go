package main

import (
	"cmp"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/boot/json"
	"github.com/rootlun/rootlun/session/kernel"
)

const sessionsUsage = `usage: rootlun sessions [TARGET] [PORTAL] [--sid N] [-P 0|1|2|3] [--json]

Prints the kernel's iSCSI sessions as "iscsiadm -m session" does: a line each,
with -P 1 what leads to them, with 2 their timers and what was negotiated, with
3 their disks. Of CHAP secrets it says that there are some.

The exit code is 0 when there is a session, 21 when there is none.

  rootlun sessions -P 3
  rootlun sessions --json iqn.2026-01.net.example:disk

`

const logoutUsage = `usage: rootlun logout [TARGET] [PORTAL] [--sid N] | --all [--force]

Ends iSCSI sessions. One stays when a disk of it is in use: mounted, swap, or
part of something. Where open-iscsi's iscsid runs, log out with iscsiadm.

The exit code is 0 when they are gone, 1 when one stays, 21 when there is none.

  rootlun logout iqn.2026-01.net.example:disk 192.0.2.10

`

const rescanUsage = `usage: rootlun rescan [TARGET] [PORTAL] [--sid N]

Has the kernel look for new logical units of its iSCSI sessions, and for a new
size of those that it knows. It prints the disks on the standard error.

The exit code is 0 when all went well, 1 when not, 21 when there is no session.

  rootlun rescan iqn.2026-01.net.example:disk

`

// details are what each level of -P adds, as iscsiadm prints it. <tsATTR> is an
// attribute in sysfs (scsi_transport_iscsi.c): its form is t text, e text that is
// "default" when it is empty, v text as it is, a address, n number, b boolean, d
// digest, m secret, or c a connection's state; its place is s the session's folder,
// or another of sessionPrinter.at. A place alone is what stands there.
var details = [...]string{
	"<vT>: [<vS>] <vP>,<nstpgt> <tN> (non-flash)\n",
	`Target: <tN> (non-flash)
	Current Portal: <vC>,<nstpgt>
	Persistent Portal: <vP>,<nstpgt>
		**********
		Interface:
		**********
		Iface Name: <tsifacename>
		Iface Transport: <tT>
		Iface Initiatorname: <tsinitiatorname>
		Iface IPaddress: <ahipaddress>
		Iface HWaddress: <ehhwaddress>
		Iface Netdev: <ehnetdev>
		SID: <vS>
		iSCSI Connection State: <ccstate>
		iSCSI Session State: <tsstate>
		Internal iscsid Session State: Unknown
`, `		*********
		Timeouts:
		*********
		Recovery Timeout: <nsrecovery_tmo>
		Target Reset Timeout: <nstgt_reset_tmo>
		LUN Reset Timeout: <nslu_reset_tmo>
		Abort Timeout: <nsabort_tmo>
		NOP-Out Interval: <ncrecv_tmo>
		NOP-Out Timeout: <ncping_tmo>
		*****
		CHAP:
		*****
		username: <tsusername>
		password: <mspassword>
		username_in: <tsusername_in>
		password_in: <mspassword_in>
		************************
		Negotiated iSCSI params:
		************************
		HeaderDigest: <dcheader_digest>
		DataDigest: <dcdata_digest>
		MaxRecvDataSegmentLength: <ncmax_recv_dlength>
		MaxXmitDataSegmentLength: <ncmax_xmit_dlength>
		FirstBurstLength: <nsfirst_burst_len>
		MaxBurstLength: <nsmax_burst_len>
		ImmediateData: <bsimmediate_data>
		InitialR2T: <bsinitial_r2t>
		MaxOutstandingR2T: <nsmax_outstanding_r2t>
`, `		************************
		Attached SCSI devices:
		************************
		Host Number: <vH>	State: <txstate>
`}

// With --json it is all of that: first these attributes by the kernel's names,
// then the rest.
const (
	jsonAttributes = "nstpgt tsifacename tsinitiatorname thipaddress thhwaddress thnetdev tsstate " +
		"nsrecovery_tmo nstgt_reset_tmo nslu_reset_tmo nsabort_tmo ncrecv_tmo ncping_tmo " +
		"tsusername mspassword tsusername_in mspassword_in dcheader_digest dcdata_digest " +
		"ncmax_recv_dlength ncmax_xmit_dlength nsfirst_burst_len nsmax_burst_len bsimmediate_data bsinitial_r2t nsmax_outstanding_r2t"
	jsonDetails = `
			"sid": <vS>,
			"target": <tN>,
			"portal": <tC>,
			"persistent_portal": <tP>,
			"transport": <tT>,
			"connection_state": <tcstate>,
			"host": <vH>,
			"host_state": <txstate>,
			"units": [`
)

// What is printed of a unit, and of its disk.
const (
	unitText = "\t\tscsi<vH> Channel 00 Id <vD> Lun: <vL>\n"
	diskText = "\t\t\tAttached scsi disk <vK>\t\tState: <tustate>\n"
	unitJSON = "\n\t\t\t\t{\"lun\": <vL>, \"disk\": <tK>, \"state\": <tustate>}"
)

const sysfs = kernel.Sysfs("/sys")

// runSessions is rootlun sessions.
func runSessions(args []string, stdout, stderr io.Writer) int {
	return sessions(sysfs, "sessions", args, stdout, stderr)
}

// runLogout is rootlun logout.
func runLogout(args []string, stdout, stderr io.Writer) int {
	return sessions(sysfs, "logout", args, stdout, stderr)
}

// runRescan is rootlun rescan.
func runRescan(args []string, stdout, stderr io.Writer) int {
	return sessions(sysfs, "rescan", args, stdout, stderr)
}

// sessions is a verb of sessions: it finds those that its arguments mean.
func sessions(sys kernel.Sysfs, verb string, args []string, stdout, stderr io.Writer) int {
	level, asJSON, all, force := "0", false, false, false
	var words []string // each names a session's target, its portal or its number
	word := func(s string) error {
		s, _, _ = strings.Cut(s, ",") // a portal's tag
		if words = append(words, s); s == "" {
			return errors.New("that names no session") // least of all one that has no name yet
		}
		return nil
	}
	options := []option{
		{"P", "N", "how much is printed, 0 to 3; default 0", toText(&level)},
		{"json", "", "all of it, for programs", toBool(&asJSON)},
		{"sid", "N", "this session alone", word},
		{"all", "", "all sessions", toBool(&all)},
		{"force", "", "also when a disk is in use", toBool(&force)},
	}
	cmd := command{verb, sessionsUsage, options[:3], nil, word}
	switch verb {
	case "rescan":
		cmd.usage, cmd.options = rescanUsage, options[2:3]
	case "logout":
		cmd.usage, cmd.options = logoutUsage, options[2:]
	}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	if verb == "logout" && all == (words != nil) || len(level) != 1 || level < "0" || level > "3" {
		return cmd.fail(stderr, 2, errors.New("want TARGET, PORTAL, --sid or --all; and 0 to 3 for -P"))
	}
	p := sessionPrinter{sys: sys, json: asJSON}
	sids := p.find(words)
	if verb == "sessions" {
		p.print(sids, int(level[0]-'0'))
		stdout.Write(p.b)
	}
	switch {
	case sids == nil:
		return cmd.fail(stderr, exitNothing, errors.New("there is no such session"))
	case verb != "sessions" && !boot.Sessions(boot.NewConsole(stderr, start), sids, verb == "logout", force):
		return 1
	}
	return 0
}

// sessionPrinter prints sessions, as JSON or for people.
type sessionPrinter struct {
	sys  kernel.Sysfs
	json bool
	b    []byte

	// Of the session at hand: folders of sysfs (s session, c connection, h iSCSI
	// host, x SCSI host, u unit) and values (S sid, N target, T transport, C and P
	// portals, A the latter without its port if that is 3260, H host, D target's
	// number, L LUN, K disk).
	at [128]string
}

// find returns the numbers of the sessions that all words mean.
func (p *sessionPrinter) find(words []string) (sids []uint32) {
	all, _ := p.sys.Sessions() // without the class there are none
	for _, sid := range all {
		p.look(sid)
		n := 0
		for _, w := range words {
			if w == p.at['N'] || w == p.at['P'] || w == p.at['A'] || w == p.at['S'] {
				n++
			}
		}
		if n == len(words) {
			sids = append(sids, sid)
		}
	}
	return sids
}

// look takes a session at hand.
func (p *sessionPrinter) look(sid uint32) {
	host, err := p.sys.HostNo(sid)
	p.at['S'], p.at['H'], p.at['D'] = decimal(sid), decimal(host), decimal(p.sys.TargetID(sid))
	if err != nil { // it ends
		p.at['H'] = "-1"
	}
	p.at['s'] = "class/iscsi_session/session" + p.at['S'] + "/"
	p.at['c'] = "class/iscsi_connection/connection" + p.at['S'] + ":0/"
	p.at['h'] = "class/iscsi_host/host" + p.at['H'] + "/"
	p.at['x'] = "class/scsi_host/host" + p.at['H'] + "/"
	p.at['T'] = strings.TrimPrefix(p.sys.Attr(p.at['x']+"proc_name"), "iscsi_")
	p.at['C'] = p.portal("")
	p.at['P'] = p.portal("persistent_")
	p.at['A'] = strings.TrimSuffix(p.at['P'], ":3260")
	p.at['N'] = p.sys.Attr(p.at['s'] + "targetname")
}

// portal is "192.0.2.1:3260" or "[2001:db8::1]:3260".
func (p *sessionPrinter) portal(prefix string) string {
	return net.JoinHostPort(p.sys.Attr(p.at['c']+prefix+"address"), p.sys.Attr(p.at['c']+prefix+"port"))
}

// print prints sessions: with -P to a level, with --json all.
func (p *sessionPrinter) print(sids []uint32, level int) {
	if p.json {
		level = 3
		p.text("{\n\t\"sessions\": [")
	}
	for i, sid := range sids {
		p.look(sid)
		for n := min(level, 1); n <= level && !p.json; n++ {
			p.text(details[n])
		}
		if p.json {
			if i > 0 {
				p.text(",")
			}
			p.text("\n\t\t{")
			for _, a := range strings.Fields(jsonAttributes) {
				p.text("\n\t\t\t\"" + a[2:] + "\": <" + a + ">,")
			}
			p.text(jsonDetails)
		}
		if level == 3 {
			p.units(sid)
		}
		if p.json {
			p.text("]\n\t\t}")
		}
	}
	if p.json {
		p.text("]\n}\n")
	}
}

func (p *sessionPrinter) units(sid uint32) {
	host, _ := p.sys.HostNo(sid)
	target := p.sys.TargetID(sid)
	luns, _ := p.sys.LUNs(sid, host, target) // none of a session that has just ended
	for i, lun := range luns {
		p.at['L'], p.at['u'] = strconv.FormatUint(lun, 10), kernel.UnitDir(host, target, lun)
		p.at['K'] = p.sys.Disk(p.at['u'])
		form := unitText
		switch {
		case p.json && i > 0:
			form = "," + unitJSON
		case p.json:
			form = unitJSON
		case p.at['K'] != "":
			form += diskText
		}
		p.text(form)
	}
}

// text prints a text with what stands for values in it.
func (p *sessionPrinter) text(text string) {
	for {
		before, rest, more := strings.Cut(text, "<")
		p.b = append(p.b, before...)
		if !more {
			return
		}
		rest, text, _ = strings.Cut(rest, ">")
		value := p.at[rest[1]]
		if len(rest) > 2 {
			value = p.sys.Attr(value + rest[2:])
		}
		p.value(rest[0], value)
	}
}

// value prints a value by its form.
func (p *sessionPrinter) value(form byte, value string) {
	set := value == "1"
	switch {
	case form == 'n':
		if _, err := strconv.Atoi(value); err != nil { // "off", or not known
			value = "-1"
		}
		form = 'v'
	case value == "" && form == 'e':
		value = "default"
	case value == "":
	case form == 'm':
		value = "********"
	case form == 'b' && set:
		value = "Yes"
	case form == 'b':
		value = "No"
	case form == 'd' && set:
		value = "CRC32C"
	case form == 'd':
		value = "None"
	case form == 'a' && strings.Contains(value, ":"):
		value = "[" + value + "]"
	case form == 'c' && value == "up":
		value = "LOGGED IN" // iscsid's word
	}
	switch {
	case form == 'v':
		p.b = append(p.b, value...)
	case p.json:
		p.b = json.Append(p.b, value, "")
	default:
		p.b = append(p.b, cmp.Or(value, "<empty>")...)
	}
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
