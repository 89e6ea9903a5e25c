package handoff

import (
	"flag"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files under testdata anew")

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestWriteNetwork compares all files of some networks with those in testdata.
func TestWriteNetwork(t *testing.T) {
	const mac = "52:54:00:12:34:56"
	networks := map[string][]Interface{
		"dhcp": {{
			Name: "eth0", Index: 2, MAC: mac, MTU: 1400, DHCP: true, Address: prefixes("192.0.2.15/24"), Gateway: []netip.Addr{addr("192.0.2.1")},
			Routes: []Route{{netip.MustParsePrefix("198.51.100.0/24"), addr("192.0.2.2")}},
			DNS:    []netip.Addr{addr("192.0.2.3"), addr("2001:db8::3")}, Domain: "example.org", Hostname: "node5", Server: addr("192.0.2.1"), Lease: 3600,
		}},
		"peerdns": {{ // rd.peerdns=0, and several domains
			Name: "eth0", Index: 2, MAC: mac, DHCP: true, RA: true, Address: prefixes("192.0.2.15/24", "2001:db8::15/64"),
			DNS: []netip.Addr{addr("192.0.2.3")}, NoPeerDNS: true, Domain: "example.org  $(id) example.net",
		}},
		"dhcp6": {{
			Name: "eth0", Index: 2, MAC: mac, Permanent: mac, DHCP6: true, RA: true, Address: prefixes("2001:db8::15/128"), Gateway: []netip.Addr{addr("fe80::9")},
			DUID: []byte{0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56}, IAID: 7, Domain: "example.org",
		}},
		"vlan": {
			{Name: "eth0", Index: 2, MAC: mac},
			{
				Name: "eth0.5", Index: 3, MAC: mac, Kind: "vlan", VLAN: 5, Link: "eth0", Address: prefixes("192.0.2.15/24", "2001:db8::15/64"),
				Gateway: []netip.Addr{addr("2001:db8::1")}, Routes: []Route{{netip.MustParsePrefix("203.0.113.9/32"), netip.Addr{}}},
			},
		},
		"bond": {
			{Name: "eth0", Index: 2, MAC: mac, Permanent: mac, Master: "bond0"},
			{Name: "eth1", Index: 3, MAC: mac, Permanent: "52:54:00:12:34:57", Master: "bond0"},
			{
				Name: "bond0", Index: 4, MAC: mac, Kind: "bond", Options: []Option{{"mode", "active-backup"}, {"miimon", "100"}},
				RA: true, Address: prefixes("fe80::1/64", "2001:db8::5054:ff:fe12:3456/64"), Gateway: []netip.Addr{addr("fe80::9")}, DNS: []netip.Addr{addr("2001:db8::3")},
			},
		},
	}
	for name, interfaces := range networks {
		t.Run(name, func(t *testing.T) {
			run := t.TempDir()
			if err := WriteNetwork(run, true, interfaces); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".txt")
			got := files(t, run)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got; -update writes it anew):\n%s", diff)
			}
		})
	}
}

// files is every file below dir with its mode and its text.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString("==> " + strings.TrimPrefix(path, dir+"/") + " " + info.Mode().String() + "\n" + string(text) + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// evil is what a DHCP server may say to break out of a file.
const evil = "a'; touch PWNED; '\n[Network]\nDHCP=no\r$(touch PWNED)`touch PWNED` \"%H\\"

// TestHostileText gives the files that.
func TestHostileText(t *testing.T) {
	run := t.TempDir()
	n := Interface{
		Name: "eth0", Index: 2, MAC: "52:54:00:12:34:56", DHCP: true, Address: prefixes("192.0.2.15/24", "2001:db8::1/64"),
		DNS: []netip.Addr{addr("192.0.2.3")}, Domain: evil, Hostname: evil,
	}
	if err := WriteNetwork(run, true, []Interface{n}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"net-eth0.conf", "net6-eth0.conf"} {
		cmd := exec.Command("sh", "-ec", ". ./"+file+"; printf %s \"$HOSTNAME\"")
		cmd.Dir = run
		out, err := cmd.CombinedOutput()
		if want := strings.NewReplacer("\n", "", "\r", "").Replace(evil); err != nil || string(out) != want {
			t.Errorf("%s: %v, HOSTNAME is %q, not %q", file, err, out, want)
		}
	}
	if _, err := os.Stat(filepath.Join(run, "PWNED")); err == nil {
		t.Error("a shell that sources the file runs what DHCP says")
	}
	for _, file := range []string{"systemd/network/05-rootlun-eth0.network", "NetworkManager/system-connections/rootlun-eth0.nmconnection"} {
		text, err := os.ReadFile(filepath.Join(run, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nDHCP=no") || strings.Count(string(text), "[Network]\n") > 1 || strings.ContainsAny(string(text), "\r`\"%\\$") {
			t.Errorf("%s:\n%s", file, text)
		}
	}
}
