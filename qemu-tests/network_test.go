package qemutests

import (
	"fmt"
	"testing"
)

// far makes the far side of scripted networks, with a segment for each list of
// addresses.
func (s *scene) far(addresses ...[]string) *Far {
	s.t.Helper()
	far, err := StartFar(s.ctx, addresses...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(far.Close)
	return far
}

// cable plugs a NIC into a segment; see NewCable.
func (s *scene) cable(native *Segment, tagged map[uint16]*Segment) *Cable {
	s.t.Helper()
	c, err := NewCable(native, tagged)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// dnsmasq starts a DHCP server on the far side.
func (s *scene) dnsmasq(far *Far, options ...string) (stop func()) {
	s.t.Helper()
	stop, err := far.DNSMasq(s.ctx, s.dir, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(stop)
	return stop
}

// farTGT serves targets on the far side.
func (s *scene) farTGT(far *Far, targets ...Target) *TGT {
	s.t.Helper()
	tgt, err := far.TGT(s.ctx, s.dir, targets...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(tgt.Close)
	return tgt
}

const nearMAC = "52:54:00:00:01:00"

// TestWire boots over a scripted network, by DHCP from dnsmasq.
func TestWire(t *testing.T) {
	s := newScene(t)
	far := s.far([]string{"10.7.0.1/24"})
	s.dnsmasq(far, "--interface=net0", "--dhcp-range=10.7.0.100,10.7.0.200,255.255.255.0")
	s.farTGT(far, s.target())
	m := s.machine("ip=dhcp", "rd.iscsi.initiator="+initiatorName, fmt.Sprintf("netroot=iscsi:10.7.0.1:::1:%s", targetName))
	m.Net, m.Plugs = "none", []Plug{{Cable: s.cable(far.Segments[0], nil), MAC: nearMAC}}
	report, console := s.boot(m)
	if report == nil {
		t.Fatal(console)
	}
}
