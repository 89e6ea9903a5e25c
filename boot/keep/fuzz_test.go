package keep

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/session"
)

// FuzzRecord reads any text as a node record. What it takes is written again, and
// read as the same.
func FuzzRecord(f *testing.F) {
	cfg := session.Default()
	cfg.TargetName, cfg.InitiatorName = "iqn.2026-01.net.example:root", "iqn.2026-01.net.example:host"
	cfg.Portal = netip.MustParseAddrPort("[fe80::1%eth0]:3260")
	f.Add(string(handoff.Record(&cfg, 1)))
	f.Add("node.conn[0].address = 10.0.0.1\nnode.conn[0].port = 99999\nnode.session.timeo.replacement_timeout = -1\n")
	f.Add("node.session.auth.password = x\nnode.session.auth.chap_algs = MD5\nnode.conn[0].iscsi.HeaderDigest = CRC32C,None")
	f.Fuzz(func(t *testing.T, text string) {
		var once, again session.Config
		parseRecord(&once, text)
		written := handoff.Record(&once, 1)
		if written == nil || !once.Portal.IsValid() {
			return
		}
		parseRecord(&again, string(written))
		if diff := cmp.Diff(string(written), string(handoff.Record(&again, 1))); diff != "" {
			t.Errorf("(-once +again):\n%s", diff)
		}
	})
}

// FuzzProc reads any text as tables of the kernel's.
func FuzzProc(f *testing.F) {
	f.Add("sk Eth Pid Groups\n0000000000000000 8 77 00000001 0\n", "  0: 00000000:0044 00000000:0000 07\n", "0000000000000000 3 3 0800 2 1\n")
	f.Add("a 8 7 ", ": :", "")
	l := lease{nic: 2, address: netip.MustParseAddr("10.0.0.5")}
	f.Fuzz(func(t *testing.T, netlink, udp, packet string) {
		otherManager(netlink, 7, isKeeper)
		l.clientIn([]byte(udp), []byte(packet))
	})
}
