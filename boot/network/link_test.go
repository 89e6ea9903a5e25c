package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestStatic(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		res := w.mustUp(Config{Name: "near0", MTU: 1400, Address: []netip.Prefix{prefix("10.9.0.2/24")},
			Gateway: addr("10.9.0.1"), Hostname: "node1", Peers: []netip.Addr{addr("192.0.2.1")}})
		want := &Result{Name: "near0", Index: res.Index, MAC: must(net.ParseMAC("52:54:00:00:00:01")), Driver: "virtio_net",
			MTU: 1400, Address: []netip.Prefix{prefix("10.9.0.2/24")}, Gateway: addr("10.9.0.1"), Hostname: "node1",
			Routes: []Route{{prefix("0.0.0.0/0"), addr("10.9.0.1")}}}
		if d := cmp.Diff(want, res, compareAddr); d != "" {
			t.Errorf("result (-want +got):\n%s", d)
		}
		if d := cmp.Diff(state{Up: true, MTU: 1400, Addresses: []string{"10.9.0.2/24"},
			Routes: []string{"default via 10.9.0.1", "10.9.0.0/24"}}, w.state()); d != "" {
			t.Errorf("NIC (-want +got):\n%s", d)
		}
		ping(t, "10.9.0.1")
	})
}

// What is configured already stays, though other values are asked for.
func TestConfiguredIsKept(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		cfg := Config{Name: "near0", Address: []netip.Prefix{prefix("10.9.0.2/24")}, Gateway: addr("10.9.0.1")}
		w.mustUp(cfg)
		before := w.state()
		cfg.MTU, cfg.Gateway, cfg.Peers = 1400, addr("10.9.0.7"), []netip.Addr{addr("192.0.2.1")}
		res := w.mustUp(cfg)
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
		if res.MTU != 1500 || len(res.Address) != 1 || res.Address[0] != cfg.Address[0] {
			t.Errorf("result %+v", res)
		}
		if !w.log.said("left as it is") {
			t.Error("no line says so")
		}
	})
}

// A NIC that has its address but no route to the peer gets the route.
func TestConfiguredWithoutRoute(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		cfg := Config{Name: "near0", Address: []netip.Prefix{prefix("10.9.0.2/24")}}
		w.mustUp(cfg)
		cfg.Gateway, cfg.Peers = addr("10.9.0.1"), []netip.Addr{addr("192.0.2.1")}
		w.mustUp(cfg)
		if d := cmp.Diff([]string{"default via 10.9.0.1", "10.9.0.0/24"}, w.state().Routes); d != "" {
			t.Errorf("routes (-want +got):\n%s", d)
		}
	})
}

func TestCarrierComesLate(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.farDown()
		w.log.onWait = func(what string) { w.farUp() }
		w.mustUp(Config{Name: "near0", Address: []netip.Prefix{prefix("10.9.0.2/24")}})
		if d := cmp.Diff([]string{"link on near0"}, w.log.waits); d != "" {
			t.Errorf("waits (-want +got):\n%s", d)
		}
		ping(t, "10.9.0.1")
	})
}

func TestNoCarrier(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.farDown()
		before := w.state()
		_, err := w.up(Config{Name: "near0", MTU: 1400, Address: []netip.Prefix{prefix("10.9.0.2/24")}, LinkTimeout: 50 * time.Millisecond})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "near0 (virtio_net): no link within 0 s; check the cable") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

func TestCallerGivesUp(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.farDown()
		before := w.state()
		ctx, cancel := context.WithCancel(context.Background())
		w.log.onWait = func(string) { cancel() }
		_, err := w.host.up(ctx, Config{Name: "near0"}, w.log)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

func TestRefusedMTU(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		before := w.state()
		_, err := w.up(Config{Name: "near0", MTU: 10, Address: []netip.Prefix{prefix("10.9.0.2/24")}})
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "cannot have MTU 10") {
			t.Errorf("error %v", err)
		}
		if d := cmp.Diff(before, w.state()); d != "" {
			t.Errorf("NIC (-before +after):\n%s", d)
		}
	})
}

func TestDeviceComesLate(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		mac := "52:54:00:00:00:02"
		w.hardware("usb0", "cdc_ether")
		w.log.onWait = func(what string) {
			if strings.Contains(what, mac) {
				w.cable("usb0", "far1", mac)
				w.far.do(func() { w.check(netlink.LinkSetUp(must(netlink.LinkByName("far1")))) })
			}
		}
		res := w.mustUp(Config{MAC: must(net.ParseMAC(mac)), Address: []netip.Prefix{prefix("10.9.1.2/24")}})
		if res.Name != "usb0" || res.Driver != "cdc_ether" {
			t.Errorf("result %+v", res)
		}
	})
}

func TestDeviceAbsent(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		for _, cfg := range []Config{{Name: "eth7"}, {MAC: must(net.ParseMAC("52:54:00:00:00:99"))}} {
			cfg.FindTimeout = 50 * time.Millisecond
			_, err := w.up(cfg)
			if !errors.Is(err, context.DeadlineExceeded) ||
				!strings.Contains(err.Error(), "did not appear within 0 s; present: near0 52:54:00:00:00:01 (virtio_net)") {
				t.Errorf("error %v", err)
			}
		}
	})
}

// A bridge has the MAC of its port, and the port is no NIC to configure any more.
func TestBridgeAndItsPort(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "br0"
		w.check(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
		w.check(netlink.LinkSetMaster(must(netlink.LinkByName("near0")), must(netlink.LinkByName("br0"))))
		_, err := w.up(Config{MAC: must(net.ParseMAC("52:54:00:00:00:01")), FindTimeout: 50 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "near0 52:54:00:00:00:01 (virtio_net), part of br0") {
			t.Errorf("error %v", err)
		}
	})
}

// An event between the first look and the wait is not lost.
func TestAwaitLosesNothing(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		looks := 0
		err := await(context.Background(), w.log, "x", 20*time.Second, func() (bool, error) {
			if looks++; looks == 1 {
				w.check(netlink.LinkSetMTU(must(netlink.LinkByName("near0")), 1400))
				return false, nil
			}
			return true, nil
		})
		if err != nil || looks != 2 {
			t.Errorf("%d looks, error %v", looks, err)
		}
	})
}

// More events than the socket holds (ENOBUFS) are a reason to look again.
func TestAwaitOverrun(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		l := must(netlink.LinkByName("near0"))
		w.log.onWait = func(string) {
			for i := range 3000 {
				w.check(netlink.LinkSetMTU(l, 1400+i%2))
			}
		}
		looks := 0
		err := await(context.Background(), w.log, "x", 20*time.Second, func() (bool, error) {
			looks++
			return looks > 1, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func named(name string) *link { return linkNamed(must(listLinks()), name) }

func pointers(links []link) (list []*link) {
	for i := range links {
		list = append(list, &links[i])
	}
	return list
}

func TestChoose(t *testing.T) {
	mac := func(s string) net.HardwareAddr { return must(net.ParseMAC(s)) }
	eth0 := link{name: "eth0", index: 2, mac: mac("52:54:00:00:00:01"), ethernet: true}
	eth1 := link{name: "eth1", index: 3, mac: mac("52:54:00:00:00:02"), ethernet: true}
	twin := link{name: "eth2", index: 4, mac: mac("52:54:00:00:00:01"), ethernet: true}
	moved := link{name: "eth3", index: 5, mac: mac("02:00:00:00:00:09"), permanent: mac("52:54:00:00:00:05"), ethernet: true}
	slave := link{name: "eth4", index: 6, mac: eth0.mac, master: 2, ethernet: true}
	vlan := link{name: "eth0.7", index: 7, mac: eth0.mac, ethernet: true}
	wlan := link{name: "wlan0", index: 8, mac: mac("52:54:00:00:00:08"), ethernet: true}
	ib := link{name: "ib0", index: 9, mac: mac("52:54:00:00:00:0a")}
	lo := link{name: "lo", index: 1}

	h := host{sysfs: t.TempDir()}
	for _, name := range []string{"eth0", "eth1", "eth2", "eth3", "eth4", "wlan0", "wlan0/phy80211", "ib0"} {
		fakeDevice(t, h.sysfs, name, "e1000e")
	}
	for _, test := range []struct {
		name  string
		cfg   Config
		links []link
		want  string // name, or part of the error
	}{
		{"name", Config{Name: "eth1"}, []link{lo, eth0, eth1}, "eth1"},
		{"name wins over MAC", Config{Name: "eth1", MAC: eth0.mac}, []link{lo, eth0, eth1}, "eth1"},
		{"name of no hardware", Config{Name: "eth0.7"}, []link{lo, eth0, vlan}, "eth0.7"},
		{"MAC", Config{MAC: eth1.mac}, []link{lo, eth0, eth1}, "eth1"},
		{"permanent MAC", Config{MAC: moved.permanent}, []link{lo, eth0, moved}, "eth3"},
		{"MAC and its VLAN", Config{MAC: eth0.mac}, []link{lo, vlan, eth0}, "eth0"},
		{"MAC of a pair under one NIC", Config{MAC: eth0.mac}, []link{lo, slave, eth0}, "eth0"},
		{"MAC twice", Config{MAC: eth0.mac}, []link{lo, eth0, twin},
			"more than one: eth0 52:54:00:00:00:01 (e1000e); eth2 52:54:00:00:00:01 (e1000e); name"},
		{"MAC absent", Config{MAC: mac("52:54:00:00:00:99")}, []link{lo, eth0}, ""},
		{"only one", Config{}, []link{lo, eth0, vlan, wlan, ib}, "eth0"},
		{"none", Config{}, []link{lo, wlan, ib}, ""},
		{"several", Config{}, []link{lo, eth0, eth1}, "more than one: eth0 52:54:00:00:00:01 (e1000e); eth1 52:54:00:00:00:02 (e1000e); name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := h.choose(&test.cfg, pointers(test.links))
			switch {
			case err != nil:
				if !strings.HasPrefix(test.want, "more than one") || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
			case got == nil:
				if test.want != "" {
					t.Errorf("nothing chosen, want %s", test.want)
				}
			case got.name != test.want:
				t.Errorf("chose %s, want %q", got.name, test.want)
			}
		})
	}
}

// The carrier alone does when the link had it before it was set up.
func TestReady(t *testing.T) {
	for _, test := range []struct {
		name        string
		before, now link
		want        bool
	}{
		{"carrier all the time", link{carrier: true, changes: 1}, link{carrier: true, changes: 1}, true},
		{"carrier came since", link{changes: 1}, link{carrier: true, changes: 2}, false},
		{"carrier went and came back", link{carrier: true, changes: 1}, link{carrier: true, changes: 3}, false},
		{"carrier went", link{carrier: true, changes: 1}, link{changes: 2}, false},
		{"no carrier", link{}, link{}, false},
	} {
		if got := test.before.ready(&test.now); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

// With KeepLink a failure undoes what is beside the link alone, and the next
// attempt finds the link up.
func TestKeepLink(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		cfg := Config{Name: "near0", MTU: 1400, KeepLink: true, Address: []netip.Prefix{prefix("10.9.0.2/24"), prefix("fd09::2/64")},
			SetMAC: must(net.ParseMAC("02:00:00:00:00:07")), Gateway: addr("fd09::2")}
		if _, err := w.up(cfg); err == nil {
			t.Fatal("no error")
		}
		if d := cmp.Diff(state{Up: true, MTU: 1400}, w.state()); d != "" {
			t.Errorf("NIC (-want +got):\n%s", d)
		}
		before := must(getLink(named("near0").index))
		cfg.Gateway = addr("fd09::1")
		res := w.mustUp(cfg)
		if after := must(getLink(res.Index)); after.changes != before.changes {
			t.Errorf("the carrier went and came back: %d, then %d", before.changes, after.changes)
		}
		if res.MAC.String() != "02:00:00:00:00:07" {
			t.Errorf("MAC %s", res.MAC)
		}
		ping(t, "10.9.0.1")
	})
}

func TestSetMAC(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		cfg := Config{Name: "near0", SetMAC: must(net.ParseMAC("02:00:00:00:00:07")), DHCP: true, DHCPTimeout: 50 * time.Millisecond}
		if _, err := w.up(cfg); err == nil {
			t.Fatal("no error")
		}
		if l := named("near0"); l.mac.String() != "52:54:00:00:00:01" || l.up() {
			t.Errorf("left behind: %+v", l)
		}
		w.dnsmasq(dhcpRange, "--dhcp-host=id:01:02:00:00:00:00:07,10.9.0.57")
		cfg.DHCPTimeout = 0
		if res := w.mustUp(cfg); res.MAC.String() != "02:00:00:00:00:07" || res.Address[0] != prefix("10.9.0.57/24") {
			t.Errorf("result %+v", res)
		}
		cfg = Config{Name: "near0", SetMAC: must(net.ParseMAC("01:00:00:00:00:07"))}
		if _, err := w.up(cfg); err == nil || !strings.Contains(err.Error(), "cannot have MAC 01:00:00:00:00:07") {
			t.Errorf("error %v", err)
		}
	})
}
