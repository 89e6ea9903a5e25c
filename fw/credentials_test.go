package fw

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
)

func TestReadCredentials(t *testing.T) {
	const place = "/etc/rootlun/credentials"
	chap := func(username, password, in, passwordIn string) CHAP {
		return CHAP{username, ibft.Secret(password), in, ibft.Secret(passwordIn), place}
	}
	for _, tt := range []struct {
		name, text string
		want       Credentials
	}{
		{"nothing", "", Credentials{}},
		{"comments", "# node.session.auth.username = u\n\n  # x\n", Credentials{}},
		{"open-iscsi's lines", "node.session.auth.authmethod = CHAP\nnode.session.auth.username = u\nnode.session.auth.password = secret-of-u\n" +
			"node.session.auth.username_in = v\nnode.session.auth.password_in = secret-of-v\n", Credentials{CHAP: chap("u", "secret-of-u", "v", "secret-of-v")}},
		{"no blanks, CRLF, a byte order mark, no end", "\ufeffInitiatorName=" + host + "\r\nnode.session.auth.password=a=b # c",
			Credentials{Initiator: host, CHAP: chap("", "a=b # c", "", "")}},
		{"the last one counts", "node.session.auth.username = u\nnode.session.auth.username = v", Credentials{CHAP: chap("v", "", "", "")}},
		{"discovery", "discovery.sendtargets.auth.username = u\ndiscovery.sendtargets.auth.password = secret-of-u", Credentials{Discovery: chap("u", "secret-of-u", "", "")}},
		{"sections", "node.session.auth.username = u\n[iqn.2009-06.com.example:a]\nnode.session.auth.username = a\n[ eui.02004567A425678D ]\nnode.session.auth.password = secret-of-b\n" +
			"[iqn.2009-06.com.example:a]\nnode.session.auth.password = secret-of-a", Credentials{CHAP: chap("u", "", "", ""), Targets: map[string]CHAP{
			"iqn.2009-06.com.example:a": chap("a", "secret-of-a", "", ""), "eui.02004567A425678D": chap("", "secret-of-b", "", "")}}},
	} {
		tt.want.From = place
		got, warnings, err := ReadCredentials(fstest.MapFS{place[1:]: {Data: []byte(tt.text), Mode: 0o600}}, place[1:], place)
		if diff := cmp.Diff(tt.want, *got, options()); diff != "" || err != nil || warnings != nil {
			t.Errorf("%s: %v, %q (-want +got):\n%s", tt.name, err, warnings, diff)
		}
	}
	_, warnings, err := ReadCredentials(fstest.MapFS{place[1:]: {Mode: 0o644}}, place[1:], place)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "chmod 600 "+place) {
		t.Errorf("a file that everybody can read: %q, %v", warnings, err)
	}
}

func TestCredentialErrors(t *testing.T) {
	for _, tt := range []struct{ text, line, word, why string }{
		{"open-sesame", "line 1", "", "no setting"},
		{"\n\nopen-sesame=", "line 3", "", "missing"},
		{"open-sesame=open-sesame", "line 1", "", "not supported"},
		{"node.session.auth.password open-sesame", "line 1", "", "no setting"},
		{"node.session.auth.password-open-sesame = x", "line 1", "", "not supported"},
		{"node.session.auth.passwort = open-sesame", "line 1", `"node.session.auth.passwort"`, "not supported"},
		{"node.session.auth.password =", "line 1", `"node.session.auth.password"`, "missing"},
		{"discovery.sendtargets.auth.pass = open-sesame", "line 1", `"discovery.sendtargets.auth.pass"`, "not supported"},
		{"node.session.timeo.replacement_timeout = 5", "line 1", `"node.session.timeo.replacement_timeout"`, "not supported"},
		{"node.session.auth.password = \x00open-sesame", "line 1", "", "no text"},
		{"node.session.auth.password = \xff\xfeopen-sesame", "line 1", "", "no text"},
		{"node.session.auth.password = \x1b[2Jopen-sesame", "line 1", "", "no text"},
		{"InitiatorName = me", "line 1", `"InitiatorName"`, "iqn., eui. or naa."},
		{"[iqn.2009-06.com.example:a", "line 1", "", "']'"},
		{"[open-sesame]", "line 1", "", "iqn., eui. or naa."},
		{"[iqn.2009-06.com.example:a]\nInitiatorName = " + host, "line 2", `"InitiatorName"`, "below the name of one"},
		{"node.session.auth.password = " + strings.Repeat("open-sesame", 6000), "", "", "larger than 65536 bytes"},
	} {
		_, _, err := ReadCredentials(fstest.MapFS{"c": {Data: []byte(tt.text), Mode: 0o600}}, "c", "/c")
		var e *Error
		if !errors.As(err, &e) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v is not one *Error", tt.text, err)
			continue
		}
		text := err.Error()
		if !strings.HasPrefix(e.Place, "/c") || !strings.Contains(e.Place, tt.line) || !strings.Contains(text, tt.word) || !strings.Contains(text, tt.why) || strings.Contains(text, "sesame") {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	_, _, err := ReadCredentials(fstest.MapFS{"c": {Data: []byte("a\nb\nnode.session.auth.username = u\nc")}}, "c", "/c")
	if n := strings.Count(fmt.Sprint(err), "line "); n != 3 {
		t.Errorf("%d errors, want all 3: %v", n, err)
	}
	if _, _, err = ReadCredentials(fstest.MapFS{}, "c", "/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestCredentialPlaces: the first file that there is counts, and the one that
// the command line names before all.
func TestCredentialPlaces(t *testing.T) {
	places := []string{
		"run/credentials/rootlun.service/rootlun.credentials",
		"run/credentials/@system/rootlun.credentials",
		"run/credentials/@initrd/rootlun.credentials",
		".extra/credentials/rootlun.credentials.cred",
		".extra/global_credentials/rootlun.credentials.cred",
		"etc/rootlun/credentials",
	}
	named := []string{
		"run/credentials/rootlun.service/it", "run/credentials/@system/it", "run/credentials/@initrd/it",
		".extra/credentials/it.cred", ".extra/global_credentials/it.cred", "etc/rootlun/it",
	}
	for _, tt := range []struct {
		word   string
		places []string
	}{
		{"", places},
		{"rd.rootlun.credentials=it ", named},
		{"rd.rootlun.credentials=/mnt/../mnt/file ", []string{"mnt/file"}},
	} {
		for i, want := range tt.places {
			m := tree(t, disk+tt.word, nil)
			for n, name := range append(append(append([]string{}, places...), named...), "mnt/file") {
				if tt.word == "" && n < i || tt.word != "" && n < len(places) {
					continue // with a word these are there, and not meant
				}
				m[name] = &fstest.MapFile{Data: []byte("node.session.auth.username = u\nnode.session.auth.password = secret-of-u"), Mode: 0o600}
			}
			for _, better := range tt.places[:i] {
				delete(m, better)
			}
			p, err := Read(Sources{FS: m, Credentials: "/run/credentials/rootlun.service"})
			if err != nil || p.Targets[0].CHAP == nil || p.Targets[0].CHAP.From != "/"+want {
				t.Errorf("%s%s: %+v, %v", tt.word, want, p.Targets, err)
			}
		}
	}
	for _, tt := range []struct{ line, why string }{
		{"rd.rootlun.credentials=/none", "not /none"},
		{"rd.rootlun.credentials=none", "not /run/credentials/@system/none"},
		{"rd.rootlun.credentials=a/b", "neither an absolute path"},
		{"rd.rootlun.credentials=", "neither an absolute path"},
	} {
		if _, err := read(disk + tt.line); err == nil || !strings.Contains(err.Error(), tt.why) || !strings.Contains(err.Error(), "/PATH/TO/FILE") {
			t.Errorf("%s: %v", tt.line, err)
		}
	}
	m := tree(t, disk, nil)
	m["etc/rootlun/credentials"] = &fstest.MapFile{Data: []byte("node.session.auth.passwort = open-sesame")}
	if _, err := Read(Sources{FS: m}); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a mistake in the file: %v", err)
	}
}

// TestCHAPPrecedence: each value comes from the first source that has it.
func TestCHAPPrecedence(t *testing.T) {
	const (
		name    = "iqn.2009-06.com.example:disk" // that of table()
		file    = "/etc/rootlun/credentials"
		netroot = "netroot=iscsi:192.168.50.1::::" + name + " "
		own     = "netroot=iscsi:n:secret-of-n@192.168.50.1::::" + name + " "
		mutual  = "netroot=iscsi:n:secret-of-n:o:secret-of-o@192.168.50.1::::" + name + " "
		words   = "rd.iscsi.username=c rd.iscsi.password=secret-of-c "
		wordsIn = "rd.iscsi.in.username=d rd.iscsi.in.password=secret-of-d "
		user    = "node.session.auth.username = f\n"
		pass    = "node.session.auth.password = secret-of-f\n"
		userIn  = "node.session.auth.username_in = g\n"
		passIn  = "node.session.auth.password_in = secret-of-g\n"
		section = "[" + name + "]\nnode.session.auth.username = s\nnode.session.auth.password = secret-of-s\n"
		other   = "[iqn.2009-06.com.example:other]\nnode.session.auth.username = x\nnode.session.auth.password = secret-of-x\n"
		root    = "iscsi:r:secret-of-r@192.168.50.1::::" + name
	)
	for _, tt := range []struct {
		line, file, rootPath string
		firmware             bool // which has user and back
		want                 *CHAP
		why                  string // of the error
	}{
		// One source.
		{netroot, "", "", false, nil, ""},
		{own, "", "", false, &CHAP{"n", "secret-of-n", "", "", "netroot="}, ""},
		{netroot + words, "", "", false, &CHAP{"c", "secret-of-c", "", "", "rd.iscsi.password="}, ""},
		{netroot, user + pass, "", false, &CHAP{"f", "secret-of-f", "", "", file}, ""},
		{netroot, user + pass + userIn + passIn, "", false, &CHAP{"f", "secret-of-f", "g", "secret-of-g", file}, ""},
		{netroot, section, "", false, &CHAP{"s", "secret-of-s", "", "", file}, ""},
		{netroot, other, "", false, nil, ""},
		{"", "", "", true, &CHAP{"user", "secret-of-user", "back", "secret-of-back", "iBFT (ACPI)"}, ""},
		{"root=dhcp", "", root, false, &CHAP{"r", "secret-of-r", "", "", server}, ""},

		// Each over the next.
		{own + words, "", "", false, &CHAP{"n", "secret-of-n", "", "", "netroot="}, ""},
		{netroot + words, user + pass, "", false, &CHAP{"c", "secret-of-c", "", "", "rd.iscsi.password="}, ""},
		{netroot, section + other, "", false, &CHAP{"s", "secret-of-s", "", "", file}, ""},
		{netroot, user + pass + section, "", false, &CHAP{"s", "secret-of-s", "", "", file}, ""},
		{netroot + words, user + pass + section, "", false, &CHAP{"c", "secret-of-c", "", "", "rd.iscsi.password="}, ""},
		{"", user + pass, "", true, &CHAP{"f", "secret-of-f", "back", "secret-of-back", file}, ""},
		{"", section, "", true, &CHAP{"s", "secret-of-s", "back", "secret-of-back", file}, ""},
		{"rd.iscsi.firmware " + words, "", "", true, &CHAP{"c", "secret-of-c", "back", "secret-of-back", "rd.iscsi.password="}, ""},
		{"root=dhcp", user + pass, root, false, &CHAP{"f", "secret-of-f", "", "", file}, ""},
		{"root=dhcp " + words, "", root, false, &CHAP{"c", "secret-of-c", "", "", "rd.iscsi.password="}, ""},
		{"root=dhcp", section, root, false, &CHAP{"s", "secret-of-s", "", "", file}, ""},

		// Value by value.
		{netroot + "rd.iscsi.username=c", pass, "", false, &CHAP{"c", "secret-of-f", "", "", file}, ""},
		{netroot + "rd.iscsi.username=c", user + pass, "", false, &CHAP{"c", "secret-of-f", "", "", file}, ""},
		{netroot + words, userIn + passIn, "", false, &CHAP{"c", "secret-of-c", "g", "secret-of-g", "rd.iscsi.password="}, ""},
		{netroot + words + "rd.iscsi.in.username=d", passIn, "", false, &CHAP{"c", "secret-of-c", "d", "secret-of-g", "rd.iscsi.password="}, ""},
		{own, userIn + passIn, "", false, &CHAP{"n", "secret-of-n", "g", "secret-of-g", "netroot="}, ""},
		{mutual + words + wordsIn, user + pass + userIn + passIn, "", false, &CHAP{"n", "secret-of-n", "o", "secret-of-o", "netroot="}, ""},
		{"", pass, "", true, &CHAP{"user", "secret-of-f", "back", "secret-of-back", file}, ""},
		{"root=dhcp", pass, root, false, &CHAP{"r", "secret-of-f", "", "", file}, ""},
		{netroot, user + pass + userIn + passIn + section, "", false, &CHAP{"s", "secret-of-s", "g", "secret-of-g", file}, ""},

		// The firmware's and DHCP's are of their own targets alone.
		{"netroot=iscsi:192.168.50.9::::iqn.2009-06.com.example:mine", "", "", true, nil, ""},

		// What is not whole.
		{netroot, pass, "", false, nil, "user name is missing"},
		{netroot, user, "", false, nil, "password is missing"},
		{netroot, userIn + passIn, "", false, nil, "does so too"},
		{netroot + words, userIn, "", false, nil, "password is missing by which"},
		{own, "node.session.auth.password_in = secret-of-n", "", false, nil, "both directions"},
		{"", "node.session.auth.password = secret-of-back", "", true, nil, "both directions"},
		{"root=dhcp", "node.session.auth.username_in = g", root, false, nil, "password is missing by which"},
	} {
		at := fmt.Sprintf("%s | %s | %s | %v", tt.line, tt.file, tt.rootPath, tt.firmware)
		m := tree(t, tt.line+" rd.iscsi.initiator="+host, nil)
		if tt.firmware {
			m = tree(t, tt.line, table())
		}
		if tt.file != "" {
			m[file[1:]] = &fstest.MapFile{Data: []byte(tt.file), Mode: 0o600}
		}
		p, err := Read(Sources{FS: m})
		if tt.rootPath != "" && err == nil {
			err = p.Lease(0, Lease{RootPath: tt.rootPath, From: server})
		}
		if tt.why != "" {
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), "secret-of") {
				t.Errorf("%s: error %v, want %q", at, err, tt.why)
			}
			if len(p.Targets) > 0 {
				t.Errorf("%s: a target without what it wants: %+v", at, p.Targets)
			}
			continue
		}
		if err != nil || len(p.Targets) != 1 {
			t.Errorf("%s: %+v, %v", at, p.Targets, err)
			continue
		}
		if diff := cmp.Diff(tt.want, p.Targets[0].CHAP); diff != "" {
			t.Errorf("%s (-want +got):\n%s", at, diff)
		}
		shows := strings.Contains(fmt.Sprint(p.Warnings), "/proc/cmdline")
		if want := strings.Contains(tt.line, "secret"); shows != want {
			t.Errorf("%s: a warning of a secret on the command line: %v", at, shows)
		}
	}
}

// TestCredentialInitiator: the file's name goes before the firmware's, and
// after the command line's.
func TestCredentialInitiator(t *testing.T) {
	const mine, file = "iqn.2009-06.com.example:mine", "/etc/rootlun/credentials"
	for line, want := range map[string]Initiator{
		"": {mine, file}, "rd.iscsi.initiator=iqn.2009-06.com.example:word": {"iqn.2009-06.com.example:word", "rd.iscsi.initiator="},
	} {
		m := tree(t, line, table())
		m[file[1:]] = &fstest.MapFile{Data: []byte("InitiatorName = " + mine), Mode: 0o600}
		m["etc/iscsi/initiatorname.iscsi"] = &fstest.MapFile{Data: []byte("InitiatorName=iqn.2009-06.com.example:etc")}
		if p, err := Read(Sources{FS: m}); err != nil || p.Initiator != want {
			t.Errorf("%q: %+v, %v", line, p.Initiator, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add("node.session.auth.username = u\n[iqn.2009-06.com.example:a]\n", "\nnode.session.auth.password_in=x")
	f.Add("InitiatorName="+host+"\ndiscovery.sendtargets.auth.password = x\n", " # \r\n[eui.02004567A425678D]")
	f.Add("\ufeff[", "]\x00\xff")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Open-Sesame" // has letters that no name of a setting has
		text := before + "\nnode.session.auth.password = " + secret + after
		c, warnings, err := ReadCredentials(fstest.MapFS{"c": {Data: []byte(text)}}, "c", "/c")
		if said := fmt.Sprint(warnings, err); strings.Contains(said, secret) && !strings.Contains(before+after, secret) {
			t.Errorf("%q: a secret shows: %s", text, said)
		}
		if strings.Contains(fmt.Sprintf("%+v %v", c, c), secret) && !strings.Contains(before+after, secret) {
			t.Errorf("%q: a secret is printed", text)
		}
		for name := range c.Targets {
			if _, bad := checkName(name); bad != nil && err == nil {
				t.Errorf("%q: a section of %q", text, name)
			}
		}
	})
}

// Secrets of any length are taken; a short one is warned of, once, and not shown.
func TestWeakSecrets(t *testing.T) {
	const file = "/etc/rootlun/credentials"
	short := func(from, whose string) []string {
		return []string{from + ": the CHAP secret of " + whose + " is shorter than the 12 bytes that RFC 7143 (9.2.1) asks for"}
	}
	for _, tt := range []struct {
		own, in string
		want    []string
	}{
		{"twelve-bytes", "", nil},
		{"eleven-byte", "", short(file, "u")},
		{"a", "", short(file, "u")},
		{"twelve-bytes", "thirteen-byte", nil},
		{"twelve-bytes", "eleven-byte", short(file, "v")},
		{"x", "y", short(file, "u")},
	} {
		text := "node.session.auth.username = u\nnode.session.auth.password = " + tt.own + "\n"
		if tt.in != "" {
			text += "node.session.auth.username_in = v\nnode.session.auth.password_in = " + tt.in + "\n"
		}
		m := tree(t, disk+"netroot=iscsi:192.168.50.2::::iqn.2009-06.com.example:disk", nil) // two targets, one secret
		m["etc/rootlun/credentials"] = &fstest.MapFile{Data: []byte(text), Mode: 0o600}
		p, err := Read(Sources{FS: m})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, p.Warnings); diff != "" || len(p.Targets) != 2 || string(p.Targets[0].CHAP.Password) != tt.own {
			t.Errorf("%q and %q: %d targets (-want +got):\n%s", tt.own, tt.in, len(p.Targets), diff)
		}
	}
}

func TestAuthErrors(t *testing.T) {
	for _, word := range []string{"rd.rootlun.auth", "rd.rootlun.auth=", "rd.rootlun.auth=none", "rd.rootlun.auth=optionl"} {
		if p, err := read(disk + word); err == nil || !strings.Contains(err.Error(), "neither optional nor required") || p.AuthOptional {
			t.Errorf("%s: %v", word, err)
		}
	}
}
