package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/session/targettest"
)

func TestDiscover(t *testing.T) {
	const secret = "hunter-two-two"
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	own := file("own", "discovery.sendtargets.auth.username = me\ndiscovery.sendtargets.auth.password = "+secret+"\nnode.session.auth.username = x\nnode.session.auth.password = y\n")
	session := file("session", "node.session.auth.username = me\nnode.session.auth.password = "+secret+"\n")
	wrong := file("wrong", "discovery.sendtargets.auth.username = me\ndiscovery.sendtargets.auth.password = hunter-three\n")
	listed := []string{"10.0.0.1:3260,1", "[2001:db8::1]:860,2", "storage.example:3260,65535"}
	const lines = "10.0.0.1:3260,1 " + targettest.TargetName + "\n[2001:db8::1]:860,2 " + targettest.TargetName + "\nstorage.example:3260,65535 " + targettest.TargetName + "\n"
	for name, tt := range map[string]struct {
		target targettest.Config
		args   []string
		code   int
		stdout string
		stderr string // what it holds
	}{
		"open":                       {target: targettest.Config{Portals: listed}, stdout: lines},
		"open, and credentials":      {target: targettest.Config{Portals: listed}, args: []string{"--credentials", own}, stdout: lines},
		"CHAP":                       {target: targettest.Config{Portals: listed, Username: "me", Secret: secret}, args: []string{"--credentials", own}, stdout: lines},
		"CHAP, a session's":          {target: targettest.Config{Portals: listed, Username: "me", Secret: secret}, args: []string{"--credentials", session}, stdout: lines},
		"CHAP, a secret that is not": {target: targettest.Config{Username: "me", Secret: secret}, args: []string{"--credentials", wrong}, code: 1, stderr: "authentication"},
		"CHAP, none":                 {target: targettest.Config{Username: "me", Secret: secret}, code: 1, stderr: "authentication"},
		"refused":                    {target: targettest.Config{Script: targettest.Refuse(0x0302)}, code: 1, stderr: "rootlun discover: "},
		"no file":                    {args: []string{"--credentials", own + "0"}, code: 2, stderr: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			target := targettest.New(t, tt.target)
			code, stdout, stderr := call(append([]string{"discover", "--initiator", targettest.InitiatorName, target.Addr()}, tt.args...)...)
			if code != tt.code || stdout != tt.stdout || !holds(stderr, tt.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "hunter") {
				t.Error("a secret is shown")
			}
		})
	}
	for _, args := range [][]string{{}, {"192.0.2.1:0"}, {"192.0.2.1", "--lun", "1"}, {"--json=x", "192.0.2.1"}} {
		if code, stdout, stderr := call(append([]string{"discover", "--initiator", targettest.InitiatorName}, args...)...); code != 2 || stdout != "" || !strings.Contains(stderr, "--help tells more") {
			t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

func TestDiscoverJSON(t *testing.T) {
	target := targettest.New(t, targettest.Config{Portals: []string{"10.0.0.1:3260,1", "[2001:db8::1]:860"}})
	code, stdout, _ := call("discover", "--json", "--initiator", targettest.InitiatorName, target.Addr())
	var got any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, stdout)
	}
	want := []any{map[string]any{"name": targettest.TargetName, "portals": []any{
		map[string]any{"address": "10.0.0.1", "port": 3260.0, "tpgt": 1.0},
		map[string]any{"address": "2001:db8::1", "port": 860.0, "tpgt": -1.0},
	}}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
