package qemutests

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/qemu-tests/cache"
)

// newSystem is newScene for a test that boots a whole distribution, which
// `make test-systems` runs, beside many others.
func newSystem(t *testing.T) *scene {
	t.Helper()
	wholeSystems(t)
	return makeScene(t, 3*limit)
}

// wholeSystems skips a test of what takes minutes, unless it is asked for.
func wholeSystems(t *testing.T) {
	t.Helper()
	if os.Getenv("ROOTLUN_SYSTEMS") == "" {
		t.Skip("boots a whole distribution: make test-systems")
	}
}

// system copies a root that scripts/systems made.
func (s *scene) system(name string) string {
	s.t.Helper()
	dir, err := cache.Dir()
	if err != nil {
		s.t.Fatal(err)
	}
	image := filepath.Join(s.dir, "root.img")
	if err := run(s.ctx, "cp", "--sparse=always", "--reflink=auto", filepath.Join(dir, "systems", name+".ext4"), image); err != nil {
		s.t.Fatal(err)
	}
	return image
}

// The networks that systems are booted by, and the parameters that they take.
// The firmware's table has a VLAN, and asks DHCP.
var systemNetworks = map[string]string{
	"DHCP":   "ip=dhcp",
	"static": "ip=10.7.0.50::10.7.0.1:24:node::none",
	"RA":     "ip=auto6",
	"DHCPv6": "ip=dhcp6",
	"bond":   "ip=bond0:dhcp bond=bond0:eth0,eth1:mode=active-backup,miimon=50,primary=eth1",
	"table":  "rd.iscsi.firmware",
}

// TestNetworkManagers boots systems each of whose network managers is to take
// the root's NIC over as it is.
func TestNetworkManagers(t *testing.T) {
	for _, row := range []struct {
		system     string
		network    string
		address    string // the root's connection comes from there, or from what begins so
		interfaces string // what the manager is to have
		more       string // parameters
	}{
		{"debian12-networkd", "DHCP", "10.7.0.1", "eth0", ""},
		{"debian12-networkd", "table", "10.7.0.1", "eth0 eth0.5", ""},
		{"debian12-networkd", "RA", slaac6, "eth0", ""},
		{"debian12-networkd", "DHCPv6", "fd07::177", "eth0", ""},
		{"debian12-networkd", "bond", "10.7.0.1", "eth0 eth1 bond0", ""},
		{"debian12-networkmanager", "DHCP", "10.7.0.1", "eth0", "rootlun.end=reboot"},
		{"debian12-networkmanager", "static", "10.7.0.50", "eth0", ""},
		{"debian12-networkmanager", "table", "10.7.0.1", "eth0 eth0.5", ""},
		{"debian12-networkmanager", "RA", slaac6, "eth0", ""},
		{"debian12-networkmanager", "DHCPv6", "fd07::177", "eth0", ""},
		{"debian12-networkmanager", "bond", "10.7.0.1", "eth0 eth1 bond0", ""},
		{"debian12-ifupdown", "DHCP", "10.7.0.1", "eth0", ""},
		{"debian13-networkd", "RA", slaac6, "eth0", ""},
	} {
		t.Run(row.system+"/"+row.network, func(t *testing.T) {
			s := newSystem(t)
			m := s.systemMachine(row.system, row.network)
			m.Cmdline = append(m.Cmdline, strings.Fields(row.more)...)
			end := "reboot: Power down"
			if strings.Contains(row.more, "end=reboot") {
				end = "reboot: Restarting system"
			}
			s.checkSystem(m, row.system, row.address, row.interfaces, end)
		})
	}
}

// checkSystem boots a system, and asserts that the root's connection, which comes
// from that address, is as it was when the network manager came, that this has those
// interfaces as its own, and that the console shows how the machine ended.
func (s *scene) checkSystem(m Machine, system, address, interfaces, end string) {
	s.t.Helper()
	t := s.t
	report, console := s.boot(m)
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			for _, name := range slices.Sorted(maps.Keys(report)) {
				t.Logf("%s\n%s", name, report[name])
			}
		}
	})
	for _, what := range []string{"tcp", "address", "carrier"} {
		early, late := report["early "+what], report["late "+what]
		if early == "" || early != late {
			t.Errorf("%s before the network manager:\n%safter it:\n%s", what, early, late)
		}
	}
	if tcp := strings.TrimPrefix(report.Text("late tcp"), "["); !strings.HasPrefix(tcp, address) {
		t.Errorf("the root's connection is not from %s: %s", address, tcp)
	}
	for name := range strings.FieldsSeq(interfaces) {
		if !managed(report, system, name) {
			t.Errorf("the network manager does not have %s", name)
		}
	}
	if state := report.Text("$ systemctl is-system-running"); state != "running" {
		t.Errorf("the system is %q:\n%s", state, report["$ systemctl --failed --no-legend --plain"])
	}
	if errors := report["$ dmesg --level=err,crit,alert,emerg"]; strings.Contains(errors, "I/O error") || strings.Contains(errors, "EXT4-fs error") {
		t.Error(errors)
	}
	if !strings.Contains(console, end) {
		t.Errorf("the machine did not end by %q; the last lines of its console:\n%s", end, tail(console, 20))
	}
}

// systemMachine returns a machine whose root is that system, on one of the
// systemNetworks.
func (s *scene) systemMachine(system, network string) Machine {
	s.t.Helper()
	far := s.far([]string{"10.7.0.1/24", "fe80::1/64", "fd07::1/64"})
	target := Target{Name: targetName, Image: s.system(system), LUN: 1}
	s.farTGT(far, target)
	portal := "10.7.0.1"
	switch network {
	case "RA":
		s.dnsmasq(far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::,ra-only,64")
		portal = "[fd07::1]"
	case "DHCPv6":
		s.dnsmasq(far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::100,fd07::1ff,64", "--dhcp-host="+nearMAC+",[fd07::177]")
		portal = "[fd07::1]"
	default:
		s.dnsmasq(far, "--interface=net0", dhcpRange)
	}
	parameters := append(strings.Fields(systemNetworks[network]), "root=LABEL="+RootLabel, "rw", "systemd.show_status=1", "quiet")
	if network == "table" {
		table := s.wireTable(target, ibft.OriginDHCP, "")
		table.NICs[0].VLAN = 5
		return s.byTable(s.cable(nil, map[uint16]*Segment{5: far.Segments[0]}), table, parameters...)
	}
	m := s.wired(s.cable(far.Segments[0], nil), append(parameters, "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:"+portal+":::1:"+targetName)...)
	if network == "bond" {
		m.Initrd = s.bondImage()
		m.Plugs = append(m.Plugs, Plug{Cable: s.cable(far.Segments[0], nil), MAC: "52:54:00:00:01:01"})
	}
	return m
}

// managed says whether the system's network manager has an interface as its own.
func managed(report Report, system, name string) bool {
	switch {
	case strings.HasSuffix(system, "networkd"):
		for line := range strings.Lines(report["$ networkctl --no-pager --no-legend"]) {
			if f := strings.Fields(line); len(f) > 4 && f[1] == name && f[4] == "configured" {
				return true
			}
		}
		return false
	case strings.HasSuffix(system, "networkmanager"):
		return strings.Contains("\n"+report["$ nmcli -t -f DEVICE,STATE,CONNECTION device"], "\n"+name+":connected:rootlun-"+name+"\n")
	}
	return strings.Contains(report["/run/network/ifstate"], name+"="+name+"\n")
}
