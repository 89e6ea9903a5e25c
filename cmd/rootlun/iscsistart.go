package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// openISCSI is the release of open-iscsi whose iscsistart this is like. What
// scripts read of its output is as there, to the letter; docs/rootlun-iscsistart.8 has
// what differs.
const openISCSI = "2.1.8"

// Exit codes of iscsistart (open-iscsi's include/iscsi_err.h).
const (
	exitFailed  = 1
	exitInvalid = 7
)

// iscsistartOptions are those of iscsistart, in its order, which shows where a
// name is ambiguous.
var iscsistartOptions = []getopt{
	{'c', "config", "FILE", "with -b: read settings from FILE, not from " + iscsidConf},
	{'i', "initiatorname", "NAME", "our iSCSI name"},
	{'t', "targetname", "NAME", "the target's iSCSI name"},
	{'g', "tgpt", "N", "the target's portal group; any number will do"},
	{'a', "address", "ADDRESS", "the portal: an address or a name"},
	{'p', "port", "N", "its port; default 3260"},
	{'u', "username", "NAME", "log in by CHAP with this name"},
	{'w', "password", "SECRET", "and this secret"},
	{'U', "username_in", "NAME", "have the target prove itself with this name"},
	{'W', "password_in", "SECRET", "and this secret"},
	{'d', "debug", "N", "taken, and of no effect"},
	{'b', "fwparam_connect", "", "log in to all targets of the firmware"},
	{'N', "fwparam_network", "", "bring up the firmware's NICs, and end"},
	{'f', "fwparam_print", "", "print what the firmware says, secrets too, and end"},
	{'P', "param", "NAME=VALUE", "a setting of a node record; may be repeated"},
	{'h', "help", "", "print this, and end"},
	{'v', "version", "", "print the version, and end"},
}

// iscsidConf is where -b looks for settings.
const iscsidConf = "/etc/iscsi/iscsid.conf"

// iscsistart is one call of it.
type iscsistart struct {
	stdout, stderr io.Writer
	plan           *fw.Plan  // of -b; nil: that is not asked for
	target         fw.Target // else this one
	initiator      string
	named          bool      // -i was given
	tgpt           int       // -1: it is missing
	auth           [4]string // -u -w -U -W
	params         []fw.Param
	conf           string
}

// runISCSIStart is what rootlun does when it is called as iscsistart. Secrets in
// args are overwritten there.
func runISCSIStart(args []string, stdout, stderr io.Writer) int {
	i := newISCSIStart(stdout, stderr)
	code := -1
	mistake := eachOption(args, iscsistartOptions, func(short byte, value string) bool {
		code = i.option(short, value)
		return code < 0
	})
	switch {
	case mistake != "":
		i.say("%s", mistake)
		fmt.Fprintln(stderr, "Try `iscsistart --help' for more information.")
		return exitInvalid
	case code >= 0:
		return code
	}
	if i.plan == nil {
		if missing := i.missing(); missing != "" {
			i.say("%s not set. Exiting iscsistart", missing)
			return exitInvalid
		}
		i.plan = &fw.Plan{Initiator: fw.Initiator{Name: i.initiator}, Targets: []fw.Target{i.target}}
		i.conf = "" // as there
	}
	return i.logIn()
}

func newISCSIStart(stdout, stderr io.Writer) *iscsistart {
	return &iscsistart{stdout: stdout, stderr: stderr, tgpt: -1, conf: iscsidConf, target: fw.Target{Index: -1, NIC: -1, Port: 3260}}
}

func (i *iscsistart) say(format string, args ...any) {
	fmt.Fprintf(i.stderr, "iscsistart: "+format+"\n", args...)
}

// option takes one option; it returns the exit code where the program ends at it,
// else -1.
func (i *iscsistart) option(short byte, value string) (code int) {
	what, most := "", 0
	switch short {
	case 'c':
		i.conf = value
	case 'i':
		i.initiator, i.named = value, true
	case 't':
		what, most = "targetname", 255
		i.target.Name = value
	case 'g':
		i.tgpt, _ = strconv.Atoi(value)
	case 'a':
		what, most = "address", 1025
		i.target.Host = strings.Trim(value, "[]")
	case 'p':
		n, _ := strconv.ParseUint(value, 10, 16)
		i.target.Port = uint16(n)
	case 'u', 'w', 'U', 'W':
		n := strings.IndexByte("uwUW", short)
		what, most = [...]string{"username", "password", "username_in", "password_in"}[n], 256
		i.auth[n] = strings.Clone(value)
		if n%2 == 1 {
			forget(value)
		}
	case 'P':
		name, text, _ := strings.Cut(value, "=")
		if text == "" {
			i.say("Invalid --param %s. Missing value.", name)
			return exitInvalid
		}
		i.params = append(i.params, fw.Param{Name: strings.Clone(name), Value: strings.Clone(text)})
		if strings.Contains(name, "password") {
			forget(text)
		}
	case 'b':
		return i.firmware()
	case 'N':
		return i.network()
	case 'f':
		return i.print()
	case 'h':
		i.help()
		return 0
	case 'v':
		fmt.Fprintf(i.stdout, "iscsistart version %s (rootlun %s)\n", openISCSI, version)
		return 0
	}
	if len(value) > most && most > 0 {
		if short == 'w' || short == 'W' {
			value = "***"
		}
		fmt.Fprintf(i.stdout, "iscsistart: invalid %s %s. Max %s length is %d.\n", what, value, what, most)
		return exitInvalid
	}
	return -1
}

// forget overwrites what is part of this program's own command line, which every
// process can read: Go's os.Args are the kernel's bytes (runtime.goargs).
func forget(word string) { clear(unsafe.Slice(unsafe.StringData(word), len(word))) }

func (i *iscsistart) help() {
	fmt.Fprint(i.stdout, "Usage: iscsistart [OPTION]\nStart iSCSI sessions: rootlun by the name and with the options of open-iscsi's program.\n")
	for _, o := range iscsistartOptions {
		form := o.long
		if o.value != "" {
			form += "=" + o.value
		}
		fmt.Fprintf(i.stdout, "  -%c, --%-24s  %s\n", o.short, form, o.help)
	}
	fmt.Fprint(i.stdout, "Without -b, -N and -f, all of -i, -t, -g and -a have to be given:\n"+
		"  iscsistart -i iqn.2026-01.net.example:node1 -t iqn.2026-01.net.example:disk -g 1 -a 192.0.2.10\n")
}

// missing names what has to be given and is not.
func (i *iscsistart) missing() string {
	switch {
	case !i.named:
		return "InitiatorName"
	case i.tgpt == -1:
		return "Portal Group"
	case i.target.Name == "":
		return "TargetName"
	case i.target.Host == "":
		return "IP Address"
	}
	return ""
}

// console tells what is done as a boot does.
func (i *iscsistart) console() *boot.Console { return boot.NewConsole(i.stderr, start) }

// readFirmware returns the firmware's plan; without one, it says so in iscsistart's
// words, and the reason, if it is that something is wrong.
func (i *iscsistart) readFirmware(nothing string) (plan *fw.Plan) {
	plan, err := boot.FirmwarePlan(i.console())
	if err == nil {
		return plan
	}
	fmt.Fprintln(i.stdout, nothing)
	if !errors.Is(err, fw.ErrNothing) {
		i.say("%v", err)
	}
	return nil
}

// firmware is -b, which looks for targets at once, and logs in at the end.
func (i *iscsistart) firmware() (code int) {
	if i.plan = i.readFirmware("Could not get boot entry."); i.plan == nil {
		return exitNothing
	}
	i.tgpt = 1 // no table names one
	return -1
}

// network is -N.
func (i *iscsistart) network() (code int) {
	plan := i.readFirmware("Could not setup fw entries.")
	if plan == nil {
		return exitNothing
	}
	nics, err := boot.Network(context.Background(), i.console(), plan)
	for _, nic := range nics {
		fmt.Fprintf(i.stdout, "Setting up software interface %s\n", nic.Name)
	}
	if err != nil {
		i.say("%v", err)
		return exitFailed
	}
	return 0
}

// print is -f.
func (i *iscsistart) print() (code int) {
	s := fw.FirmwareOnly(fw.Sources{FS: os.DirFS("/")})
	text := records218(s.FS, fw.Tables(s), true)
	if text == "" {
		fmt.Fprintln(i.stdout, "Could not get list of targets from firmware.")
		return exitNothing
	}
	io.WriteString(i.stdout, text)
	return 0
}

// settings gives the plan what holds for all its targets: iscsistart's own defaults,
// with which it tries for a quarter of an hour, iscsid.conf's with -b, and what the
// options say. Of one that is given twice the first counts, as in open-iscsi.
func (i *iscsistart) settings() error {
	cfg := session.Default()
	set := func(name, value string) error {
		i.plan.Params = append(i.plan.Params, fw.Param{Name: name, Value: value})
		return cfg.Set(name, value)
	}
	_ = set("node.session.initial_login_retry_max", "30")
	_ = set("node.conn[0].timeo.login_timeout", "30")
	errs := []error{i.readConf(set)}
	if i.auth[0] == "" && i.auth[1] == "" && i.auth[2]+i.auth[3] != "" {
		i.say("warning: no target proves itself to who does not: -U and -W need -u and -w")
		i.auth[2], i.auth[3] = "", ""
	}
	for n, name := range [...]string{"username", "password", "username_in", "password_in"} {
		if i.auth[n] != "" {
			_ = set("node.session.auth."+name, i.auth[n]) // any will do
		}
	}
	for n := len(i.params) - 1; n >= 0; n-- {
		errs = append(errs, set(i.params[n].Name, i.params[n].Value))
	}
	for _, w := range cfg.Warnings {
		i.say("warning: %s", w)
	}
	// As there: who takes our answer without a proof of its own might as well not
	// ask for one.
	i.plan.AuthOptional = true
	return errors.Join(errs...)
}

// readConf sets what iscsid.conf has for a session. The timers that keep a root from
// its errors are for --param alone: those of the file are for what iscsid looks after.
func (i *iscsistart) readConf(set func(name, value string) error) error {
	if i.conf == "" {
		return nil
	}
	text, err := readInput(i.conf, os.Stdin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, line := range strings.Split(string(text), "\n") {
		name, value, _ := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case value == "", !strings.HasPrefix(name, "node."):
		case strings.Contains(name, ".noop_out_"), strings.HasSuffix(name, "replacement_timeout"), strings.HasSuffix(name, "initial_login_retry_max"):
		default:
			err = errors.Join(err, set(name, value))
		}
	}
	return err
}

// logIn logs in to all targets of the plan.
func (i *iscsistart) logIn() (code int) {
	if err := i.settings(); err != nil {
		i.say("%v", err)
		return exitFailed
	}
	for _, t := range i.plan.Targets {
		fmt.Fprintf(i.stdout, "iscsistart: Logging into %s %s:%d,%d\n", t.Name, t.Host, t.Port, i.tgpt)
	}
	i.say("version %s (rootlun %s)", openISCSI, version)
	started, err := boot.StartSessions(context.Background(), i.console(), i.plan)
	if err != nil {
		i.say("initiator reported error (12 - %v)", err)
		return exitFailed
	}
	for n, s := range started {
		switch t := i.plan.Targets[n]; {
		case s.Err != nil:
			i.say("initiator reported error (%d - %v)", errorNumber(s.Err), s.Err)
			code = exitFailed
		case s.Session != nil:
			i.say("Connection%d:0 to [target: %s, portal: %s,%d] through [iface: default] is operational now", s.SID, t.Name, t.Host, t.Port)
		}
	}
	return code
}

// errorNumber is open-iscsi's for what a login fails by.
func errorNumber(err error) int {
	_, auth := errors.AsType[*login.AuthError](err)
	status, refused := errors.AsType[*login.StatusError](err)
	switch {
	case auth, errors.Is(err, login.ErrNoCredentials), errors.Is(err, login.ErrAuthFailed), errors.Is(err, login.ErrNotAuthorized):
		return 24
	case session.Retry(err) == session.Normally && (!refused || status.Temporary()):
		return 8
	}
	return 19
}
