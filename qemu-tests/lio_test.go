package qemutests

import "testing"

func TestLIO(t *testing.T) {
	s := newScene(t)
	target := s.target()
	target.LUN = 0
	port := s.lio(target)
	report, console := s.boot(s.machine(netroot("", port, target), iname, static, "root=LABEL="+RootLabel))
	checkRoot(t, report, console, port, target)
}
