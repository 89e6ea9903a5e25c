package qemutests

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/ibft"
)

// twoPaths is a table with two NICs and one target's portal by each.
func (s *scene) twoPaths(target Target, address, portal [2]string) ibft.Table {
	table := s.wireTable(target, ibft.OriginStatic, address[0])
	table.NICs, table.Targets = append(table.NICs, table.NICs[0]), append(table.Targets, table.Targets[0])
	for i := range 2 {
		mac, _ := net.ParseMAC(plugMACs[i])
		p := netip.MustParsePrefix(address[i])
		table.NICs[i].Index, table.NICs[i].MAC, table.NICs[i].IP, table.NICs[i].PrefixLen = uint8(i), [6]byte(mac), p.Addr(), p.Bits()
		table.NICs[i].Gateway = netip.Addr{}
		table.Targets[i].Index, table.Targets[i].NIC, table.Targets[i].IP = uint8(i), uint8(i), netip.MustParseAddr(portal[i])
	}
	return table
}

var plugMACs = [2]string{nearMAC, "52:54:00:00:01:01"}

// count counts the machine's TCP segments to an iSCSI portal that go by a cable.
func count(c *Cable) *atomic.Int64 {
	n := new(atomic.Int64)
	c.Filter(func(f Frame) bool {
		ip := f.Data[14:]
		if !f.ToGuest && f.EtherType() == unix.ETH_P_IP && len(ip) >= 40 && ip[9] == unix.IPPROTO_TCP && binary.BigEndian.Uint16(ip[22:]) == 3260 {
			n.Add(1)
		}
		return true
	})
	return n
}

// statePaths are the paths of the booted system's state.
func statePaths(t *testing.T, report Report) []handoff.Path {
	t.Helper()
	var state struct {
		Paths []handoff.Path `json:"paths"`
	}
	if err := json.Unmarshal([]byte(report["/run/rootlun/state.json"]), &state); err != nil {
		t.Fatal(err)
	}
	return state.Paths
}

// TestMultipath: each path of the table leaves by its own NIC, in two subnets,
// in one, and where both lead to one portal.
func TestMultipath(t *testing.T) {
	for _, tt := range []struct {
		name            string
		far             [][]string // the addresses of the segments
		address, portal [2]string
	}{
		{"two subnets", [][]string{{"10.7.0.1/24"}, {"10.8.0.1/24"}}, [2]string{"10.7.0.9/24", "10.8.0.9/24"}, [2]string{"10.7.0.1", "10.8.0.1"}},
		{"one subnet", [][]string{{"10.7.0.1/24", "10.7.0.2/24"}}, [2]string{"10.7.0.9/24", "10.7.0.10/24"}, [2]string{"10.7.0.1", "10.7.0.2"}},
		{"one portal", [][]string{{"10.7.0.1/24"}}, [2]string{"10.7.0.9/24", "10.7.0.10/24"}, [2]string{"10.7.0.1", "10.7.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			far := s.far(tt.far...)
			target := s.target()
			s.farTGT(far, target)
			m := s.byTable(s.cable(far.Segments[0], nil), s.twoPaths(target, tt.address, tt.portal))
			other := s.cable(far.Segments[len(far.Segments)-1], nil)
			m.Plugs = append(m.Plugs, Plug{Cable: other, MAC: plugMACs[1]})
			sent := [2]*atomic.Int64{count(m.Plugs[0].Cable), count(other)}
			report, console := s.boot(m)
			paths := statePaths(t, report)
			if len(paths) != 2 || paths[0].Disk == "" || paths[1].Disk == "" || paths[0].NIC == paths[1].NIC {
				t.Fatalf("paths %+v; the end of the console:\n%s", paths, tail(console, 30))
			}
			for i, n := range sent {
				if n.Load() < 10 { // a login and a scan are more
					t.Errorf("by cable %d went %d segments to a portal", i, n.Load())
				}
			}
		})
	}
}

// TestDeadPath: the root is there by the one path, whichever the other one is
// that is dead: without carrier, or with a silent network.
func TestDeadPath(t *testing.T) {
	for _, tt := range []struct {
		name   string
		dead   int
		silent bool
	}{
		{"no carrier on the first", 0, false},
		{"no carrier on the second", 1, false},
		{"the first is silent", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			far := s.far([]string{"10.7.0.1/24"}, []string{"10.8.0.1/24"})
			target := s.target()
			s.farTGT(far, target)
			m := s.byTable(s.cable(far.Segments[0], nil), s.twoPaths(target, [2]string{"10.7.0.9/24", "10.8.0.9/24"}, [2]string{"10.7.0.1", "10.8.0.1"}))
			m.Plugs = append(m.Plugs, Plug{Cable: s.cable(far.Segments[1], nil), MAC: plugMACs[1]})
			m.Plugs[tt.dead].Down = !tt.silent
			if tt.silent {
				m.Plugs[tt.dead].Cable.Filter(func(Frame) bool { return false })
			}
			report, console := s.boot(m)
			paths := statePaths(t, report)
			if len(paths) != 2 || paths[tt.dead].Disk != "" || paths[1-tt.dead].Disk == "" {
				t.Errorf("paths %+v", paths)
			}
			shows(t, console, "is not there; the next system has to log in")
			if n := len(report.Match("/sys/class/iscsi_session/*/targetname")); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// TestWhicheverNIC: ip=dhcp on a machine with three NICs, of which one leads
// anywhere.
func TestWhicheverNIC(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"}, []string{"10.8.0.1/24"})
	s.farTGT(far, s.target())
	s.dnsmasq(far, "--interface=net0", dhcpRange)
	m := s.wired(s.cable(far.Segments[1], nil), "ip=dhcp", "rd.iscsi.initiator="+initiatorName, "netroot=iscsi:10.7.0.1:::1:"+targetName)
	m.Plugs = append(m.Plugs,
		Plug{Cable: s.cable(far.Segments[0], nil), MAC: plugMACs[1]},
		Plug{Cable: s.cable(far.Segments[1], nil), MAC: "52:54:00:00:01:02", Down: true})
	report, console := s.boot(m)
	shows(t, console, "no source names the NIC, and there are 3: eth0, eth1, eth2 are all tried")
	if !bytes.Contains([]byte(report["$ ip address"]), []byte("10.7.0.")) {
		t.Errorf("addresses:\n%s", report["$ ip address"])
	}
	for _, nic := range []string{"eth0", "eth1", "eth2"} {
		mac, state := report.Text("/sys/class/net/"+nic+"/address"), report.Text("/sys/class/net/"+nic+"/operstate")
		if (mac == plugMACs[1]) != (state == "up") {
			t.Errorf("%s, %s, is %q", nic, mac, state)
		}
	}
}
