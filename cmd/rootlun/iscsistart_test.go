package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/qemu-tests/cache"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// said is what a program says, and ends with.
type said struct {
	Code           int
	Stdout, Stderr string
}

// iscsistartLines end before anything is asked of the kernel or of the firmware.
// What is said to be different is so by intent.
var iscsistartLines = []struct {
	args   string // split at blanks; "''" is an empty one, LONG one of 300 letters
	code   int
	stdout string // what it begins with; "": it is empty
	stderr string
	differ bool // from open-iscsi, in the text alone
}{
	{"", 7, "", "iscsistart: InitiatorName not set. Exiting iscsistart\n", false},
	{"-i x", 7, "", "iscsistart: Portal Group not set. Exiting iscsistart\n", false},
	{"-i ''", 7, "", "iscsistart: Portal Group not set. Exiting iscsistart\n", false},
	{"-i x -g -1", 7, "", "iscsistart: Portal Group not set. Exiting iscsistart\n", false},
	{"-i x -g 1", 7, "", "iscsistart: TargetName not set. Exiting iscsistart\n", false},
	{"-i x -g x", 7, "", "iscsistart: TargetName not set. Exiting iscsistart\n", false},
	{"-i x -g 1 -t ''", 7, "", "iscsistart: TargetName not set. Exiting iscsistart\n", false},
	{"-i x -t iqn.2026-01.net.example:a", 7, "", "iscsistart: Portal Group not set. Exiting iscsistart\n", false},
	{"-i x -t iqn.2026-01.net.example:a -g 1", 7, "", "iscsistart: IP Address not set. Exiting iscsistart\n", false},
	{"-i x -t iqn.2026-01.net.example:a_b -g 1", 7, "", "iscsistart: IP Address not set. Exiting iscsistart\n", true}, // as in 2.1.11
	{"-ix -tiqn.2026-01.net.example:a -g1 -p3260 -uu -wsecret -Uu -Wsecret -d8 -cf", 7, "", "iscsistart: IP Address not set. Exiting iscsistart\n", false},
	{"words -i x between -g 1 - options", 7, "", "iscsistart: TargetName not set. Exiting iscsistart\n", false},
	{"--initiatorname=x --tgpt 1 --ta iqn.2026-01.net.example:a", 7, "", "iscsistart: IP Address not set. Exiting iscsistart\n", false},
	{"--initiatorname x --tgpt=1 --target= --ad=1", 7, "", "iscsistart: TargetName not set. Exiting iscsistart\n", false},
	{"--username u --password secret --username_in u --password_in secret", 7, "", "iscsistart: InitiatorName not set. Exiting iscsistart\n", false},
	{"--u u", 7, "", "iscsistart: option '--u' is ambiguous; possibilities: '--username' '--username_in'\nTry `iscsistart --help' for more information.\n", false},
	{"--p", 7, "", "iscsistart: option '--p' is ambiguous; possibilities: '--port' '--password' '--password_in' '--param'\nTry `iscsistart --help' for more information.\n", false},
	{"--pass=secret", 7, "", "iscsistart: option '--pass' is ambiguous; possibilities: '--password' '--password_in'\nTry `iscsistart --help' for more information.\n", true},
	{"--passwort=secret", 7, "", "iscsistart: unrecognized option '--passwort'\nTry `iscsistart --help' for more information.\n", true},
	{"--nonsense", 7, "", "iscsistart: unrecognized option '--nonsense'\nTry `iscsistart --help' for more information.\n", false},
	{"-x", 7, "", "iscsistart: invalid option -- 'x'\nTry `iscsistart --help' for more information.\n", false},
	{"-dvx", 7, "", "iscsistart: InitiatorName not set. Exiting iscsistart\n", false},
	{"-i", 7, "", "iscsistart: option requires an argument -- 'i'\nTry `iscsistart --help' for more information.\n", false},
	{"--targetn", 7, "", "iscsistart: option '--targetname' requires an argument\nTry `iscsistart --help' for more information.\n", false},
	{"--help=x", 7, "", "iscsistart: option '--help' doesn't allow an argument\nTry `iscsistart --help' for more information.\n", false},
	{"-- -v", 7, "", "iscsistart: InitiatorName not set. Exiting iscsistart\n", false},
	{"-P node.session.queue_depth", 7, "", "iscsistart: Invalid --param node.session.queue_depth. Missing value.\n", false},
	{"--param node.session.queue_depth= -v", 7, "", "iscsistart: Invalid --param node.session.queue_depth. Missing value.\n", false},
	{"-P a=b --param=c=d=e -v", 0, "iscsistart version 2.1.8", "", true},
	{"-v -x", 0, "iscsistart version 2.1.8", "", true},
	{"-vx", 0, "iscsistart version 2.1.8", "", true},
	{"--vers", 0, "iscsistart version 2.1.8", "", true},
	{"x - -v", 0, "iscsistart version 2.1.8", "", true},
	{"-c /nonexistent -v", 0, "iscsistart version 2.1.8", "", true},
	{"-hv", 0, "Usage: iscsistart [OPTION]\n", "", true},
	{"--help", 0, "Usage: iscsistart [OPTION]\n", "", true},
	{"-t LONG", 7, "iscsistart: invalid targetname LONG. Max targetname length is 255.\n", "", false},
	{"-u LONG", 7, "iscsistart: invalid username LONG. Max username length is 256.\n", "", false},
	{"--username_in LONG", 7, "iscsistart: invalid username_in LONG. Max username_in length is 256.\n", "", false},
	{"-w LONG", 7, "iscsistart: invalid password ***. Max password length is 256.\n", "", true},
	{"-WLONG", 7, "iscsistart: invalid password_in ***. Max password_in length is 256.\n", "", true},
	{"-a LONGLONGLONGLONG", 7, "iscsistart: invalid address LONGLONGLONGLONG. Max address length is 1025.\n", "", false},
	{"-i LONG -v", 0, "iscsistart version 2.1.8", "", true},
}

var long = strings.Repeat("a", 300)

func splitArgs(text string) []string {
	args := strings.Fields(strings.ReplaceAll(text, "LONG", long))
	for i := range args {
		args[i] = strings.Clone(strings.Trim(args[i], "'")) // what is overwritten
	}
	return args
}

func TestISCSIStart(t *testing.T) {
	for _, l := range iscsistartLines {
		var stdout, stderr strings.Builder
		args := splitArgs(l.args)
		code := dispatch(append([]string{"/sbin/iscsistart"}, args...), 2, &stdout, &stderr)
		got := said{code, strings.ReplaceAll(stdout.String(), long, "LONG"), strings.ReplaceAll(stderr.String(), long, "LONG")}
		if l.stdout != "" && strings.HasPrefix(got.Stdout, l.stdout) {
			got.Stdout = l.stdout
		}
		if diff := cmp.Diff(said{l.code, l.stdout, l.stderr}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.args, diff)
		}
		if strings.Contains(strings.Join(args, " "), "secret") && !l.differ {
			t.Errorf("%s: the secret is left in the command line: %q", l.args, args)
		}
	}
}

// TestDebiansISCSIStart holds the same lines against the program itself.
func TestDebiansISCSIStart(t *testing.T) {
	dir := cache.Path(t, "open-iscsi")
	program := filepath.Join(dir, "sbin/iscsistart")
	for _, l := range iscsistartLines {
		cmd := exec.Command(filepath.Join(dir, "lib64/ld-linux-x86-64.so.2"), slices.Concat([]string{
			"--library-path", dir + "/lib/x86_64-linux-gnu:" + dir + "/usr/lib/x86_64-linux-gnu", program}, splitArgs(l.args))...)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		exit, ran := errors.AsType[*exec.ExitError](err)
		got := said{0, strings.ReplaceAll(stdout.String(), long, "LONG"), strings.ReplaceAll(stderr.String(), long, "LONG")}
		if ran {
			got.Code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		got.Stderr = strings.ReplaceAll(got.Stderr, program, "iscsistart")
		want := said{l.code, l.stdout, l.stderr}
		if l.differ {
			want.Stdout, want.Stderr = stream(want.Stdout), stream(want.Stderr)
			got.Stdout, got.Stderr = stream(got.Stdout), stream(got.Stderr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-ours +open-iscsi's):\n%s", l.args, diff)
		}
	}
}

// stream says whether something was written.
func stream(text string) string {
	if text == "" {
		return ""
	}
	return "…"
}

// What is made of a whole command line.
func TestISCSIStartSettings(t *testing.T) {
	for _, tt := range []struct {
		args, want, stderr string // want are the last settings; empty: there is an error
	}{
		{"", "node.session.initial_login_retry_max=30 node.conn[0].timeo.login_timeout=30", ""},
		{"-u me -w secret-of-mine", "node.conn[0].timeo.login_timeout=30 node.session.auth.username=me node.session.auth.password=***", ""},
		{"-U you -W secret-of-you", "node.conn[0].timeo.login_timeout=30", "-U and -W need -u and -w"},
		{"-w secret -P node.session.cmds_max=64 -P node.session.cmds_max=32", "node.session.auth.password=*** node.session.cmds_max=32 node.session.cmds_max=64", "shorter than the 12 bytes"},
		{"-P nonsense=1", "", "nonsense: this setting is not supported"},
		{"-P node.session.cmds_max=x -P node.session.queue_depth=y", "", "cmds_max"},
		{"-P iface.net_ifacename=eth0", "iface.net_ifacename=eth0", "has no effect"},
	} {
		var stderr strings.Builder
		i := newISCSIStart(nil, &stderr)
		if mistake := eachOption(splitArgs(tt.args), iscsistartOptions, func(o byte, value string) bool { return i.option(o, value) < 0 }); mistake != "" {
			t.Fatal(mistake)
		}
		i.plan, i.conf = &fw.Plan{}, ""
		err := i.settings()
		if err != nil {
			i.say("%v", err)
		}
		if got := settings(i.plan); (err == nil) != (tt.want != "") || !strings.HasSuffix(got, tt.want) || !holds(stderr.String(), tt.stderr) {
			t.Errorf("%s: %q, %v, %q", tt.args, got, err, &stderr)
		}
		if strings.Contains(stderr.String(), "secret-of") {
			t.Errorf("%s: a secret is shown: %q", tt.args, &stderr)
		}
	}
}

func TestISCSIDConf(t *testing.T) {
	dir := t.TempDir()
	const text = "# iscsid's\nnode.startup=manual\n node.session.cmds_max = 64 \nnode.session.timeo.replacement_timeout = 120\n" +
		"node.conn[0].timeo.noop_out_interval = 5\nnode.session.auth.username =\ndiscovery.sendtargets.auth.username = x\nno setting\n=\n"
	for name, more := range map[string]string{"good": "", "bad": "node.session.queue_depth = nonsense\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"good": "30 node.startup=manual node.session.cmds_max=64", "none": "login_timeout=30", "bad": "", "": "",
	} {
		i := newISCSIStart(nil, io.Discard)
		i.conf, i.plan = filepath.Join(dir, name), &fw.Plan{}
		err := i.settings()
		if got := settings(i.plan); (err == nil) != (want != "") || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func settings(p *fw.Plan) (text string) {
	for _, s := range p.Params {
		text += " " + s.String()
	}
	return text
}

func TestISCSIStartErrorNumber(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{&login.StatusError{Class: 2, Detail: 1}, 24},
		{&login.StatusError{Class: 2, Detail: 2}, 24},
		{&login.AuthError{}, 24},
		{&login.StatusError{Class: 2, Detail: 3}, 19},
		{&login.StatusError{Class: 2, Detail: 6}, 19},
		{&login.ConfigError{}, 19},
		{&login.StatusError{Class: 3, Detail: 1}, 8},
		{unix.ECONNREFUSED, 8},
	} {
		if got := errorNumber(&session.OpError{Err: tt.err}); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}

// FuzzGetopt: whatever the words are, each option and each value is of them, and
// no value is in what is said of a mistake.
func FuzzGetopt(f *testing.F) {
	for _, l := range iscsistartLines {
		f.Add(strings.Join(splitArgs(l.args), "\x00"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "\x00")
		n := 0
		mistake := eachOption(args, iscsistartOptions, func(short byte, value string) bool {
			o := shortOption(short, iscsistartOptions)
			if o == nil || o.value == "" && value != "" || !strings.Contains(text, value) {
				t.Errorf("%q: -%c %q", args, short, value)
			}
			n++
			return true
		})
		if n > len(text) {
			t.Errorf("%q: %d options", args, n)
		}
		if strings.Contains(mistake, "'--") && strings.Contains(mistake, "=") {
			t.Errorf("%q: %q shows a value", args, mistake)
		}
	})
}
