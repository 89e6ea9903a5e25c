package fw

import (
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const initramfsFile = "etc/iscsi.initramfs"

// debian is a machine with that file, which only root can read, and a command line.
func debian(file, line string) fstest.MapFS {
	return fstest.MapFS{
		initramfsFile:             {Data: []byte(file), Mode: 0o600},
		"proc/cmdline":            {Data: []byte(line)},
		"etc/initiatorname.iscsi": {Data: []byte("InitiatorName=iqn.1993-08.org.debian:01:etc\n")},
	}
}

// TestInitramfsFile reads the file alone: each variable, and each way a shell
// has to write one.
func TestInitramfsFile(t *testing.T) {
	const place = "/" + initramfsFile
	full := Target{Index: -1, Name: "iqn.2008-01.com.example:storage.foo", Host: "192.168.1.1", Port: 3260, From: place,
		CHAP: &CHAP{"user", "secret-of-user", "back", "secret-of-back", place}}
	bare := full
	bare.CHAP = nil
	with := func(g Target, set func(*Target)) []Target {
		set(&g)
		return []Target{g}
	}
	const name, ip = "ISCSI_TARGET_NAME=iqn.2008-01.com.example:storage.foo\n", "ISCSI_TARGET_IP=192.168.1.1\n"
	for _, tt := range []struct {
		file string
		want []Target
	}{
		{`ISCSI_INITIATOR="iqn.1993-08.org.debian:01:file"
ISCSI_TARGET_NAME=iqn.2008-01.com.example:storage.foo
ISCSI_TARGET_IP=192.168.1.1
ISCSI_TARGET_PORT=3260
ISCSI_USERNAME="user"
ISCSI_PASSWORD="secret-of-user"
ISCSI_IN_USERNAME="back"
ISCSI_IN_PASSWORD="secret-of-back"
ISCSI_TARGET_GROUP=1
`, []Target{full}},
		{name + ip, []Target{bare}},
		{name + ip + "ISCSI_TARGET_PORT=3261", with(bare, func(g *Target) { g.Port = 3261 })},
		{name + ip + "ISCSI_TARGET_PORT=3262 ISCSI_TARGET_PORT=3261; ISCSI_TARGET_GROUP=\n", with(bare, func(g *Target) { g.Port = 3261 })},
		{name + "ISCSI_TARGET_IP=[2001:db8::1]", with(bare, func(g *Target) { g.Host = "2001:db8::1" })},
		{name + "ISCSI_TARGET_IP=storage.example.com", with(bare, func(g *Target) { g.Host = "storage.example.com" })},
		{name + `ISCSI_TARGET_IP="192.168.1.1 192.168.2.1	192.168.3.1"`, []Target{bare,
			with(bare, func(g *Target) { g.Host = "192.168.2.1" })[0], with(bare, func(g *Target) { g.Host = "192.168.3.1" })[0]}},
		// quoting
		{"# a comment\n\n  \texport " + name + "export ISCSI_TARGET_NAME\n export ISCSI_TARGET_IP='192.168.1.1' # and 'more\nOTHER=1 ;MORE=a~b\n", []Target{bare}},
		{name + "ISCSI_TARGET_IP=192.\\\n168.1.1\n" + `ISCSI_USERNAME=u\ser ISCSI_PASSWORD='secret'-of"-user"`,
			with(bare, func(g *Target) { g.CHAP = &CHAP{Username: "user", Password: "secret-of-user", From: place} })},
		{name + ip + `ISCSI_USERNAME='$a' ISCSI_PASSWORD="a\"b\$c\\d\e\` + "\n" + `f'g#h"`,
			with(bare, func(g *Target) { g.CHAP = &CHAP{Username: "$a", Password: `a"b$c\d\ef'g#h`, From: place} })},
		{name + ip + `ISCSI_USERNAME=a#b ISCSI_PASSWORD=a\ b\#\$\` + "`\\~-and-more",
			with(bare, func(g *Target) { g.CHAP = &CHAP{Username: "a#b", Password: "a b#$`~-and-more", From: place} })},
	} {
		p, err := Read(Sources{FS: debian(tt.file, "")})
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		if len(p.NICs) == 1 {
			for i := range tt.want {
				tt.want[i].NIC = 0
			}
		}
		if diff := cmp.Diff(tt.want, p.Targets, options()); diff != "" || p.Warnings != nil {
			t.Errorf("%s: warnings %q (-want +got):\n%s", tt.file, p.Warnings, diff)
		}
		want := Initiator{"iqn.1993-08.org.debian:01:etc", "/etc/initiatorname.iscsi"}
		if strings.Contains(tt.file, "ISCSI_INITIATOR") {
			want = Initiator{"iqn.1993-08.org.debian:01:file", place}
		}
		if p.Initiator != want {
			t.Errorf("%s: got %+v, want %+v", tt.file, p.Initiator, want)
		}
	}
}

// TestShell holds the reader to what a shell makes of the same text.
func TestShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	for _, text := range []string{
		"A=1", "A=1;B=2", " A=1\t B=2 # C=3\nC=4", "export A=1 B='2'\nexport C", "A=", "A=''", `A=""`, "A=a#b", "A='#'", "#A=1\nB=1",
		`A=a\b`, `A=\\`, `A='\'`, `A="\a\\\"\$"`, "A=\"\\`\"", "A=a\\\nb", "A=\"a\\\nb\"", "A='a\\\nb'", "A='a\nb'\nB=\"a\nb\"",
		`A=a"b"'c'd`, "A==b=c", "A=a~b", "A=*", "A=[x]", "A={a,b}", "A=!x", "A=a%b^c", "A=\\\n1", "A=1\nA=2", "A=à",
	} {
		values, errs := shellAssignments(text)
		if errs != nil {
			t.Errorf("%q: %v", text, errs)
			continue
		}
		got := map[string]string{}
		for _, v := range values {
			got[v.name] = v.value
		}
		out, err := exec.Command(sh, "-c", text+"\n"+`printf '%s\0' "$A" "$B" "$C"`).Output()
		if err != nil {
			t.Fatalf("%q: sh: %v", text, err)
		}
		if want := string(out); got["A"]+"\x00"+got["B"]+"\x00"+got["C"]+"\x00" != want {
			t.Errorf("%q: got %q, and sh has %q", text, got, want)
		}
	}
}

// TestInitramfsErrors: each file has the mistakes that are told, each with its
// line, and no secret of the file is in any.
func TestInitramfsErrors(t *testing.T) {
	const rest = "ISCSI_TARGET_NAME=iqn.2008-01.com.example:a\nISCSI_TARGET_IP=192.168.1.1\n"
	for _, tt := range []struct {
		file string
		want []string
	}{
		{rest + "ISCSI_PASSWORD=$(open-sesame)", []string{"line 3: the value is not expanded"}},
		{rest + "ISCSI_PASSWORD=\"`open-sesame`\"", []string{"line 3: the value is not expanded"}},
		{rest + "ISCSI_PASSWORD=open-sesame$X\nISCSI_TARGET_PORT=x\n", []string{"line 3: the value is not expanded", `line 4: "ISCSI_TARGET_PORT=x": the port is not`}},
		{rest + "ISCSI_PASSWORD=~open-sesame", []string{"line 3: the value is not expanded"}},
		{rest + "ISCSI_PASSWORD=open sesame", []string{"line 3: that is no assignment"}},
		{rest + "ISCSI_PASSWORD = open-sesame", []string{"line 3: that is no assignment"}},
		{rest + "ISCSI_PASSWORD=open|sesame\n. /etc/x\n", []string{"line 3: the character | stands in quotes", "line 4: that is no assignment"}},
		{rest + "ISCSI_PASSWORD='open-sesame", []string{"line 3: the ' that ends"}},
		{rest + "ISCSI_PASSWORD=\"open-\nsesame\nISCSI_AUTO=", []string{`line 3: the " that ends`}},
		{rest + "ISCSI_PASSWORD=open-sesame\r\n", []string{"line 3: a line ends as on DOS"}},
		{rest + "ISCSI_PASSWORD=open-sesame\x00\n", []string{"line 3: a NUL byte"}},
		{rest + "'ISCSI_PASSWORD=open-sesame'", []string{"line 3: that is no assignment"}},
		{rest + "ISCSI_PASSWORD=open-sesame", []string{"/etc/iscsi.initramfs: ", "the user name is missing"}},
		{rest + "ISCSI_PASWORD=open-sesame", []string{`line 3: "ISCSI_PASWORD": there is no such variable; the right form is one of ISCSI_AUTO ISCSI_INITIATOR `}},
		{rest + "ISCSI_INITIATOR=me", []string{`line 3: "ISCSI_INITIATOR=me": an iSCSI name starts with`, "right form is ISCSI_INITIATOR=iqn."}},
		{"ISCSI_TARGET_NAME=iqn.2008-01.com.example:a", []string{"/etc/iscsi.initramfs: ", "address is missing"}},
		{"ISCSI_TARGET_IP=192.168.1.1", []string{"/etc/iscsi.initramfs: ", "name is missing"}},
		{"ISCSI_TARGET_NAME=x\nISCSI_TARGET_IP='1.1.1.1 a_b!'\nISCSI_AUTO=maybe", []string{`line 1: "ISCSI_TARGET_NAME=x"`, "line 2: ", "line 3: "}},
		{rest + strings.Repeat("#", 64<<10), []string{"longer than 64 KiB"}},
	} {
		p, err := Read(Sources{FS: debian(tt.file, "")})
		if err == nil {
			t.Errorf("%.200s: no error", tt.file)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.200s: got %v, want %q", tt.file, err, want)
			}
		}
		if text := err.Error() + strings.Join(p.Warnings, ""); strings.Contains(text, "sesame") {
			t.Errorf("%.200s: the secret shows: %s", tt.file, text)
		}
	}
}

// TestInitramfsBelow: the command line wins, value by value, and its target
// hides the file's.
func TestInitramfsBelow(t *testing.T) {
	const file = `ISCSI_INITIATOR=iqn.1993-08.org.debian:01:file ISCSI_TARGET_NAME=iqn.2008-01.com.example:a
		ISCSI_TARGET_IP="192.168.1.1 192.168.1.2" ISCSI_USERNAME=user ISCSI_PASSWORD=secret-of-user`
	type got struct{ Initiator, Targets, CHAP, Warnings string }
	for line, want := range map[string]got{
		"": {"file from /etc/iscsi.initramfs", "a@192.168.1.1:3260 a@192.168.1.2:3260", "user secret-of-user", ""},
		"iscsi_initiator=iqn.1993-08.org.debian:01:cmd":                           {"cmd from rd.iscsi.initiator=", "a@192.168.1.1:3260 a@192.168.1.2:3260", "user secret-of-user", ""},
		"iscsi_username=other":                                                    {"file from /etc/iscsi.initramfs", "a@192.168.1.1:3260 a@192.168.1.2:3260", "other secret-of-user", ""},
		"iscsi_target_name=iqn.2008-01.com.example:b iscsi_target_ip=192.168.1.3": {"file from /etc/iscsi.initramfs", "b@192.168.1.3:3260", "user secret-of-user", ""},
		"netroot=iscsi:192.168.1.3::::iqn.2008-01.com.example:b":                  {"file from /etc/iscsi.initramfs", "b@192.168.1.3:3260", "user secret-of-user", ""},
		"root=iscsi:v:the-secret-of-v@192.168.1.3::::iqn.2008-01.com.example:b":   {"file from /etc/iscsi.initramfs", "b@192.168.1.3:3260", "v the-secret-of-v", secretShows},
		"netroot=iscsi": {"file from /etc/iscsi.initramfs", "a@192.168.1.1:3260 a@192.168.1.2:3260", "user secret-of-user", ""},
	} {
		p, err := Read(Sources{FS: debian(file, line)})
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var targets []string
		for _, g := range p.Targets {
			targets = append(targets, strings.TrimPrefix(g.Name, "iqn.2008-01.com.example:")+"@"+g.Portal())
		}
		h := p.Targets[0].CHAP
		if diff := cmp.Diff(want, got{
			strings.TrimPrefix(p.Initiator.Name, "iqn.1993-08.org.debian:01:") + " from " + p.Initiator.From,
			strings.Join(targets, " "), h.Username + " " + string(h.Password), strings.Join(p.Warnings, " "),
		}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}

	// A target in two halves is of two sources, which are never mixed.
	half := debian("ISCSI_TARGET_NAME=iqn.2008-01.com.example:a", "iscsi_target_ip=192.168.1.3")
	if _, err := Read(Sources{FS: half}); err == nil || !strings.Contains(err.Error(), "name is missing") {
		t.Errorf("two halves: got %v", err)
	}
	// The firmware's target comes behind the file's with ISCSI_AUTO, and alone without a target.
	for file, want := range map[string]int{file + "\nISCSI_AUTO=true\n": 3, "ISCSI_AUTO=true": 1, file: 2} {
		m := tree(t, "", table())
		m[initramfsFile] = &fstest.MapFile{Data: []byte(file), Mode: 0o600}
		if p, err := Read(Sources{FS: m}); err != nil || len(p.Targets) != want {
			t.Errorf("%s: got %+v, %v, want %d targets", file, p.Targets, err, want)
		}
	}
	// On an installed system.
	m := debian("", "")
	m["etc/iscsi/iscsi.initramfs"] = &fstest.MapFile{Data: []byte(file), Mode: 0o600}
	delete(m, initramfsFile)
	if p, err := Read(Sources{FS: m}); err != nil || len(p.Targets) != 2 || p.Targets[0].From != "/etc/iscsi/iscsi.initramfs" {
		t.Errorf("etc/iscsi/iscsi.initramfs: got %+v, %v", p.Targets, err)
	}
	// Everybody may read it.
	for mode, want := range map[fs.FileMode]int{0o644: 1, 0o640: 0, 0o600: 0} {
		m := debian(file, "")
		m[initramfsFile].Mode = mode
		if p, err := Read(Sources{FS: m}); err != nil || len(p.Warnings) != want || want == 1 && !strings.Contains(p.Warnings[0], "chmod 600 /etc/iscsi.initramfs") {
			t.Errorf("mode %o: got %q, %v", mode, p.Warnings, err)
		}
	}
}

// FuzzInitramfsFile: no file makes it fail, and none of its secrets shows.
func FuzzInitramfsFile(f *testing.F) {
	f.Add("ISCSI_TARGET_NAME=iqn.2008-01.com.example:a\nexport ISCSI_TARGET_IP='192.168.1.1 192.168.1.2'\nISCSI_AUTO=true # x")
	f.Add("ISCSI_USERNAME=\"a\\\"b\\\\\" ISCSI_IN_PASSWORD=a\\ b;ISCSI_TARGET_GROUP=\\\n1")
	f.Add("ISCSI_PASSWORD='\nISCSI_PASSWORD=\"$x\nA=`b`\r\n|\x00~")
	f.Fuzz(func(t *testing.T, text string) {
		const secret = "Ope9-Sesam3-Xyz"
		if strings.Contains(text, secret) {
			return
		}
		p, err := Read(Sources{FS: debian("ISCSI_PASSWORD="+secret+"\nISCSI_IN_PASSWORD='"+secret+"'\n"+text, "")})
		out := strings.Join(p.Warnings, "\n")
		if err != nil {
			out += err.Error()
		}
		if strings.Contains(out, secret) {
			t.Errorf("%q: the secret shows: %s", text, out)
		}
		if len(out) > 4096+1024*len(text) {
			t.Errorf("%q: %d bytes of messages", text, len(out))
		}
		for _, g := range p.Targets {
			if _, nameErr := checkName(g.Name); nameErr != nil || checkHost(g.Host) != nil || g.Port == 0 {
				t.Errorf("%q: an unusable target: %+v", text, g)
			}
		}
	})
}
