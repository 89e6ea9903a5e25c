package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDispatch(t *testing.T) {
	const secret = "correct-horse"
	credentials := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(credentials, []byte("# CHAP\nnode.session.auth.username = me\nnode.session.auth.passwort = "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(filepath.Dir(credentials), "binary")
	if err := os.WriteFile(binary, []byte("node.session.auth.password = \x00"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each of these ends before anything is asked of the kernel.
	login := func(more ...string) []string {
		return append([]string{"rootlun", "login", "--target", "iqn.2026-01.net.example:a", "--initiator", "iqn.2026-01.net.example:b", "--portal", "192.0.2.1"}, more...)
	}
	for _, tt := range []struct {
		argv   []string
		code   int
		stdout string // what it holds; "": it is empty
		stderr string
	}{
		{[]string{"rootlun"}, 2, "", "usage:"},
		{[]string{"rootlun", "bogus"}, 2, "", `there is no command "bogus"`},
		{[]string{"rootlun", "--help"}, 0, "rootlun login", ""},
		{[]string{"rootlun", "version"}, 0, "rootlun " + version + "\n", ""},
		{[]string{"rootlun", "init"}, 2, "", "only PID 1"},
		{[]string{"/init", "version"}, 2, "", "only PID 1"},                      // the kernel's arguments are not ours
		{[]string{"/shutdown", "reboot"}, 2, "", `there is no command "reboot"`}, // it is not PID 1
		{[]string{"rootlun", "status", "--help"}, 0, "--json", ""},
		{[]string{"rootlun", "status", "x"}, 2, "", "argument 1"},
		{[]string{"rootlun", "records", "--help"}, 0, "usage: rootlun records", ""},
		{[]string{"rootlun", "login", "--help"}, 0, "--credentials FILE  ", ""},
		{[]string{"rootlun", "login"}, 2, "", "--target is missing\nrootlun login --help tells more\n"},
		{[]string{"rootlun", "login", "--bogus"}, 2, "", "bogus"},
		{login("--lun", "x"), 2, "", "--lun: want a number"},
		{login("extra"), 2, "", "argument 7 belongs to no option"},
		{login(secret), 2, "", "argument 7"},
		{login("--lun", secret), 2, "", "--lun: want a number"},
		{login("--password=" + secret), 2, "", "there is no option --password\n"},
		{login("--portal", "192.0.2"), 2, "", `the portal "192.0.2" is not ADDRESS`},
		{login("--param", "node.session.queue_depth"), 2, "", "--param: want NAME=VALUE"},
		{login("--param", "node.session.queue_depth=0"), 2, "", "want a number from 1"},
		{login("--param", "node.session.auth.passwort="+secret), 2, "", "node.session.auth.passwort: this setting is not supported"},
		{login("--credentials", credentials), 2, "", `credentials, line 3: "node.session.auth.passwort": this setting is not supported`},
		{login("--credentials", credentials+"0"), 2, "", "no such file"},
		{login("--credentials", binary), 2, "", "binary, line 1: that is no text"},
	} {
		var stdout, stderr strings.Builder
		code := dispatch(tt.argv, 2, &stdout, &stderr)
		if code != tt.code || !holds(stdout.String(), tt.stdout) || !holds(stderr.String(), tt.stderr) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %d, %q, %q", tt.argv, code, &stdout, &stderr, tt.code, tt.stdout, tt.stderr)
		}
		if strings.Contains(stdout.String()+stderr.String(), secret) {
			t.Errorf("%q: the secret is shown: %q", tt.argv, &stderr)
		}
	}
}

func holds(got, want string) bool { return strings.Contains(got, want) && (got == "") == (want == "") }

func TestParsePortal(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:3260", "192.0.2.1:860": "192.0.2.1:860",
		"2001:db8::1": "[2001:db8::1]:3260", "[2001:db8::1]": "[2001:db8::1]:3260", "[fe80::1%eth0]:860": "[fe80::1%eth0]:860",
		"": "", "192.0.2.1:0": "", "[192.0.2.1": "", "[]": "", "host.example:3260": "",
	} {
		got, err := parsePortal(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v; want %q", in, got, err, want)
		}
	}
}
