package handoff

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rootlun/rootlun/qemu-tests/cache"
)

// readKlibc has cloud-init read files as it reads those below /run.
const readKlibc = `
import json, sys
from cloudinit.net import cmdline
source = cmdline.KlibcNetworkConfigSource(_files=sys.argv[1:], _mac_addrs={}, _cmdline="ip=dhcp")
json.dump(source.render_config(), sys.stdout)
`

// cloudInit returns a command that runs Python with the cloud-init that
// scripts/setup unpacked.
func cloudInit(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	modules := cache.Path(t, "cloud-init", "usr", "lib", "python3", "dist-packages")
	cmd := exec.Command("python3", args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+modules, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// TestCloudInit has the real cloud-init read the files of klibc's form.
func TestCloudInit(t *testing.T) {
	type subnet = map[string]any
	static6 := subnet{"type": "static", "control": "manual", "address": "2001:db8::1", "netmask": "64", "gateway": "fe80::9", "dns_nameservers": []any{"2001:db8::3"}}
	for _, tt := range []struct {
		name string
		nic  Interface
		want []any // the subnets
	}{
		{"DHCP and a router", Interface{
			DHCP: true, RA: true, Address: prefixes("192.0.2.15/24", "2001:db8::1/64"), Gateway: []netip.Addr{addr("192.0.2.1"), addr("fe80::9")},
			DNS: []netip.Addr{addr("192.0.2.3"), addr("2001:db8::3")}, Domain: "example.org example.net", Hostname: "node5", Lease: 3600,
		}, []any{
			subnet{"type": "dhcp", "control": "manual", "netmask": "255.255.255.0", "broadcast": "192.0.2.255", "gateway": "192.0.2.1",
				"dns_nameservers": []any{"192.0.2.3"}, "dns_search": []any{"example.org", "example.net"}}, static6,
		}},
		{"static", Interface{Address: prefixes("192.0.2.15/25"), Gateway: []netip.Addr{addr("192.0.2.1")}}, []any{
			subnet{"type": "static", "control": "manual", "address": "192.0.2.15", "netmask": "255.255.255.128", "broadcast": "192.0.2.127", "gateway": "192.0.2.1"},
		}},
		{"DHCPv6", Interface{DHCP6: true, Address: prefixes("2001:db8::15/128"), Gateway: []netip.Addr{addr("fe80::9")}}, []any{
			subnet{"type": "dhcp6", "control": "manual", "netmask": "128", "gateway": "fe80::9"},
		}},
		{"what a hostile server says", Interface{
			DHCP: true, Address: prefixes("192.0.2.15/24", "2001:db8::1/64"), Gateway: []netip.Addr{addr("192.0.2.1"), addr("fe80::9")},
			DNS: []netip.Addr{addr("192.0.2.3"), addr("2001:db8::3")}, Domain: evil, Hostname: evil,
		}, []any{
			subnet{"type": "dhcp", "control": "manual", "netmask": "255.255.255.0", "broadcast": "192.0.2.255", "gateway": "192.0.2.1",
				"dns_nameservers": []any{"192.0.2.3"}, "dns_search": []any{"touch"}}, static6,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := t.TempDir()
			tt.nic.Name, tt.nic.Index, tt.nic.MAC = "eth0", 2, "52:54:00:12:34:56"
			if err := WriteNetwork(run, false, []Interface{tt.nic}); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(run, "net*.conf"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := cloudInit(t, append([]string{"-c", readKlibc}, files...)...)
			cmd.Dir = run
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := map[string]any{"version": 1.0, "config": []any{map[string]any{"type": "physical", "name": "eth0", "subnets": tt.want}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
