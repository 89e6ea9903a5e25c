package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/ibft"
)

var update = flag.Bool("update", false, "write the output of show and fw below testdata")

// call runs a verb as main does.
func call(args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	code = dispatch(append([]string{"rootlun"}, args...), 2, &out, &err)
	return code, out.String(), err.String()
}

// TestShowRecorded shows the tables that real firmware has left.
func TestShowRecorded(t *testing.T) {
	tables, err := filepath.Glob("../../ibft/testdata/*.ibft")
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, table := range tables {
		name := strings.TrimSuffix(filepath.Base(table), ".ibft")
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, args := range [][]string{
				{"show", "--ibft", table}, {"show", "--json", "--ibft", table}, {"fw", "--iscsistart", "--ibft", table},
			} {
				code, stdout, stderr := call(args...)
				fmt.Fprintf(&got, "$ rootlun %s\n%s%sexit code %d\n\n", strings.Join(args, " "), stdout, stderr, code)
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// plan is what scripts rely on, and no more.
type plan struct {
	Initiator struct{ Name string }
	NICs      []struct {
		Index                                   int
		MAC, Origin, Address, Gateway, Hostname string
		DNS                                     []string
		DHCPServer                              string `json:"dhcp_server"`
		PCI                                     string
		VLAN                                    int
		Valid, Boot                             bool
	}
	Targets []struct {
		Index, LUN, NIC int
		Name, Portal    string
		Valid, Boot     bool
		Auth            struct {
			Type, Username string
			UsernameIn     string `json:"username_in"`
			Password       string
			PasswordIn     string `json:"password_in"`
		}
	}
	Warnings, Errors []string
}

// decode reads the JSON of show, and sees to it that every member is there.
func decode(t *testing.T, text string) (p plan) {
	t.Helper()
	if !json.Valid([]byte(text)) || strings.Contains(text, ": null") {
		t.Fatalf("not the JSON that is promised:\n%s", text)
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal([]byte(text), &members)
	in := func(what string, raw json.RawMessage, names string) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(names) {
			if _, ok := object[name]; !ok {
				t.Errorf("%s has no %q", what, name)
			}
		}
	}
	in("the whole", []byte(text), "initiator nics targets warnings errors")
	in("initiator", members["initiator"], "name")
	var list []json.RawMessage
	_ = json.Unmarshal(members["nics"], &list)
	for _, n := range list {
		in("a NIC", n, "index mac vlan origin address gateway dns dhcp_server hostname pci valid boot")
	}
	_ = json.Unmarshal(members["targets"], &list)
	for _, g := range list {
		in("a target", g, "index name portal lun nic valid boot auth")
		var target map[string]json.RawMessage
		_ = json.Unmarshal(g, &target)
		in("auth", target["auth"], "type username username_in")
	}
	return p
}

// TestShowOrder holds the first members to the order in which they are promised.
func TestShowOrder(t *testing.T) {
	_, text, _ := call("show", "--json", "--cmdline", "netroot=iscsi:192.0.2.1::::iqn.2026-01.net.example:a ip=dhcp", "--root", t.TempDir())
	at := 0
	for _, member := range []string{
		"initiator", "name", "nics", "index", "mac", "vlan", "origin", "address", "gateway", "dns", "dhcp_server", "hostname", "pci", "valid", "boot",
		"targets", "index", "name", "portal", "lun", "nic", "valid", "boot", "auth", "type", "username", "username_in", "warnings", "errors",
	} {
		i := strings.Index(text[at:], `"`+member+`": `)
		if i < 0 {
			t.Fatalf("no %q after byte %d of\n%s", member, at, text)
		}
		at += i
	}
}

const iqnA = "iqn.2026-01.net.example:a"

func TestShowInputs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	table := ibft.Table{
		Initiator: &ibft.Initiator{Valid: true, Boot: true, Name: "iqn.2026-01.net.example:firmware"},
		NICs:      []ibft.NIC{{Index: 0, Valid: true, Boot: true, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Origin: ibft.OriginDHCP}},
	}
	raw, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	noTarget := write("no-target.ibft", string(raw))
	line := write("line", "BOOT_IMAGE=/vmlinuz netroot=iscsi:192.0.2.1::::"+iqnA+" ip=dhcp\n")
	write("tree/proc/cmdline", "netroot=iscsi:[2001:db8::1]::3261:1f:"+iqnA+" ip=eth0:dhcp\n")
	write("tree/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2026-01.net.example:tree\n")
	tree := filepath.Join(dir, "tree")
	real := "../../ibft/testdata/ipxe-static.ibft"
	initiator := " rd.iscsi.initiator=iqn.2026-01.net.example:me"

	for name, tt := range map[string]struct {
		args   []string
		code   int
		portal string // of the only target
		errors string // what one of them holds
		check  func(p plan) bool
	}{
		"nothing":                     {args: []string{"--root", t.TempDir()}, code: 21, errors: "nothing asks for an iSCSI disk"},
		"another machine's nothing":   {args: []string{"--ibft", noTarget}, code: 21},
		"another command line's none": {args: []string{"--cmdline", "quiet", "--root", t.TempDir()}, code: 21},
		"a command line from a file": {args: []string{"--cmdline", "@" + line, "--root", tree}, portal: "192.0.2.1:3260",
			check: func(p plan) bool { return p.Initiator.Name == "iqn.2026-01.net.example:tree" }},
		"a tree": {args: []string{"--root", tree}, portal: "[2001:db8::1]:3261",
			check: func(p plan) bool {
				return p.Targets[0].LUN == 31 && p.Targets[0].NIC == 0 && p.NICs[0].Origin == "dhcp"
			}},
		"a table in a tree": {args: []string{"--root", tree, "--ibft", real}, portal: "[2001:db8::1]:3261"},
		"a table alone":     {args: []string{"--ibft", real}, check: func(p plan) bool { return len(p.Targets) == 1 && p.NICs[0].Address == "10.0.2.77/24" }},
		"a table and a command line": {args: []string{"--ibft", real, "--cmdline", "netroot=iscsi:192.0.2.1::::" + iqnA}, portal: "192.0.2.1:3260",
			check: func(p plan) bool { return p.Initiator.Name == "iqn.2025-01.test.rootlun:initiator" }},
		"one -1 among the table's": {args: []string{"--ibft", real, "--cmdline", "rd.iscsi.firmware=1 netroot=iscsi:192.0.2.1::::" + iqnA},
			check: func(p plan) bool {
				return len(p.Targets) == 2 && p.Targets[0].Index == 1 && p.Targets[1].Index == 0 && p.Targets[0].Valid && p.Targets[0].Boot
			}},
		"a mistake beside a target": {args: []string{"--root", tree, "--cmdline", "rd.iscsi.initator=x netroot=iscsi:192.0.2.1::::" + iqnA}, code: 1,
			portal: "192.0.2.1:3260", errors: "rd.iscsi.initator"},
		"a setting that is none": {args: []string{"--root", tree, "--cmdline", "rd.iscsi.param=foo=1 netroot=iscsi:192.0.2.1::::" + iqnA}, code: 1, portal: "192.0.2.1:3260", errors: "foo: this setting is not supported"},
		"a setting of no effect": {args: []string{"--root", tree, "--cmdline", "rd.iscsi.param=node.foo=1 netroot=iscsi:192.0.2.1::::" + iqnA}, portal: "192.0.2.1:3260",
			check: func(p plan) bool {
				return slices.Contains(p.Warnings, "rd.iscsi.param: node.foo: this setting is not supported, and has no effect")
			}},
		"DHCP is to name it":      {args: []string{"--root", tree, "--cmdline", "root=dhcp ip=dhcp"}, check: func(p plan) bool { return len(p.Targets) == 0 }},
		"what DHCP says":          {args: []string{"--root", tree, "--cmdline", "root=dhcp ip=dhcp", "--dhcp", "root-path=iscsi:192.0.2.9:::1:" + iqnA, "--dhcp", "host-name=n7"}, portal: "192.0.2.9:3260", check: func(p plan) bool { return p.NICs[0].Hostname == "n7" && p.Targets[0].NIC == p.NICs[0].Index }},
		"what DHCP says is wrong": {args: []string{"--root", tree, "--cmdline", "root=dhcp ip=dhcp", "--dhcp", "root-path=iscsi:x"}, code: 1, errors: "DHCP"},
		"a target without a name": {args: []string{"--root", tree, "--cmdline", "netroot=iscsi:192.0.2.1::::"},
			check: func(p plan) bool { return p.Targets[0].Name == "" && p.Targets[0].Portal == "192.0.2.1:3260" }},
		"no such table":            {args: []string{"--ibft", "/nonexistent"}, code: 1, errors: "--ibft: open /nonexistent: no such file or directory"},
		"no such line":             {args: []string{"--cmdline", "@/nonexistent"}, code: 1, errors: "--cmdline: open /nonexistent"},
		"no such tree":             {args: []string{"--root", "/nonexistent"}, code: 1, errors: "--root: stat /nonexistent"},
		"a file for a tree":        {args: []string{"--root", line}, code: 1, errors: "is not a folder"},
		"an empty table":           {args: []string{"--ibft", write("empty", "")}, code: 1, errors: "empty"},
		"no table at all":          {args: []string{"--ibft", "/dev/null"}, code: 1, errors: "/dev/null"},
		"an endless table":         {args: []string{"--ibft", "/dev/zero"}, code: 1, errors: "more than 65536 bytes"},
		"a folder for a table":     {args: []string{"--ibft", dir}, code: 1, errors: "is a directory"},
		"a folder for a line":      {args: []string{"--cmdline", "@" + dir}, code: 1, errors: "is a directory"},
		"a line that never ends":   {args: []string{"--cmdline", "@/dev/zero"}, code: 1, errors: "more than 65536 bytes"},
		"a table that is a line":   {args: []string{"--ibft", line}, code: 1, errors: "line"},
		"a line that is a table":   {args: []string{"--cmdline", "@" + real, "--root", t.TempDir()}, code: 21},
		"two mistakes, one report": {args: []string{"--ibft", "/nonexistent", "--cmdline", "@/nonexistent"}, code: 1, errors: "--cmdline"},
		"control characters":       {args: []string{"--root", tree, "--cmdline", "netroot=iscsi:192.0.2.1::::iqn.2026-01.net.example:\x1b[2J" + initiator}, code: 1, errors: "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(append([]string{"show", "--json"}, tt.args...)...)
			p := decode(t, stdout)
			if code != tt.code || stderr != "" || (code != 0) != (len(p.Errors) > 0) {
				t.Errorf("exit code %d, want %d; errors %q, stderr %q", code, tt.code, p.Errors, stderr)
			}
			if tt.errors != "" && !slices.ContainsFunc(p.Errors, func(e string) bool { return strings.Contains(e, tt.errors) }) {
				t.Errorf("errors %q, want %q", p.Errors, tt.errors)
			}
			if tt.portal != "" && (len(p.Targets) != 1 || p.Targets[0].Portal != tt.portal || p.Targets[0].Name != iqnA) {
				t.Errorf("targets %+v, want %s", p.Targets, tt.portal)
			}
			if tt.check != nil && !tt.check(p) {
				t.Errorf("%s", stdout)
			}
			// For people: the same exit code, the errors a line each on stderr.
			humanCode, human, errors := call(append([]string{"show"}, tt.args...)...)
			if humanCode != code || strings.Count(errors, "\n") != len(p.Errors) || !strings.Contains(human, "boot") {
				t.Errorf("for people: exit code %d, stdout %q, stderr %q", humanCode, human, errors)
			}
			if strings.ContainsFunc(human+errors, func(r rune) bool { return r < ' ' && r != '\n' }) {
				t.Errorf("control characters in %q", human+errors)
			}
		})
	}
}

// TestShowTruncated shows every beginning of a real table, and ones with a byte
// that is wrong: an error, and never a crash.
func TestShowTruncated(t *testing.T) {
	raw, err := os.ReadFile("../../ibft/testdata/ipxe-two-nics.ibft")
	if err != nil {
		t.Fatal(err)
	}
	show := func(table []byte) int {
		var stdout, stderr bytes.Buffer
		in := input{ibft: "-", stdin: bytes.NewReader(table)}
		p, err := in.read()
		code := view{json: true}.print(p, err, &stdout, &stderr)
		decode(t, stdout.String())
		return code
	}
	if code := show(raw); code != 0 {
		t.Fatalf("the table itself: exit code %d", code)
	}
	for n := 0; n < len(raw); n += 7 {
		if code := show(raw[:n]); code != 1 {
			t.Errorf("its first %d bytes: exit code %d", n, code)
		}
	}
	for n := range raw {
		wrong := bytes.Clone(raw)
		wrong[n] ^= 0xff // no checksum survives that
		if code := show(wrong); code != 1 {
			t.Errorf("byte %d: exit code %d", n, code)
		}
	}
}

// TestShowSecrets looks for secrets in everything that is printed.
func TestShowSecrets(t *testing.T) {
	const secret, secretIn = "hunter-two-two", "hunter-three-three"
	cmdline := "netroot=iscsi:me:" + secret + ":you:" + secretIn + "@192.0.2.1::::" + iqnA +
		" rd.iscsi.param=node.session.auth.password=" + secret + " rd.iscsi.initiator=iqn.2026-01.net.example:me"
	args := []string{"--cmdline", cmdline, "--root", t.TempDir()}
	_, text, _ := call(append([]string{"show", "--json"}, args...)...)
	auth := decode(t, text).Targets[0].Auth
	if auth.Type != "mutual" || auth.Username != "me" || auth.UsernameIn != "you" || auth.Password != "***" || auth.PasswordIn != "***" {
		t.Errorf("%+v", auth)
	}
	_, shown, _ := call(append([]string{"show", "--json", "--show-secrets"}, args...)...)
	if auth := decode(t, shown).Targets[0].Auth; auth.Password != secret || auth.PasswordIn != secretIn {
		t.Errorf("with --show-secrets: %+v", auth)
	}
	raw := ibft.Table{
		Initiator: &ibft.Initiator{Valid: true, Name: "iqn.2026-01.net.example:me"},
		NICs:      []ibft.NIC{{Valid: true, Boot: true}},
		Targets: []ibft.Target{{Valid: true, Boot: true, Name: iqnA, IP: netip.MustParseAddr("192.0.2.1"), CHAPType: ibft.CHAPMutual,
			CHAPName: "me", CHAPSecret: secret, ReverseCHAPName: "you", ReverseCHAPSecret: secretIn}},
	}
	b, err := raw.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(table, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range [][]string{append([]string{"show"}, args...), {"show", "--ibft", table}, {"fw", "--ibft", table}, {"fw", "--json", "--ibft", table}, {"fw", "--iscsistart", "--ibft", table}} {
		code, stdout, stderr := call(verb...)
		if code != 0 || !strings.Contains(stdout, "***") || strings.Contains(stdout+stderr, "hunter") {
			t.Errorf("%q: exit code %d\n%s%s", verb, code, stdout, stderr)
		}
		if code, stdout, _ := call(append(verb, "--show-secrets")...); code != 0 || strings.Contains(stdout, "***") || !strings.Contains(stdout, secret) || !strings.Contains(stdout, secretIn) {
			t.Errorf("%q --show-secrets: exit code %d\n%s", verb, code, stdout)
		}
	}
}

// recorder notes what is opened.
type recorder struct {
	fs.FS
	opened *[]string
}

func (r recorder) Open(name string) (fs.File, error) {
	*r.opened = append(*r.opened, name)
	return r.FS.Open(name)
}

// TestNothingIsLeftAlone has a machine that does not boot from iSCSI: few files
// are looked at, those that the package comment of fw names, and then it is 21.
func TestNothingIsLeftAlone(t *testing.T) {
	var opened []string
	machine := os.DirFS(t.TempDir())
	p, err := readPlan(fw.Sources{FS: recorder{machine, &opened}, Cmdline: new(string)})
	if code := (view{}).print(p, err, io.Discard, io.Discard); code != exitNothing {
		t.Errorf("exit code %d, %v", code, err)
	}
	for _, name := range opened {
		if !slices.ContainsFunc([]string{"sys/firmware", "proc/device-tree/", "dev/mem", "etc/iscsi.initramfs", "etc/iscsi/iscsi.initramfs", "etc/rootlun/", "run/"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			t.Errorf("%s was opened", name)
		}
	}
	if len(opened) == 0 || len(opened) > 40 {
		t.Errorf("%d files were opened: %q", len(opened), opened)
	}
	for _, verb := range []string{"show", "check", "fw"} {
		if code, stdout, _ := call(verb, "--root", t.TempDir()); code != exitNothing || stdout != "no boot: nothing asks for iSCSI\n" {
			t.Errorf("%s: exit code %d, %q", verb, code, stdout)
		}
	}
	if code, stdout, stderr := call("fw", "--iscsistart", "--root", t.TempDir()); code != exitNothing || stdout != "" || stderr == "" {
		t.Errorf("fw --iscsistart: exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestVerbUsage(t *testing.T) {
	for _, verb := range []string{"show", "check", "fw"} {
		if code, stdout, stderr := call(verb, "--help"); code != 0 || !strings.Contains(stdout, "usage: rootlun "+verb) || !strings.Contains(stdout, "--ibft FILE") || stderr != "" {
			t.Errorf("%s --help: exit code %d, %q, %q", verb, code, stdout, stderr)
		}
		for _, args := range [][]string{{verb, "--bogus"}, {verb, "word"}, {verb, "--ibft"}, {verb, "--dhcp", "root-path"}} {
			if code, stdout, stderr := call(args...); code != 2 || stdout != "" || !strings.Contains(stderr, "rootlun "+verb+" --help tells more") {
				t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
			}
		}
	}
	for _, args := range [][]string{{"fw", "--cmdline", "x"}, {"show", "--json=maybe"}, {"check", "--json"}} {
		if code, _, _ := call(args...); code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

// TestFirmwareAlone hides what people configure.
func TestFirmwareAlone(t *testing.T) {
	raw, err := os.ReadFile("../../ibft/testdata/ipxe-static.ibft")
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for name, text := range map[string]string{
		"proc/cmdline": "netroot=iscsi:192.0.2.1::::" + iqnA + " rd.iscsi.firmware=0", "etc/iscsi/initiatorname.iscsi": "InitiatorName=" + iqnA,
		"etc/iscsi.initramfs": "ISCSI_TARGET_NAME=" + iqnA, "sys/firmware/acpi/tables/iBFT": string(raw),
	} {
		name = filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, _ := call("fw", "--json", "--root", tree)
	if p := decode(t, stdout); code != 0 || len(p.Targets) != 1 || strings.Contains(stdout, iqnA) || len(p.Warnings) > 0 {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestIndexes(t *testing.T) {
	for _, tt := range []struct{ in, want []int }{
		{nil, []int{}}, {[]int{-1}, []int{0}}, {[]int{-1, -1}, []int{0, 1}}, {[]int{-1, 0, -1, 2}, []int{1, 0, 3, 2}}, {[]int{0, 0, -1}, []int{0, 0, 1}},
	} {
		if got := indexes(len(tt.in), func(i int) int { return tt.in[i] }); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.in, got, tt.want)
		}
	}
}
