package qemutests

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newSystem is newScene for a test that boots a whole distribution, which
// `make test-systems` runs.
func newSystem(t *testing.T) *scene {
	t.Helper()
	if os.Getenv("ROOTLUN_SYSTEMS") == "" {
		t.Skip("boots a whole distribution: make test-systems")
	}
	return newScene(t)
}

// system copies a root that scripts/systems made.
func (s *scene) system(name string) string {
	s.t.Helper()
	cache, err := cacheDir()
	if err != nil {
		s.t.Fatal(err)
	}
	image := filepath.Join(s.dir, "root.img")
	if err := run(s.ctx, "cp", "--sparse=always", "--reflink=auto", filepath.Join(cache, "systems", name+".ext4"), image); err != nil {
		s.t.Fatal(err)
	}
	return image
}

// TestNetworkManagers boots systems each of whose network managers is to take
// the root's NIC over as it is.
func TestNetworkManagers(t *testing.T) {
	for _, row := range []struct {
		name, system string
		manager      string // the entry that shows that the manager has the NIC
		managed      string // what it holds then
		parameters   string
	}{
		{"Debian 12 with networkd by DHCP", "debian12-networkd", "$ networkctl --no-pager --no-legend", "configured", "ip=dhcp"},
		{"Debian 12 with NetworkManager by DHCP", "debian12-networkmanager", "$ nmcli -t -f DEVICE,STATE,CONNECTION device", ":connected:rootlun-eth0", "ip=dhcp"},
		{"Debian 12 with ifupdown by DHCP", "debian12-ifupdown", "/run/network/ifstate", "eth0=eth0", "ip=dhcp"},
		{"Debian 13 with networkd by DHCP", "debian13-networkd", "$ networkctl --no-pager --no-legend", "configured", "ip=dhcp"},
		{"Debian 12 with networkd at a static address", "debian12-networkd", "$ networkctl --no-pager --no-legend", "configured", "ip=10.7.0.50::10.7.0.1:24:node::none"},
		{"Debian 12 with NetworkManager at a static address", "debian12-networkmanager", "$ nmcli -t -f DEVICE,STATE,CONNECTION device", ":connected:rootlun-eth0", "ip=10.7.0.50::10.7.0.1:24:node::none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSystem(t)
			far := s.far([]string{"10.7.0.1/24"})
			s.dnsmasq(far, "--interface=net0", "--dhcp-range=10.7.0.100,10.7.0.200,255.255.255.0,1h")
			s.farTGT(far, Target{Name: targetName, Image: s.system(row.system), LUN: 1})
			m := s.machine("rd.iscsi.initiator="+initiatorName, "netroot=iscsi:10.7.0.1:::1:"+targetName,
				"root=LABEL="+RootLabel, "rw", "systemd.show_status=1", "quiet")
			m.Cmdline = append(m.Cmdline, strings.Fields(row.parameters)...)
			m.Net, m.Plugs = "none", []Plug{{Cable: s.cable(far.Segments[0], nil), MAC: nearMAC}}
			report, console := s.boot(m)
			for _, what := range []string{"tcp", "address"} {
				early, late := report["early "+what], report["late "+what]
				if early == "" || early != late {
					t.Errorf("%s before the network manager:\n%safter it:\n%s", what, early, late)
				}
			}
			if got := report[row.manager]; !strings.Contains(got, row.managed) {
				t.Errorf("%s shows no %q:\n%s", row.manager, row.managed, got)
			}
			if state := report.Text("$ systemctl is-system-running"); state != "running" {
				t.Errorf("the system is %q:\n%s", state, report["$ systemctl --failed --no-legend --plain"])
			}
			if errors := report["$ dmesg --level=err,crit,alert,emerg"]; strings.Contains(errors, "I/O error") || strings.Contains(errors, "EXT4-fs error") {
				t.Error(errors)
			}
			if !strings.Contains(console, "reboot: Power down") {
				t.Errorf("the machine did not power off; the last lines of its console:\n%s", tail(console, 20))
			}
			if testing.Verbose() {
				for _, name := range slices.Sorted(maps.Keys(report)) {
					t.Logf("%s\n%s", name, report[name])
				}
			}
		})
	}
}
