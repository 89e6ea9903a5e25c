package network

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bondWorld is a world with a second cable, near1, whose far end shares a bridge
// with the first one's, and with the sysfs of its namespace.
func bondWorld(t *testing.T, w *world) {
	w.needs("bond")
	w.host.sysfs = t.TempDir()
	w.check(unix.Mount("sysfs", w.host.sysfs, "sysfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(w.host.sysfs, 0) })
	w.cable("near1", "far1", "52:54:00:00:00:02")
	w.far.do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "bridge"
		br := &netlink.Bridge{LinkAttrs: attrs}
		w.check(netlink.LinkAdd(br))
		for _, name := range []string{"far0", "far1"} {
			l := must(netlink.LinkByName(name))
			w.check(netlink.LinkSetMaster(l, br))
			w.check(netlink.LinkSetUp(l))
		}
		w.check(netlink.AddrAdd(br, must(netlink.ParseAddr("10.6.0.1/24"))))
		w.check(netlink.LinkSetUp(br))
	})
}

func (w *world) option(bond, name string) string {
	b, err := os.ReadFile(w.host.sysfs + "/class/net/" + bond + "/bonding/" + name)
	w.check(err)
	return strings.TrimSpace(string(b))
}

func activeBackup(ports ...string) Config {
	return Config{Name: "bond0", Address: []netip.Prefix{prefix("10.6.0.2/24")}, Bonds: []Bond{{Name: "bond0", Ports: ports, MTU: 1400,
		Options: []Option{{"primary", "near1"}, {"updelay", "50"}, {"miimon", "50"}, {"mode", "active-backup"}}}}}
}

func TestBond(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		bondWorld(t, w)
		res := w.mustUp(activeBackup("near0", "near1"))
		if res.Name != "bond0" || res.MTU != 1400 || !slices.Equal(res.Ports, []string{"near0", "near1"}) || res.MAC.String() != "52:54:00:00:00:01" {
			t.Errorf("result %+v", res)
		}
		got := map[string]string{}
		for _, name := range []string{"mode", "miimon", "updelay", "primary", "slaves"} {
			got[name] = w.option("bond0", name)
		}
		want := map[string]string{"mode": "active-backup 1", "miimon": "50", "updelay": "50", "primary": "near1 always 0", "slaves": "near0 near1"}
		want["primary"] = "near1"
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("options (-want +got):\n%s", d)
		}
		ping(t, "10.6.0.1")

		// One leg is lost, and the other carries on.
		w.check(netlink.LinkSetDown(must(netlink.LinkByName("near1"))))
		ping(t, "10.6.0.1")
	})
}

// A NIC that is to be a port is used through its bond, which gets its MAC; and
// a VLAN goes over it.
func TestBondOfPort(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		bondWorld(t, w)
		w.needs("vlan")
		cfg := activeBackup("near0", "near1")
		cfg.Name, cfg.VLAN = "near1", 7
		res := w.mustUp(cfg)
		if res.Name != "bond0.7" || res.Link != "bond0" || res.MAC.String() != "52:54:00:00:00:02" || !slices.Equal(res.Ports, []string{"near1", "near0"}) {
			t.Errorf("result %+v", res)
		}
		var below []string
		for _, p := range res.Below { // the ports with the MACs that they had before
			below = append(below, p.Name+" "+p.MAC.String())
		}
		if d := cmp.Diff([]string{"near1 52:54:00:00:00:02", "near0 52:54:00:00:00:01", "bond0 52:54:00:00:00:02"}, below); d != "" {
			t.Errorf("what it stands on (-want +got):\n%s", d)
		}
	})
}

// A port that is not there costs a warning.
func TestBondPortAbsent(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		bondWorld(t, w)
		cfg := activeBackup("52:54:00:00:00:99", "near0")
		cfg.FindTimeout = 200 * time.Millisecond
		if res := w.mustUp(cfg); !slices.Equal(res.Ports, []string{"near0"}) || !w.log.said("bond0 goes without 52:54:00:00:00:99") {
			t.Errorf("result %+v, lines %q", res, w.log.lines)
		}
	})
}

func TestBondWithoutPorts(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		cfg := activeBackup("eth7", "eth8")
		cfg.FindTimeout = 50 * time.Millisecond
		_, err := w.up(cfg)
		if err == nil || !strings.Contains(err.Error(), "bond0: none of its ports eth7 eth8 appeared within 0 s; present: near0") {
			t.Errorf("error %v", err)
		}
	})
}

func TestBondFailure(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		bondWorld(t, w)
		before := w.state()
		cfg := activeBackup("near0", "near1")
		cfg.DHCP, cfg.DHCPTimeout = true, 300*time.Millisecond
		if _, err := w.up(cfg); err == nil || !strings.Contains(err.Error(), "bond0: no address by DHCP") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
		if l := named("bond0"); l != nil {
			t.Errorf("left behind: %+v", l)
		}

		// Kept, it is taken up again where it was left.
		cfg.KeepLink = true
		if _, err := w.up(cfg); err == nil {
			t.Error("no error")
		}
		cfg.DHCP = false
		if res := w.mustUp(cfg); !slices.Equal(res.Ports, []string{"near0", "near1"}) {
			t.Errorf("result %+v", res)
		}
		ping(t, "10.6.0.1")
	})
}

func TestBondRefusedOption(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		bondWorld(t, w)
		for _, o := range []Option{{"mode", "nonsense"}, {"nonsense", "1"}, {"../address", "1"}} {
			cfg := activeBackup("near0")
			cfg.Bonds[0].Options = []Option{o}
			if _, err := w.up(cfg); err == nil || !strings.Contains(err.Error(), "bond0: cannot have "+o.Name+"="+o.Value+": ") || !strings.Contains(err.Error(), "; check bond=") {
				t.Errorf("%s: error %v", o.Name, err)
			}
		}
	})
}
