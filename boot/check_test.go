package boot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/targettest"
)

// checkPlan has one NIC, and a target at the portal of each that is given.
func checkPlan(t *testing.T, portals ...string) *fw.Plan {
	t.Helper()
	plan := &fw.Plan{
		Initiator: fw.Initiator{Name: targettest.InitiatorName},
		NICs:      []fw.NIC{{Index: 0, MAC: "52:54:00:12:34:56", PCI: "0000:00:03.0", DHCP: true}},
	}
	for _, p := range portals {
		at, err := netip.ParseAddrPort(p)
		if err != nil {
			t.Fatal(err)
		}
		plan.Targets = append(plan.Targets, fw.Target{Name: targettest.TargetName, Host: at.Addr().String(), Port: at.Port()})
	}
	return plan
}

// wellChecker is of a machine on which all is well; the way to a target is real.
func wellChecker(plan *fw.Plan) *checker {
	return &checker{
		plan: plan,
		fsys: fstest.MapFS{"proc/filesystems": {Data: []byte("nodev\tsysfs\n\text4\n")}},
		where: func(name string) string {
			return map[string]string{"iscsi_tcp": "/lib/modules/6/iscsi_tcp.ko", "sd_mod": "built in", "fs-xfs": "/lib/modules/6/xfs.ko", "pci:v1": "/lib/modules/6/e1000.ko"}[name]
		},
		look: func(network.Config) (*network.State, error) {
			return &network.State{Name: "eth0", MAC: "52:54:00:12:34:56", Driver: "e1000", MTU: 1500, Up: true, Carrier: true}, nil
		},
		route:   func(a netip.Addr) (string, netip.Addr, error) { return "lo", netip.Addr{}, nil },
		connect: session.Connect, discover: session.Discover,
	}
}

func verdictLines(list verdicts) (lines []string) {
	for _, v := range list {
		lines = append(lines, fmt.Sprintf("%s %s: %s", v.Result, v.What, v.Text))
	}
	return lines
}

func TestCheckAllWell(t *testing.T) {
	one, two := targettest.New(t, targettest.Config{}), targettest.New(t, targettest.Config{Username: "me", Secret: "secret"})
	plan := checkPlan(t, one.Addr(), two.Addr())
	plan.Targets[1].CHAP = &fw.CHAP{Username: "me", Password: "secret"}
	plan.Root = fw.Root{Device: "LABEL=root", FSType: "xfs"}
	got := verdictLines(wellChecker(plan).all(t.Context()))
	want := []string{
		"ok NIC 52:54:00:12:34:56: eth0, 52:54:00:12:34:56",
		"ok link of eth0: up, MTU 1500",
		"ok driver of eth0: e1000, built in",
		"ok module iscsi_tcp: /lib/modules/6/iscsi_tcp.ko",
		"ok module sd_mod: built in",
		"ok file system xfs: /lib/modules/6/xfs.ko",
	}
	for _, portal := range []string{one.Addr(), two.Addr()} {
		want = append(want, "ok route to 127.0.0.1: by lo, on its link", "ok portal "+portal+": it takes connections",
			"ok target "+targettest.TargetName+": on its portal's list")
	}
	want = append(want, "ok root: LABEL=root")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, target := range []*targettest.Target{one, two} {
		for _, m := range target.Logins() {
			if !strings.Contains(string(m.Data), "SessionType=Discovery") && strings.Contains(string(m.Data), "InitiatorName") {
				t.Errorf("a normal session was tried: %q", m.Data)
			}
		}
	}
}

func TestCheckFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		target  targettest.Config
		edit    func(c *checker)
		want    []string // one line each has to hold, but for the ok ones
		without string   // no line has
	}{
		"no NIC": {edit: func(c *checker) {
			c.look = func(network.Config) (*network.State, error) {
				return nil, &network.Error{NIC: "NIC with MAC 52:54:00:12:34:56", Message: "is not there; present: none"}
			}
			c.fsys = fstest.MapFS{"sys/bus/pci/devices/0000:00:03.0/modalias": {Data: []byte("pci:v1\n")}}
		}, want: []string{"fail NIC 52:54:00:12:34:56: NIC with MAC 52:54:00:12:34:56: is not there; present: none; the device at 0000:00:03.0 has no driver, which would be /lib/modules/6/e1000.ko"}},
		"no driver at all": {edit: func(c *checker) {
			c.look = func(network.Config) (*network.State, error) { return nil, errors.New("gone") }
			c.fsys = fstest.MapFS{"sys/bus/pci/devices/0000:00:03.0/modalias": {Data: []byte("pci:v2\n")}}
		}, want: []string{"has no driver, and no module is for it"}},
		"no link": {edit: func(c *checker) {
			c.look = func(network.Config) (*network.State, error) { return &network.State{Name: "eth0", Up: true}, nil }
		}, want: []string{"fail link of eth0: there is none; check the cable"}},
		"down": {edit: func(c *checker) {
			c.look = func(network.Config) (*network.State, error) { return &network.State{Name: "eth0"}, nil }
		}, want: []string{"skip link of eth0: the NIC is down"}},
		"no module": {edit: func(c *checker) { c.where = func(string) string { return "" }; c.plan.Root.FSType = "btrfs" },
			want: []string{"fail module iscsi_tcp", "fail module sd_mod", "fail file system btrfs: fs-btrfs is neither"}},
		"no route": {edit: func(c *checker) {
			c.route = func(netip.Addr) (string, netip.Addr, error) { return "", netip.Addr{}, unix.ENETUNREACH }
		}, want: []string{"fail route to 127.0.0.1: none: network is unreachable", "skip portal 127.0.0.1", "skip target"}},
		"closed port": {edit: func(c *checker) { c.plan.Targets[0].Port = 1 },
			want: []string{"fail portal 127.0.0.1:1: connection refused; check that the target runs", "skip target"}},
		"not listed": {target: targettest.Config{TargetName: "iqn.2026-01.net.example:other"},
			want: []string{"fail target " + targettest.TargetName + ": not on its portal's list, which has iqn.2026-01.net.example:other; check the name, and that the target lets " + targettest.InitiatorName + " in"}},
		"no discovery":   {target: targettest.Config{Script: targettest.Refuse(0x0209)}, want: []string{"skip target " + targettest.TargetName + ": the portal does not list"}},
		"busy":           {target: targettest.Config{Script: targettest.Refuse(0x0301)}, want: []string{"fail target " + targettest.TargetName}},
		"wants a secret": {target: targettest.Config{Username: "me", Secret: "hunter-two"}, want: []string{"skip target"}},
		"wrong secret": {target: targettest.Config{Username: "me", Secret: "hunter-two"}, want: []string{"skip target"}, without: "hunter-three",
			edit: func(c *checker) { c.plan.Targets[0].CHAP = &fw.CHAP{Username: "me", Password: "hunter-three"} }},
		"a secret for discovery": {target: targettest.Config{Username: "me", Secret: "hunter-two"},
			edit: func(c *checker) { c.plan.Credentials.Discovery = fw.CHAP{Username: "me", Password: "hunter-two"} }},
		"elsewhere": {target: targettest.Config{Portals: []string{"192.0.2.9:3260,1"}}},
		"a name": {edit: func(c *checker) {
			c.plan.Targets[0].Host = "storage.example"
			c.fsys = fstest.MapFS{"proc/filesystems": {}, "etc/hosts": {Data: []byte("127.0.0.1 storage.example\n")}}
		}},
		"an unknown name": {edit: func(c *checker) { c.plan.Targets[0].Host = "storage.example" },
			want: []string{"fail portal's name: storage.example: no name server is known", "skip portal storage.example:", "skip target " + targettest.TargetName}},
		"the only one there": {edit: func(c *checker) { c.plan.Targets[0].Name = "" }},
		"one of two": {edit: func(c *checker) {
			c.plan.Targets[0].Name = ""
			c.discover = func(context.Context, session.Config) ([]session.TargetRecord, error) {
				return []session.TargetRecord{{Name: "iqn.x:a"}, {Name: "iqn.x:b"}}, nil
			}
		}, want: []string{"fail target (the only one there): not on its portal's list, which has iqn.x:a, iqn.x:b"}},
		"a session is there": {edit: func(c *checker) { c.plan.Targets[0].Session = "session1" }},
		"DHCP is to name it": {edit: func(c *checker) { c.plan.AskDHCP, c.plan.Targets = "root=dhcp", nil }, want: []string{"skip target: root=dhcp: DHCP names it"}},
		"cancelled": {target: targettest.Config{Script: targettest.Stall()}, edit: func(c *checker) {
			discover := c.discover
			c.discover = func(ctx context.Context, cfg session.Config) ([]session.TargetRecord, error) {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return discover(ctx, cfg)
			}
		}, want: []string{"fail target"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := wellChecker(checkPlan(t, targettest.New(t, tt.target).Addr()))
			if tt.edit != nil {
				tt.edit(c)
			}
			var bad []string
			lines := verdictLines(c.all(t.Context()))
			for _, l := range lines {
				if !strings.HasPrefix(l, "ok ") {
					bad = append(bad, l)
				}
				if tt.without != "" && strings.Contains(l, tt.without) {
					t.Errorf("a secret: %s", l)
				}
			}
			if len(bad) != len(tt.want) {
				t.Fatalf("got %d lines that are not ok, want %d:\n%s", len(bad), len(tt.want), strings.Join(lines, "\n"))
			}
			for i, want := range tt.want {
				if !strings.Contains(bad[i], want) {
					t.Errorf("got  %s\nwant %s", bad[i], want)
				}
			}
		})
	}
}

// TestCheckLooksHere runs against the machine of the test: whatever it has, each
// verdict says something, and a NIC that is nowhere fails.
func TestCheckLooksHere(t *testing.T) {
	plan := checkPlan(t, targettest.New(t, targettest.Config{}).Addr())
	plan.NICs[0] = fw.NIC{Index: -1, MAC: "02:00:00:00:00:fe"}
	found := map[string]string{}
	for _, v := range Check(t.Context(), plan) {
		found[v.What] = v.Result
		if v.Result == "" || v.Text == "" {
			t.Errorf("%+v", v)
		}
	}
	if found["NIC 02:00:00:00:00:fe"] != "fail" || found["target "+targettest.TargetName] != "ok" || found["route to 127.0.0.1"] != "ok" {
		t.Errorf("%v", found)
	}
}
