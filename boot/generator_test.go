package boot

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const netrootWord = "netroot=iscsi:192.168.50.1::::iqn.2009-06.com.example:disk "

func TestGenerate(t *testing.T) {
	const always = "/device.d/zz-rootlun.conf /initrd-root-device.target.wants/rootlun-attach.service /initrd.target.wants/rootlun-handoff.service" +
		" /systemd-networkd-wait-online.service.d/rootlun.conf /systemd-networkd.service.d/rootlun.conf /systemd-networkd.socket.d/rootlun.conf"
	const root = "/initrd-root-fs.target.requires/sysroot.mount /sysroot.mount"
	const early = "/initrd-root-device.target.d/50-root-device.conf " + root
	for cmdline, want := range map[string]struct {
		early, late string
		has         []string // lines of the unit
	}{
		"":                                          {late: root, has: []string{"Options=ro", "ConditionPathExists=/run/rootlun/root", "What=/run/rootlun/root"}},
		"rd.iscsi.firmware=0":                       {late: root},
		"root=LABEL=root":                           {},
		"root=LABEL=root " + netrootWord:            {},
		"root=gpt-auto":                             {},
		"root=live:LABEL=iso " + netrootWord:        {},
		"root=nfs:192.168.50.1:/root":               {},
		"root=nonsense " + netrootWord:              {},
		netrootWord:                                 {early: early},
		"root=iscsi rd.iscsi.firmware":              {early: early},
		"root=/dev/root " + netrootWord:             {early: early},
		"root=dhcp rw":                              {early: early, has: []string{"Options=rw"}},
		netrootWord + "rootflags=noatime,x=50%n ro": {early: early, has: []string{"Options=noatime,x=50%%n,ro"}},
		netrootWord + "rootfstype=ext4 rw":          {early: early, has: []string{"Type=ext4"}},
		"root=LABEL=root rd.rootlun.fallback=local:LABEL=rescue":                {},
		"root=LABEL=root rd.rootlun.fallback=local:LABEL=rescue " + netrootWord: {early: early},
	} {
		t.Run(cmdline, func(t *testing.T) {
			dir := t.TempDir()
			fsys := fstest.MapFS{"proc/cmdline": {Data: []byte(cmdline)}, "etc/initrd-release": {}}
			if err := Generate(fsys, dir+"/normal", dir+"/early", dir+"/late"); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
				if d.IsDir() {
					return err
				}
				name = strings.TrimPrefix(name, dir+"/")
				folder, name, _ := strings.Cut(name, "/")
				got[folder] = strings.TrimSpace(got[folder] + " /" + name)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{always, want.early, want.late}, []string{got["normal"], got["early"], got["late"]}); diff != "" {
				t.Error(diff)
			}
			folder := "late"
			if want.early != "" {
				folder = "early"
			}
			unit, _ := os.ReadFile(filepath.Join(dir, folder, "sysroot.mount"))
			for _, line := range want.has {
				if !strings.Contains("\n"+string(unit), "\n"+line+"\n") {
					t.Errorf("there is no %q in\n%s", line, unit)
				}
			}
			times, _ := os.ReadFile(filepath.Join(dir, "normal/device.d/zz-rootlun.conf"))
			if got := strings.Contains(string(times), "JobRunningTimeoutSec"); got != (strings.Contains(cmdline, "fallback") && want.early != "") {
				t.Errorf("%s", times)
			}
		})
	}
	dir := t.TempDir()
	if err := Generate(fstest.MapFS{"proc/cmdline": {Data: []byte(netrootWord)}}, dir, dir, dir); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("in a system that is installed it writes %v", names)
	}
}

// A link of udev's from the label that root= has.
func TestEscape(t *testing.T) {
	for label, want := range map[string]string{"root": "root", "my root/a": `my\x20root\x2fa`, "häuschen": "häuschen", `a\b`: `a\x5cb`, "#+-.:=@_": "#+-.:=@_"} {
		if got := escape(label); got != want || unescape(got) != label {
			t.Errorf("%q: %q, and back: %q", label, got, unescape(got))
		}
	}
}
