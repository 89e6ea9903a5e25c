package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/session/kernel"
)

const otherTarget = "iqn.2026-01.net.example:b"

// fakeSessions is a sysfs with two sessions: 3 to iqnA, which has a controller as
// LUN 0, a disk as LUN 1 and one as LUN 16385, and 12, which is lost.
func fakeSessions(t *testing.T) (sys kernel.Sysfs, write func(name, text string)) {
	t.Helper()
	root := t.TempDir()
	write = func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir, attributes := range map[string]string{
		"class/iscsi_session/session3": "targetname=" + iqnA + " tpgt=1 ifacename=default initiatorname=iqn.2026-01.net.example:me state=LOGGED_IN " +
			"recovery_tmo=86400 tgt_reset_tmo=30 lu_reset_tmo=30 abort_tmo=15 username=me password=hunter-two username_in=(null) password_in=<NULL> " +
			"first_burst_len=65536 max_burst_len=262144 immediate_data=1 initial_r2t=0 max_outstanding_r2t=1 target_id=0",
		"class/iscsi_connection/connection3:0": "address=10.0.0.9 port=3261 persistent_address=10.0.0.1 persistent_port=3260 state=up " +
			"header_digest=1 data_digest=0 max_recv_dlength=262144 max_xmit_dlength=65536 recv_tmo=0 ping_tmo=5",
		"class/iscsi_host/host2":                "ipaddress=fe80::2 hwaddress=(null) netdev=(null)",
		"class/scsi_host/host2":                 "proc_name=iscsi_tcp state=running",
		"class/scsi_device/2:0:0:1/device":      "state=running block/sda/size=8",
		"class/scsi_device/2:0:0:16385/device":  "state=offline block/sdb/size=8",
		"class/scsi_device/2:0:0:0/device":      "state=running",
		"devices/host2/session3/target2:0:0":    "2:0:0:1/x=1 2:0:0:16385/x=1 2:0:0:0/x=1",
		"class/iscsi_session/session12":         "targetname=" + otherTarget + " state=FAILED recovery_tmo=off",
		"class/iscsi_connection/connection12:0": "persistent_address=2001:db8::1 persistent_port=860 state=failed",
		"class/scsi_host/host4":                 "proc_name=qla4xxx",
		"devices/host4/session12":               "x=1",
	} {
		for _, a := range strings.Fields(attributes) {
			name, value, _ := strings.Cut(a, "=")
			write(dir+"/"+name, value+"\n")
		}
	}
	for session, device := range map[string]string{"session3": "host2/session3", "session12": "host4/session12"} {
		if err := os.Symlink("../../../devices/"+device, filepath.Join(root, "class/iscsi_session", session, "device")); err != nil {
			t.Fatal(err)
		}
	}
	return kernel.Sysfs(root), write
}

const level3 = `Target: iqn.2026-01.net.example:a (non-flash)
	Current Portal: 10.0.0.9:3261,1
	Persistent Portal: 10.0.0.1:3260,1
		**********
		Interface:
		**********
		Iface Name: default
		Iface Transport: tcp
		Iface Initiatorname: iqn.2026-01.net.example:me
		Iface IPaddress: [fe80::2]
		Iface HWaddress: default
		Iface Netdev: default
		SID: 3
		iSCSI Connection State: LOGGED IN
		iSCSI Session State: LOGGED_IN
		Internal iscsid Session State: Unknown
		*********
		Timeouts:
		*********
		Recovery Timeout: 86400
		Target Reset Timeout: 30
		LUN Reset Timeout: 30
		Abort Timeout: 15
		NOP-Out Interval: 0
		NOP-Out Timeout: 5
		*****
		CHAP:
		*****
		username: me
		password: ********
		username_in: <empty>
		password_in: <empty>
		************************
		Negotiated iSCSI params:
		************************
		HeaderDigest: CRC32C
		DataDigest: None
		MaxRecvDataSegmentLength: 262144
		MaxXmitDataSegmentLength: 65536
		FirstBurstLength: 65536
		MaxBurstLength: 262144
		ImmediateData: Yes
		InitialR2T: No
		MaxOutstandingR2T: 1
		************************
		Attached SCSI devices:
		************************
		Host Number: 2	State: running
		scsi2 Channel 00 Id 0 Lun: 0
		scsi2 Channel 00 Id 0 Lun: 1
			Attached scsi disk sda		State: running
		scsi2 Channel 00 Id 0 Lun: 16385
			Attached scsi disk sdb		State: offline
`

// TestSessions prints what iscsiadm prints of the same sysfs.
func TestSessions(t *testing.T) {
	sys, _ := fakeSessions(t)
	const flat3 = "tcp: [3] 10.0.0.1:3260,1 " + iqnA + " (non-flash)\n"
	const flat12 = "qla4xxx: [12] [2001:db8::1]:860,-1 " + otherTarget + " (non-flash)\n"
	cut := func(before string) string { return level3[:strings.Index(level3, before)] }
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", flat3 + flat12},
		{"-P 0 --sid 12", flat12},
		{"-P1 " + iqnA, cut("\t\t*********\n\t\tTimeouts")},
		{"-P 2 10.0.0.1:3260,1", cut("\t\t************************\n\t\tAttached")},
		{"--P=3 " + iqnA + " 10.0.0.1", level3},
		{otherTarget + " [2001:db8::1]:860,1", flat12},
	} {
		var stdout, stderr strings.Builder
		code := sessions(sys, "sessions", strings.Fields(tt.args), &stdout, &stderr)
		if diff := gocmp.Diff(tt.want, stdout.String()); diff != "" || code != 0 || stderr.Len() > 0 {
			t.Errorf("%s: exit code %d, %q (-want +got):\n%s", tt.args, code, &stderr, diff)
		}
	}
}

func TestSessionsJSON(t *testing.T) {
	sys, _ := fakeSessions(t)
	var stdout strings.Builder
	if code := sessions(sys, "sessions", []string{"--json"}, &stdout, &stdout); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var got struct{ Sessions []map[string]any }
	if err := json.Unmarshal([]byte(stdout.String()), &got); err != nil || len(got.Sessions) != 2 {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	unit := func(lun float64, disk, state string) any {
		return map[string]any{"lun": lun, "disk": disk, "state": state}
	}
	want := map[string]any{
		"sid": 3.0, "target": iqnA, "portal": "10.0.0.9:3261", "persistent_portal": "10.0.0.1:3260", "tpgt": 1.0, "transport": "tcp",
		"ifacename": "default", "initiatorname": "iqn.2026-01.net.example:me", "ipaddress": "fe80::2", "hwaddress": "", "netdev": "",
		"connection_state": "up", "state": "LOGGED_IN", "recovery_tmo": 86400.0, "tgt_reset_tmo": 30.0, "lu_reset_tmo": 30.0, "abort_tmo": 15.0,
		"recv_tmo": 0.0, "ping_tmo": 5.0, "username": "me", "password": "********", "username_in": "", "password_in": "",
		"header_digest": "CRC32C", "data_digest": "None", "max_recv_dlength": 262144.0, "max_xmit_dlength": 65536.0,
		"first_burst_len": 65536.0, "max_burst_len": 262144.0, "immediate_data": "Yes", "initial_r2t": "No", "max_outstanding_r2t": 1.0,
		"host": 2.0, "host_state": "running",
		"units": []any{unit(0, "", "running"), unit(1, "sda", "running"), unit(16385, "sdb", "offline")},
	}
	if diff := gocmp.Diff(want, got.Sessions[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	lost := got.Sessions[1]
	if lost["recovery_tmo"] != -1.0 || lost["tpgt"] != -1.0 || lost["state"] != "FAILED" || len(lost["units"].([]any)) != 0 {
		t.Errorf("%v", lost)
	}
	if strings.Contains(stdout.String(), "hunter") {
		t.Error("the secret is shown")
	}
}

// TestSessionsHostile has a sysfs that is not the kernel's own: no line is forged,
// no sequence of a terminal gets through, JSON stays JSON.
func TestSessionsHostile(t *testing.T) {
	sys, write := fakeSessions(t)
	write("class/iscsi_session/session3/targetname", "iqn\n\t\tSID: 9\x1b[2J<vS>\"\\\xff\n")
	write("class/iscsi_session/session3/recovery_tmo", "12,\"x\":1")
	write("class/iscsi_connection/connection3:0/persistent_port", "1\n2")
	write("class/iscsi_session/session3/initiatorname", strings.Repeat("x", 1<<20))
	write("class/iscsi_session/session99999999999/state", "LOGGED_IN")
	write("class/iscsi_session/sessionx/state", "LOGGED_IN")
	write("class/iscsi_session/session13/state", "LOGGED_IN") // without a device
	write("class/scsi_host/host0/state", "another's")
	for _, args := range []string{"", "-P3", "--json"} {
		var stdout, stderr strings.Builder
		code := sessions(sys, "sessions", strings.Fields(args), &stdout, &stderr)
		if code != 0 || strings.Contains(stdout.String(), "\n\t\tSID: 9") || strings.Contains(stdout.String(), "another's") || strings.ContainsAny(stdout.String(), "\x1b\x7f") || stdout.Len() > 32<<10 {
			t.Errorf("%s: exit code %d\n%.2000s", args, code, &stdout)
		}
		if args == "--json" && !json.Valid([]byte(stdout.String())) {
			t.Errorf("no JSON: %.2000s", &stdout)
		}
	}
}

// TestSessionsExit has the exit codes of the three verbs, none of which comes to
// the kernel here.
func TestSessionsExit(t *testing.T) {
	sys, _ := fakeSessions(t)
	none := kernel.Sysfs(t.TempDir())
	for _, tt := range []struct {
		sys    kernel.Sysfs
		args   string
		code   int
		stdout string
		stderr string
	}{
		{none, "sessions", 21, "", "there is no such session"},
		{none, "sessions --json", 21, "{\n\t\"sessions\": []\n}\n", "there is no such session"},
		{none, "rescan", 21, "", "there is no such session"},
		{none, "logout --all", 21, "", "there is no such session"},
		{sys, "sessions --sid 4", 21, "", "no such session"},
		{sys, "sessions " + iqnA + " 10.0.0.10", 21, "", "no such session"}, // 10.0.0.1 it is
		{sys, "logout " + otherTarget + " --sid 3", 21, "", "no such session"},
		{sys, "rescan iqn.2026-01.net.example:c", 21, "", "no such session"},
		{sys, "sessions -P 4", 2, "", "0 to 3"},
		{sys, "sessions -P", 2, "", "needs a value"},
		{sys, "sessions -P33", 2, "", "no option"},
		{sys, "sessions --all", 2, "", "no option --all"},
		{sys, "rescan --force", 2, "", "no option --force"},
		{sys, "logout", 2, "", "want TARGET"},
		{sys, "logout --force", 2, "", "want TARGET"},
		{sys, "logout --all --sid 3", 2, "", "want TARGET"},
		{sys, "logout ,1", 2, "", "names no session"},
		{sys, "logout --sid=", 2, "", "names no session"},
		{sys, "logout --json", 2, "", "no option --json"},
	} {
		var stdout, stderr strings.Builder
		words := strings.Fields(tt.args)
		code := sessions(tt.sys, words[0], words[1:], &stdout, &stderr)
		if code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: exit code %d, want %d; stdout %q, stderr %q", tt.args, code, tt.code, &stdout, &stderr)
		}
	}
	for _, verb := range []string{"sessions", "rescan", "logout", "discover"} {
		if code, stdout, stderr := call(verb, "--help"); code != 0 || !strings.Contains(stdout, "usage: rootlun "+verb) || stderr != "" {
			t.Errorf("%s --help: exit code %d, %q, %q", verb, code, stdout, stderr)
		}
	}
}
