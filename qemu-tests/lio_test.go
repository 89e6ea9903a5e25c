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

// TestStrictLIO asks for all that a target can ask for at once: a known
// initiator, mutual CHAP by SHA3, digests; and its LUN has two bytes.
func TestStrictLIO(t *testing.T) {
	s := newScene(t)
	target := s.chapTarget(true)
	target.LUN, target.Initiator, target.Digest = 16385, initiatorName, "CRC32C"
	port := s.lio(target)
	m := s.machine("rd.iscsi.firmware", "rd.iscsi.param=node.session.auth.chap_algs=SHA3-256")
	m.ACPI = s.acpi(FirmwareTable(initiatorName, port, target))
	report, console := s.boot(m)
	checkRoot(t, report, console, port, target)
	shows(t, console, "mutual CHAP, SHA3-256")
	for _, digest := range []string{"header_digest", "data_digest"} {
		if got := report.Text("/sys/class/iscsi_connection/connection*/" + digest); got != "1" {
			t.Errorf("%s is %q", digest, got)
		}
	}
}
