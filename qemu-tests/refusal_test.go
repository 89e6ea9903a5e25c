package qemutests

import (
	"fmt"
	"testing"
)

func onlyOther(target *Target) { target.Initiator = initiatorName + ".other" }

// TestTargetRefusesLogin: what a target may have against us, and what the
// console says of it.
func TestTargetRefusesLogin(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(*scene, Target) uint16
		chap  bool
		spoil func(*Target)
		shows []string
	}{
		{"tgt-wants-CHAP", (*scene).tgt, true, func(*Target) {}, []string{"0201", "wants authentication", "netroot=iscsi:USER:SECRET@"}},
		{"LIO-other-initiator", (*scene).lio, false, onlyOther, []string{"0202", "this initiator", "plan: initiator"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			target := s.target()
			if c.chap {
				target = s.chapTarget(false)
			}
			c.spoil(&target)
			port := c.start(s, target)
			console := s.fail(s.machine(netroot("", port, target), iname, static, deadline))
			shows(t, console, append(c.shows, target.Name, "reboot: Power down")...)
		})
	}
}

func TestRedirect(t *testing.T) {
	s := newScene(t)
	target := s.target()
	port := s.tgt(target)
	moved := target
	moved.Redirect = fmt.Sprintf("%s:%d", HostAddress, port)
	first := newRedirector(s, moved)
	report, console := s.boot(s.machine(netroot("", first, target), iname, static))
	shows(t, console, fmt.Sprintf("sends us on to %s:%d", HostAddress, port))
	checkRoot(t, report, console, first, target)
}

// newRedirector is tgt in a folder of its own.
func newRedirector(s *scene, target Target) uint16 {
	s.t.Helper()
	tgt, err := StartTGT(s.ctx, s.t.TempDir(), target)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(tgt.Close)
	return uint16(tgt.Port)
}
