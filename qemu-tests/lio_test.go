package qemutests

import (
	"net/netip"
	"testing"

	"github.com/rootlun/rootlun/session"
)

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

// TestDiscoverLIO asks LIO for its targets, from the host.
func TestDiscoverLIO(t *testing.T) {
	s := newScene(t)
	target := s.target()
	cfg := session.Default()
	cfg.InitiatorName = initiatorName
	cfg.Portal = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.lio(target))
	list, err := session.Discover(s.ctx, cfg)
	if err != nil || len(list) != 1 || list[0].Name != target.Name || len(list[0].Portals) == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	t.Log(list)
}
