package network

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// needs skips a test where the kernel has no such links; qemu-tests runs it in a
// guest that has.
func (w *world) needs(kind string) {
	w.t.Helper()
	err := run(newLinkRequest("probe", kind))
	if l := named("probe"); l != nil {
		w.check(delLink(l.index))
	}
	if errors.Is(err, unix.EOPNOTSUPP) && os.Getenv(allKindsEnv) == "" {
		w.t.Skipf("this kernel has no %s", kind)
	}
}

// allKindsEnv says that the kernel has links of all kinds, so that no test that
// needs one is skipped.
const allKindsEnv = "ROOTLUN_TEST_ALL_LINKS"

// farVLAN gives the far end a VLAN with 10.5.0.1/24.
func (w *world) farVLAN(id int) {
	w.t.Helper()
	w.far.do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "tagged", must(netlink.LinkByName("far0")).Attrs().Index
		l := &netlink.Vlan{LinkAttrs: attrs, VlanId: id}
		w.check(netlink.LinkAdd(l))
		w.check(netlink.AddrAdd(l, must(netlink.ParseAddr("10.5.0.1/24"))))
		w.check(netlink.LinkSetUp(l))
	})
}

func TestVLAN(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.needs("vlan")
		w.farVLAN(5)
		before, loaded := w.state(), []string(nil)
		cfg := Config{Name: "near0", VLAN: 5, Address: []netip.Prefix{prefix("10.5.0.2/24")}, MTU: 1400,
			Load: func(m string) error { loaded = append(loaded, m); return os.ErrNotExist }}
		res := w.mustUp(cfg)
		if res.Name != "near0.5" || res.Link != "near0" || res.VLAN != 5 || res.MTU != 1400 || res.MAC.String() != "52:54:00:00:00:01" {
			t.Errorf("result %+v", res)
		}
		if d := cmp.Diff([]string{"8021q"}, loaded); d != "" {
			t.Errorf("modules (-want +got):\n%s", d)
		}
		ping(t, "10.5.0.1")
		if s := w.state(); !s.Up || s.Addresses != nil || s.MTU != before.MTU {
			t.Errorf("the link below: %+v", s)
		}

		// Again, and by another name: it is there.
		cfg.VLANName = "storage"
		if again := w.mustUp(cfg); again.Name != "near0.5" || again.Index != res.Index {
			t.Errorf("second time: %+v", again)
		}
	})
}

func TestVLANFailure(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.needs("vlan")
		before := w.state()
		cfg := Config{Name: "near0", VLAN: 5, VLANName: "storage", DHCP: true, DHCPTimeout: 50 * time.Millisecond, MTU: 2000}
		if _, err := w.up(cfg); err == nil || !strings.Contains(err.Error(), "storage: no address by DHCP") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
		if l := named("storage"); l != nil {
			t.Errorf("left behind: %+v", l)
		}

		cfg.KeepLink = true
		if _, err := w.up(cfg); err == nil {
			t.Error("no error")
		}
		l := named("storage")
		if l == nil || !l.up() || l.mtu != 2000 || l.vlan != 5 || l.kind != "vlan" {
			t.Errorf("%+v", l)
		}
		if s := w.state(); !s.Up || s.MTU != 2000 {
			t.Errorf("the link below: %+v", s)
		}
	})
}

func TestVLANNameTaken(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		_, err := w.up(Config{Name: "near0", VLAN: 5, VLANName: "lo"})
		if err == nil || !strings.Contains(err.Error(), "another interface has that name") {
			t.Errorf("error %v", err)
		}
		if w.state().Up {
			t.Error("the NIC was left up")
		}
	})
}

func TestVLANName(t *testing.T) {
	for parent, want := range map[string]string{"eth0": "eth0.4094", "enp65s0f1n": "enp65s0f1n.4094", "enp165s0f1d": "vlan4094"} {
		if got := vlanName(parent, 4094); got != want {
			t.Errorf("%s: %s, want %s", parent, got, want)
		}
	}
}

// What the kernel says of a VLAN with another name, byte by byte.
func TestParseVLAN(t *testing.T) {
	message := linkMessage(7).Serialize()
	prop := nl.NewRtAttr(unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, nil)
	prop.AddRtAttr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated("enp1s0.5"))
	for _, a := range append(vlanRequest(3, "eth0.5", 5).Data[1:], prop) {
		message = append(message, a.Serialize()...)
	}
	l, err := parseLink(message)
	if err != nil || l.name != "eth0.5" || l.index != 7 || l.lower != 3 || l.kind != "vlan" || l.vlan != 5 || !slices.Equal(l.alt, []string{"enp1s0.5"}) {
		t.Errorf("%+v, %v", l, err)
	}
	for n := 0; n < len(message); n += 4 { // cut short it may say less, and does no harm
		_, _ = parseLink(message[:n])
	}
}
