package ibft

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	uroot "github.com/u-root/u-root/pkg/boot/ibft"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// sample is a table with every field in use and more structures than the
// control structure has names for.
func sample() *Table {
	return &Table{
		Signature:  "iBFT",
		OEMID:      "ROOTLN",
		OEMTableID: "ROOTLUNT",
		Initiator: &Initiator{
			Index: 1, Valid: true, Boot: true,
			Name: "iqn.2010-04.org.ipxe:host",
			ISNS: ip("10.0.0.5"), SLP: ip("fd00::5"),
			RADIUS: [2]netip.Addr{ip("10.0.0.6"), ip("10.0.0.7")},
		},
		NICs: []NIC{
			{
				Index: 0, Valid: true, Boot: true, Global: true,
				IP: ip("192.168.7.9"), PrefixLen: 24, Origin: OriginDHCP, Gateway: ip("192.168.7.1"),
				DNS:  [2]netip.Addr{ip("192.168.7.2"), ip("192.168.7.3")},
				DHCP: ip("192.168.7.4"), VLAN: 0xa02a,
				MAC: [6]byte{0x52, 0x54, 0, 1, 2, 3}, PCI: 0x0318, Hostname: "node one",
			},
			{
				Index: 1, Valid: true,
				IP: ip("fd00:1::9"), PrefixLen: 64, Origin: OriginStatic, Gateway: ip("fe80::1"),
				DNS: [2]netip.Addr{ip("fd00:1::2")}, MAC: [6]byte{0x52, 0x54, 0, 1, 2, 4},
			},
			{Index: 2, Origin: 0xf},
		},
		Targets: []Target{
			{
				Index: 0, Valid: true, Boot: true, RADIUSCHAP: true, RADIUSRCHAP: true,
				IP: ip("192.168.7.20"), Port: 3260, LUN: LUNFromUint64(1), CHAPType: CHAPMutual, NIC: 0,
				Name:     "iqn.2024-01.org.example:disk",
				CHAPName: "user", CHAPSecret: "secret\x00\n\xffbinary",
				ReverseCHAPName: "target", ReverseCHAPSecret: "esrever-secret",
			},
			{
				Index: 1, Valid: true, IP: ip("fd00:1::20"), Port: 3261, NIC: 1,
				LUN:  LUN{0x41, 0x2c},
				Name: "eui.0123456789abcdef", CHAPType: CHAPOneWay, CHAPName: "u", CHAPSecret: "s",
			},
			{Index: 2, NIC: 0xff, Name: "mytest", CHAPType: 9},
			{Index: 3, IP: ip("10.9.8.7"), LUN: LUN{0, 1, 0, 2, 0, 3, 0, 4}},
		},
	}
}

func marshal(t testing.TB, table *Table) []byte {
	t.Helper()
	b, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fix makes length and checksum of a changed table right.
func fix(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return fixSum(b)
}

func fixSum(b []byte) []byte {
	b[9] = 0
	var n byte
	for _, c := range b {
		n += c
	}
	b[9] = -n
	return b
}

// equal compares tables; secrets are compared as strings, and never printed.
func equal(t *testing.T, got, want *Table) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	many := &Table{Signature: "BIFT"}
	for i := range 40 {
		many.NICs = append(many.NICs, NIC{Index: uint8(i), IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), PrefixLen: 8})
		many.Targets = append(many.Targets, Target{Index: uint8(i), Name: fmt.Sprintf("iqn.2024-01.org.example:%d", i)})
	}
	for name, want := range map[string]*Table{
		"full":         sample(),
		"empty":        {Signature: "iBFT"},
		"many":         many,
		"NICs only":    {Signature: "IBFT", NICs: sample().NICs},
		"targets only": {Signature: "iBFT", Targets: sample().Targets},
		"long name":    {Signature: "iBFT", Initiator: &Initiator{Name: strings.Repeat("n", 223)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(marshal(t, want))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, want)
		})
	}
}

// TestBytes reads a table written by hand, with offsets from the
// specification: strings before structures, targets before NICs, structures
// at 16 bytes as iPXE has them, one of them longer than it need be.
func TestBytes(t *testing.T) {
	b := make([]byte, 0x200)
	put := func(at int, s string) {
		x, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		copy(b[at:], x)
	}
	copy(b, "iBFT\x00\x02\x00\x00\x01\x00FENSYSiPXE")
	put(0x30, "01 01 1600 00 00  0000 5001 0000 e000 a000 0000 0000 0000") // 22 bytes: two more pointers
	copy(b[0x50:], "iqn.a:i\x00")
	copy(b[0x58:], "iqn.a:t\x00")
	copy(b[0x60:], "h\x00")
	put(0xa0, "04 01 3600 00 03  00000000000000000000ffffc0a80714 bc0c 412c000000000000 00 02 0700 5800 0000 0000 0000 0000 0000 0000 0000 0000")
	put(0xe0, "03 01 7000 02 07  00000000000000000000ffffc0a80709 18 01 00000000000000000000ffffc0a80701")
	put(0xe0+88, "2a00 525400010203 1803 0100 6000")
	put(0x150, "02 01 4a00 00 03")
	put(0x150+70, "0700 5000")
	got, err := Parse(fixSum(b))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, &Table{
		Signature: "iBFT", OEMID: "FENSYS", OEMTableID: "iPXE",
		Initiator: &Initiator{Valid: true, Boot: true, Name: "iqn.a:i"},
		NICs: []NIC{{
			Index: 2, Valid: true, Boot: true, Global: true, IP: ip("192.168.7.9"), PrefixLen: 24, Origin: OriginStatic,
			Gateway: ip("192.168.7.1"), VLAN: 42, MAC: [6]byte{0x52, 0x54, 0, 1, 2, 3}, PCI: 0x0318, Hostname: "h",
		}},
		Targets: []Target{{
			Valid: true, Boot: true, IP: ip("192.168.7.20"), Port: 3260, LUN: LUN{0x41, 0x2c}, NIC: 2, Name: "iqn.a:t",
		}},
	})
}

// TestURoot holds the codec against another one: what it encodes we read, and
// we encode the same table to the same bytes.
func TestURoot(t *testing.T) {
	for name, version := range map[string]struct{ ip, gateway, dns, target string }{
		"IPv4": {"192.168.7.9", "192.168.7.1", "192.168.7.2", "192.168.7.20"},
		"IPv6": {"fd00:1::9", "fe80::1", "fd00:1::2", "fd00:1::20"},
	} {
		t.Run(name, func(t *testing.T) {
			nip := net.ParseIP(version.ip)
			mask, prefix := net.CIDRMask(24, 32), 24
			if nip.To4() == nil {
				mask, prefix = net.CIDRMask(64, 128), 64
			}
			theirs := (&uroot.IBFT{
				Initiator: uroot.Initiator{Name: "iqn.a:i", Valid: true, Boot: true, SLPServer: net.ParseIP("10.0.0.5")},
				NIC0: uroot.NIC{
					Valid: true, Boot: true, Global: true,
					IPNet: &net.IPNet{IP: nip, Mask: mask}, Origin: uroot.OriginDHCP,
					Gateway: net.ParseIP(version.gateway), PrimaryDNS: net.ParseIP(version.dns),
					DHCPServer: net.ParseIP("10.0.0.6"), VLAN: 42,
					MACAddress: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3},
					PCIBDF:     uroot.BDF{Bus: 3, Device: 0x1f, Function: 7}, HostName: "node",
				},
				Target0: uroot.Target{
					Valid: true, Boot: true, RCHAP: true,
					Target: &net.TCPAddr{IP: net.ParseIP(version.target), Port: 3260},
					// It writes the LUN as a little-endian number: this is 2 in SAM.
					BootLUN: 0x0200, CHAPType: 2, TargetName: "iqn.a:t",
					CHAPName: "user", CHAPSecret: "one", ReverseCHAPName: "target", ReverseCHAPSecret: "two",
				},
			}).Marshal()
			want := &Table{
				Signature: "iBFT", OEMID: "Google", OEMTableID: "GoogIBFT",
				Initiator: &Initiator{Valid: true, Boot: true, Name: "iqn.a:i", SLP: ip("10.0.0.5")},
				NICs: []NIC{{
					Valid: true, Boot: true, Global: true, IP: ip(version.ip), PrefixLen: prefix, Origin: OriginDHCP,
					Gateway: ip(version.gateway), DNS: [2]netip.Addr{ip(version.dns)}, DHCP: ip("10.0.0.6"), VLAN: 42,
					MAC: [6]byte{0x52, 0x54, 0, 1, 2, 3}, PCI: 0x03ff, Hostname: "node",
				}},
				Targets: []Target{{
					Valid: true, Boot: true, RADIUSRCHAP: true, IP: ip(version.target), Port: 3260,
					LUN: LUNFromUint64(2), CHAPType: CHAPMutual, Name: "iqn.a:t",
					CHAPName: "user", CHAPSecret: "one", ReverseCHAPName: "target", ReverseCHAPSecret: "two",
				}},
			}
			got, err := Parse(theirs)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, want)
			if diff := cmp.Diff(theirs, marshal(t, want)); diff != "" {
				t.Errorf("bytes: -theirs +ours:\n%s", diff)
			}
		})
	}
}

func TestMarshalErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Table)
		want   string
	}{
		"signature":       {func(x *Table) { x.Signature = "ibft" }, "header, signature"},
		"OEM ID":          {func(x *Table) { x.OEMID = "1234567" }, "OEM ID"},
		"OEM table ID":    {func(x *Table) { x.OEMTableID = "a\x00b" }, "OEM table ID"},
		"initiator name":  {func(x *Table) { x.Initiator.Name = "a\x00b" }, "initiator, name"},
		"name too long":   {func(x *Table) { x.Targets[1].Name = strings.Repeat("n", 256) }, "target 1, name"},
		"secret too long": {func(x *Table) { x.Targets[0].CHAPSecret = Secret(strings.Repeat("n", 256)) }, "target 0, CHAP secret"},
		"newline":         {func(x *Table) { x.NICs[0].Hostname = "a\nb" }, "NIC 0, host name"},
		"IPv4 prefix":     {func(x *Table) { x.NICs[0].PrefixLen = 33 }, "NIC 0, prefix length"},
		"mapped prefix":   {func(x *Table) { x.NICs[0].IP, x.NICs[0].PrefixLen = ip("::ffff:10.0.0.1"), 33 }, "NIC 0, prefix length"},
		"negative prefix": {func(x *Table) { x.NICs[1].PrefixLen = -1 }, "NIC 1, prefix length"},
		"zone":            {func(x *Table) { x.NICs[1].Gateway = ip("fe80::1%eth0") }, "NIC 1, gateway"},
		"IPv6 as IPv4":    {func(x *Table) { x.Targets[0].IP = ip("a00:1::") }, "target 0, address"},
		"0.0.0.0":         {func(x *Table) { x.Targets[0].IP = ip("0.0.0.0") }, "target 0, address"},
		"more than 65535": {func(x *Table) { x.Targets = make([]Target, 1200) }, "65535"},
	} {
		t.Run(name, func(t *testing.T) {
			table := sample()
			c.change(table)
			_, err := table.Marshal()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "nnnn") {
				t.Errorf("the error shows the value: %v", err)
			}
		})
	}
}

// TestMarshalLongest makes the longest table, and one that is a byte longer.
func TestMarshalLongest(t *testing.T) {
	table := &Table{Signature: "iBFT", NICs: make([]NIC, 200)}
	for i := range table.NICs {
		table.NICs[i].Hostname = strings.Repeat("h", 210)
	}
	room := math.MaxUint16 - len(marshal(t, table))
	for i := range table.NICs {
		n := min(room, maxString-210)
		table.NICs[i].Hostname += strings.Repeat("h", n)
		room -= n
	}
	b := marshal(t, table)
	if len(b) != math.MaxUint16 {
		t.Fatalf("%d bytes, want 65535", len(b))
	}
	got, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, table)
	table.NICs[199].Hostname += "h"
	if _, err := table.Marshal(); !errors.Is(err, errTooLong) {
		t.Fatalf("a byte more: %v", err)
	}
}

func TestMappedAddress(t *testing.T) {
	b := marshal(t, &Table{Targets: []Target{{IP: ip("::ffff:10.0.0.1")}}})
	got, err := Parse(b)
	if err != nil || got.Targets[0].IP != ip("10.0.0.1") {
		t.Fatalf("%v, %v; want 10.0.0.1", got, err)
	}
}

func TestLUN(t *testing.T) {
	for n, want := range map[uint64]LUN{
		0:              {},
		1:              {0, 1},
		255:            {0, 255},
		16684:          {0x41, 0x2c}, // LUN 300 in flat addressing
		0x000400030002: {0, 2, 0, 3, 0, 4},
	} {
		if got := LUNFromUint64(n); got != want || got.Uint64() != n {
			t.Errorf("%d: %x, back %d; want %x", n, got, got.Uint64(), want)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	g := Target{CHAPSecret: "hunter2", ReverseCHAPSecret: "hunter3"}
	j, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	out := string(j) + errors.Join(fmt.Errorf("%v", g)).Error()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%z"} {
		out += fmt.Sprintf(verb, g.CHAPSecret) + fmt.Sprintf(verb, g) + fmt.Sprintf(verb, &g) + fmt.Sprintf(verb, []Secret{g.CHAPSecret})
	}
	for _, leak := range []string{"hunter", hex.EncodeToString([]byte("hunter")), "104 117"} {
		if strings.Contains(strings.ToLower(out), leak) {
			t.Errorf("printed: %s", out)
		}
	}
	if !strings.Contains(out, "***") || Secret("").String() != "" {
		t.Error("a secret is *** and none is empty")
	}
	if string(g.CHAPSecret) != "hunter2" {
		t.Error("string() is the secret itself")
	}
}
