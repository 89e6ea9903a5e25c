package qemutests

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/initramfs"
)

//go:embed guest/iscsistart-init
var iscsistartInit []byte

// TestISCSIStartLines gives Debian's iscsistart and ours the same command lines on
// one machine: they end alike, write the same to the standard output, and to the
// standard error if the other does, and leave the same sessions and disks. Timers
// are a root's. What differs by intent docs/rootlun-iscsistart.8 has.
func TestISCSIStartLines(t *testing.T) {
	const here = "-i " + initiatorName + " -g 1 -a " + HostAddress + " "
	const quick = " -P node.session.initial_login_retry_max=1 -P node.conn[0].timeo.login_timeout=1"
	s := newScene(t)
	chap, open := s.chapTarget(true), s.target()
	open.Name += "-open"
	port := s.tgts(chap, open)
	to := func(target Target) string { return here + fmt.Sprintf("-p %d -t %s ", port, target.Name) }
	credentials := "-u " + chap.Username + " -w " + chap.Secret
	type result struct {
		code   string
		stdout string
		silent bool // nothing on the standard error
		left   string
	}
	lines := []struct {
		name, arguments string
		code            string          // theirs
		differ          func(r *result) // makes theirs of ours, where they differ
	}{
		{"nothing", "", "7", nil},
		{"half", "-i x -g 1", "7", nil},
		{"unknown", "-x", "7", nil},
		{"version", "-v", "0", func(r *result) { r.stdout = "out: iscsistart version 2.1.8\n" }},
		{"login", to(open), "0", nil},
		{"again", to(open), "1", func(r *result) { r.code = "1" }}, // it is there: fine
		{"words", to(open) + "more words -g 7", "0", nil},
		{"manual", to(open) + "-P node.session.scan=manual", "0", nil},
		{"params", to(open) + "-P node.session.timeo.replacement_timeout=77 -P node.session.timeo.replacement_timeout=78", "0", nil},
		{"no-setting", to(open) + "-P nonsense=1", "1", nil},
		{"no-number", to(open) + "-P node.session.queue_depth=x", "0", func(r *result) { // it is taken for 0 there
			r.code = "0"
			r.stdout = fmt.Sprintf("out: iscsistart: Logging into %s %s:%d,1\n", open.Name, HostAddress, port)
		}},
		{"needless", to(open) + credentials, "0", nil},
		{"half-mutual", to(open) + "-U target-user -W secret-of-target", "0", nil},
		{"no-credentials", to(chap), "1", nil},
		{"wrong", to(chap) + "-u initiator-user -w not-the-right-one", "1", nil},
		{"CHAP", to(chap) + credentials, "0", nil},
		{"mutual", to(chap) + credentials + " -U target-user -W secret-of-target", "0", nil},
		{"other-target", to(chap) + credentials + " -U target-user -W not-the-right-one", "1", nil},
		{"nowhere", here + fmt.Sprint("-t iqn.2025-01.test.rootlun:nowhere -p ", port), "1", nil},
		{"refused", here + "-t " + open.Name + " -p 9" + quick, "1", nil},
		{"no-port", here + "-t " + open.Name + " -p x" + quick, "1", nil},
		{"no-name", "-i x -g 1 -a nowhere.invalid -t " + open.Name + quick, "1", nil},
		{"table", "-b -i another", "0", nil},
		{"network", "-N", "0", func(r *result) { // a line for each target
			r.stdout += r.stdout
			r.silent = true
		}},
	}
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&text, l.name, l.arguments)
	}
	file := filepath.Join(s.dir, "lines")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := s.MakeGuest(s.dir, iscsistartInit, []string{"virtio_pci", "virtio_net", "iscsi_tcp", "sd_mod", "iscsi_ibft"}, append(s.openISCSI("iscsistart"),
		initramfs.File{Source: file, Destination: "/lines"},
		initramfs.File{Source: s.init, Destination: "/usr/bin/rootlun"})...)
	if err != nil {
		t.Fatal(err)
	}
	table := FirmwareTable(initiatorName, port, chap)
	second := table.Targets[0]
	second.Index, second.Name, second.Boot, second.CHAPType = 1, open.Name, false, ibft.CHAPNone
	second.CHAPName, second.ReverseCHAPName = "", ""
	table.Targets = append(table.Targets, second)
	_, console := s.run(Machine{Dir: s.dir, Kernel: s.Kernel, Initrd: image, ACPI: s.acpi(table), Cmdline: []string{"quiet"}})
	console = strings.ReplaceAll(console, "\r", "")

	results := map[string]result{}
	for _, part := range strings.Split(console, ">>> ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		r := result{silent: true}
		var stdout, left []string
		for line := range strings.Lines(rest) {
			kind, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch kind {
			case "out:":
				stdout = append(stdout, line)
			case "err:":
				r.silent = false
			case "session:", "disk:":
				left = append(left, line)
			case "recovery_tmo:":
				if value == "120" && strings.HasSuffix(name, " theirs") { // open-iscsi's own
					value = "86400"
				}
				left = append(left, kind+" "+value+"\n")
			case "code":
				r.code = value
			}
		}
		slices.Sort(stdout) // of several targets
		slices.Sort(left)
		r.stdout, r.left = strings.Join(stdout, ""), strings.Join(left, "")
		results[name] = r
	}
	for _, l := range lines {
		theirs, ours := results[l.name+" theirs"], results[l.name+" ours"]
		if theirs.code != l.code {
			t.Errorf("%s: open-iscsi's ends with %q, want %s", l.name, theirs.code, l.code)
		}
		if l.differ != nil {
			if ours == theirs {
				t.Errorf("%s: there is no difference", l.name)
			}
			l.differ(&ours)
			ours.left, theirs.left = "", ""
		}
		if strings.Contains(theirs.left, "session:") && !strings.Contains(theirs.left, "disk:") { // it does not wait for them
			ours.left = regexp.MustCompile(`(?m)^disk: .*\n`).ReplaceAllString(ours.left, "")
		}
		if diff := cmp.Diff(theirs, ours, cmp.AllowUnexported(result{})); diff != "" {
			_, said, _ := strings.Cut(console, ">>> "+l.name+" theirs")
			said, _, _ = strings.Cut(said, ">>> "+lines[len(lines)-1].name)
			t.Errorf("%s (-open-iscsi's +ours):\n%s\n%.2000s", l.name, diff, said)
		}
	}
	if _, seen, ok := strings.Cut(console, "seen: "); !ok || strings.Contains(seen, "secret-") || !strings.Contains(seen, "-u me ") {
		t.Errorf("the command line shows %.200q", seen)
	}
	noSecret(t, console, chap)
}
