package qemutests

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed guest/takeover-report
var takeoverReport []byte

// debugfs gives debugfs(8) a command about an ext4 image and returns what it
// prints.
func (s *scene) debugfs(image, command string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.ctx, "debugfs", "-w", "-R", command, image).Output()
	if err != nil {
		s.t.Fatalf("debugfs %s: %v", command, err)
	}
	return string(out)
}

// put writes a file of an ext4 image.
func (s *scene) put(image, path string, text []byte, mode string) {
	s.t.Helper()
	file := filepath.Join(s.dir, "put")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.debugfs(image, "rm "+path)
	s.debugfs(image, fmt.Sprintf("write %s %s", file, path))
	s.debugfs(image, fmt.Sprintf("set_inode_field %s mode %s", path, mode))
}

const otherTarget = "iqn.2025-01.test.rootlun:other"

// TestTakeover: Debian's own iscsid takes the root's session over, without
// anything in the root that is not Debian's, and what it is then.
func TestTakeover(t *testing.T) {
	for _, row := range []struct {
		name    string
		system  string
		mode    string // ro or rw, of the boot
		fstab   string // the root's
		more    string
		end     string // the machine's last line
		records string // where that system has them
		lasts   bool   // the system's own records last
		tools   string // the builder whose initramfs-tools make the image; none: rootlun's own is booted
	}{
		{"initramfs-tools", "debian12-open-iscsi", "rw", "", "", "reboot: Power down", "/etc/iscsi/nodes", true, "debian12-builder"},
		{"written later", "debian12-open-iscsi", "ro", "LABEL=rootlun-root / ext4 defaults 0 0\n", "rootlun.end=reboot", "reboot: Restarting system", "/etc/iscsi/nodes", true, ""},
		{"never written", "debian12-open-iscsi", "ro", "", "rootlun.end=halt", "reboot: System halted", "/etc/iscsi/nodes", false, ""},
		{"Debian 13", "debian13-open-iscsi", "ro", "LABEL=rootlun-root / ext4 defaults 0 0\n", "", "reboot: Power down", "/var/lib/iscsi/nodes", true, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSystem(t)
			far := s.far([]string{"10.7.0.1/24"})
			image := s.system(row.system)
			s.put(image, "/usr/local/sbin/rootlun-report", takeoverReport, "0100755")
			if row.fstab != "" {
				s.put(image, "/etc/fstab", []byte(row.fstab), "0100644")
			}
			const user, secret, userIn, secretIn = "node", "correct-horse-1", "target", "battery-staple-2"
			other := filepath.Join(s.dir, "other.img")
			if err := makeSparse(other, 1<<20); err != nil {
				t.Fatal(err)
			}
			s.farTGT(far,
				Target{Name: targetName, Image: image, LUN: 1, Username: user, Secret: secret, UsernameIn: userIn, SecretIn: secretIn},
				Target{Name: otherTarget, Image: other, LUN: 1})
			s.dnsmasq(far, "--interface=net0", dhcpRange)
			m := s.wired(s.cable(far.Segments[0], nil), "ip=dhcp", "root=LABEL="+RootLabel, row.mode, "systemd.show_status=1", row.more,
				"rd.iscsi.initiator="+initiatorName, fmt.Sprintf("netroot=iscsi:%s:%s:%s:%s@10.7.0.1:::1:%s", user, secret, userIn, secretIn, targetName))
			if row.tools != "" {
				m.Kernel, m.Initrd = s.initramfsTools(row.tools, "", "")
			}
			r, err := s.Start(s.ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.WaitFor(s.ctx, row.end); err != nil {
				t.Error(err)
			}
			r.Kill() // one that is halted does not end
			console := r.Console.String()
			report, err := r.Report()
			if err != nil {
				t.Fatalf("%v; the last lines of the console:\n%s", err, tail(console, 30))
			}
			t.Cleanup(func() {
				if t.Failed() || testing.Verbose() {
					for _, name := range slices.Sorted(maps.Keys(report)) {
						t.Logf("%s\n%s", name, report[name])
					}
					t.Log(tail(console, 40))
				}
			})

			for _, when := range []string{"iscsid", "late"} {
				for name, want := range map[string]string{
					"session1/recovery_tmo": "86400", "session1/state": "LOGGED_IN", "session1/initiatorname": initiatorName,
					"recv_tmo": "0", "ping_tmo": "0", "persistent_address": "10.7.0.1", "sessions": "session1",
				} {
					if got := report.Text(when + " " + name); got != want {
						t.Errorf("%s: %s is %q, want %q", when, name, got, want)
					}
				}
			}
			if report["early tcp"] == report["iscsid tcp"] || report["late tcp"] == report["iscsid tcp"] {
				t.Errorf("iscsid has not taken over: %q, %q, %q", report["early tcp"], report["iscsid tcp"], report["late tcp"])
			}
			var status struct {
				Safe    bool   `json:"safe"`
				Manager string `json:"manager"`
			}
			if err := json.Unmarshal([]byte(report["late status"]), &status); err != nil || !status.Safe || status.Manager != "iscsid" || report.Text("late status code") != "0" {
				t.Errorf("rootlun status: %+v, %v, exit code %s", status, err, report["late status code"])
			}
			record := report["$ iscsiadm -m node -o show"]
			for _, want := range []string{
				"node.name = " + targetName, "node.startup = onboot", "node.discovery_type = fw", "node.tpgt = 1",
				"iface.iscsi_ifacename = default", "node.session.timeo.replacement_timeout = 86400", "node.conn[0].timeo.noop_out_interval = 0",
				"node.session.auth.username = " + user, "node.session.auth.username_in = " + userIn, "node.conn[0].address = 10.7.0.1",
			} {
				if !strings.Contains(record, want+"\n") {
					t.Errorf("iscsiadm does not show %s", want)
				}
			}
			if failed := report.Text("$ systemctl --failed --no-legend --plain"); row.mode == "rw" && failed != "" {
				t.Errorf("units have failed: %s", failed)
			}
			if errors := report["$ dmesg --level=err,crit,alert,emerg"] + report["$ cat /tmp/load.count /tmp/load.errors"]; strings.Contains(errors, "I/O error") || strings.Contains(errors, "EXT4-fs error") {
				t.Error(errors)
			}
			if !strings.Contains(console, "session 1 is logged out") || strings.Contains(console, "is still in use") {
				t.Error("rootlun did not unmount and log out at the end")
			}
			if !strings.Contains(report["$ iscsiadm -m node"], otherTarget) {
				t.Error("what was discovered has no record")
			}
			// What is on the disk when all mounts are gone.
			if got := s.debugfs(image, "ls -l "+row.records+"/"+otherTarget); strings.Contains(got, "10.7.0.1,3260,1") != row.lasts {
				t.Errorf("of the system's own records the disk holds %q", got)
			}
			if got := s.debugfs(image, "cat "+row.records+"/"+targetName+"/10.7.0.1,3260,1/default"); got != "" {
				t.Errorf("the boot's record is on the disk:\n%s", got)
			}
		})
	}
}
