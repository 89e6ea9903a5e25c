package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The library reads in our messages what was put there.
func TestMarshalMessage4(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	long := strings.Repeat("vendor ", 50)
	all := dhcpv4.Options{
		53: {3}, 55: {1, 121, 3, 6, 12, 15, 17, 26, 51, 58, 59, 54, 203}, 57: {5, 220}, 61: {1, 0x52, 0x54, 0, 0, 0, 1},
		12: []byte("node5"), 50: {10, 9, 0, 50}, 54: {10, 9, 0, 1}, 60: []byte(long),
	}
	bare := dhcpv4.Options{53: {1}, 55: all[55], 57: all[57], 61: all[61]}
	for _, test := range []struct {
		message   message4
		elapsed   time.Duration
		broadcast bool
		seconds   uint16
		options   dhcpv4.Options
	}{
		{message4{kind: discover4, xid: 0x01020304, mac: mac}, 2500 * time.Millisecond, false, 2, bare},
		{message4{kind: request4, xid: 0x01020304, mac: mac, requested: netip.MustParseAddr("10.9.0.50"), server: []byte{10, 9, 0, 1}, hostname: "node5", vendorClass: long}, 48 * time.Hour, true, 65535, all},
	} {
		b := test.message.marshal(test.elapsed, test.broadcast)
		if len(b) < 300 {
			t.Errorf("%d bytes", len(b))
		}
		got := must(dhcpv4.FromBytes(b))
		want := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, TransactionID: dhcpv4.TransactionID{1, 2, 3, 4},
			NumSeconds: test.seconds, ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
			ClientHWAddr: mac, Options: test.options}
		if test.broadcast {
			want.SetBroadcast()
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

// What is cut short is no answer.
func TestParseReply4Truncated(t *testing.T) {
	whole := reply(testRequest()).ToBytes()
	end := len(strings.TrimRight(string(whole), "\x00"))
	for n := range end {
		if r, err := parseReply4(whole[:n]); err == nil {
			t.Errorf("the first %d bytes are read as %+v", n, r)
		}
	}
	if _, err := parseReply4(whole[:end]); err != nil {
		t.Error(err)
	}
}
