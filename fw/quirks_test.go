package fw

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
)

// Offsets in table's bytes, written out so that a wrong constant shows.
const (
	atControl   = 0x30
	atInitiator = 0x48
	atNIC       = 0x98
	atTarget    = 0x100
)

func put16(b []byte, at, n int) []byte {
	binary.LittleEndian.PutUint16(b[at:], uint16(n))
	return b
}

func put(b []byte, at int, text string) []byte {
	copy(b[at:], text)
	return b
}

func get16(b []byte, at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }

// bytes16 is an address field that starts with these bytes, or ends with them.
func bytes16(head, tail string) string {
	return head + strings.Repeat("\x00", 16-len(head)-len(tail)) + tail
}

// pointed appends a structure, and one more pointer of the control structure.
func pointed(b []byte, structure string) []byte {
	put16(b, atControl+2, get16(b, atControl+2)+2)
	put16(b, atControl+get16(b, atControl+2)-2, len(b))
	return append(b, structure...)
}

// sealed makes length and checksum right.
func sealed(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	b[9] = 0
	var sum byte
	for _, c := range b {
		sum += c
	}
	b[9] = -sum
	return b
}

type patch = func(b []byte) []byte

// TestQuirks: what firmware has been seen to write, numbered as the project's
// list of quirks is, and the plan that comes of it. want changes plan's; where
// it is nil the plan stays. A row with err has no target.
func TestQuirks(t *testing.T) {
	mapped := func(s string) string { a := netip.MustParseAddr(s).As16(); return string(a[:]) }
	noTarget := func(p *Plan) { p.Targets = nil }
	twoNICs := func(b []byte) []byte {
		b = pointed(b, string(b[atNIC:atNIC+102]))
		return put(put(b, len(b)-102+4, "\x01"), len(b)-102+6, mapped("10.0.0.2")) // index 1, another subnet
	}
	planTwoNICs := func(p *Plan) {
		n := p.NICs[0]
		n.Index, n.Address = 1, pfx("10.0.0.2/24")
		p.NICs = append(p.NICs, n)
	}
	twoTargets := func(b []byte) []byte {
		b = pointed(b, string(b[atTarget:atTarget+54]))
		return put(put(b, len(b)-54+4, "\x01"), len(b)-54+24, "\x00\x02") // index 1, LUN 2
	}
	planTwoTargets := func(p *Plan) {
		g := p.Targets[0]
		g.Index, g.LUN = 1, lun(2)
		p.Targets = append(p.Targets, g)
	}
	flags := func(b []byte, first, second byte) []byte {
		b = twoTargets(b)
		b[atTarget+5], b[len(b)-54+5] = first, second
		return b
	}
	// at puts bytes at an offset.
	at := func(offset int, text string) patch { return func(b []byte) []byte { return put(b, offset, text) } }

	for _, tt := range []struct {
		name    string
		patch   patch
		want    func(*Plan)
		warning string // in the only warning
		err     string
	}{
		{"01 signature BIFT", at(0, "BIFT"), nil, "", ""},
		{"01 signature IBFT", at(0, "IBFT"), nil, "", ""},
		{"01 another signature", at(0, "APIC"), noTarget, "", `expected "iBFT", "BIFT" or "IBFT", found "APIC"`},
		{"02 revision 2", at(8, "\x02"), noTarget, "", "revision: expected 1, found 2; rd.rootlun.ibft=lenient takes"},
		// 03, a wrong checksum: TestPlaces and TestLenient.
		{"04 length 2048, data from both ends", func(b []byte) []byte {
			b = append(b, make([]byte, 2048-len(b))...)
			put(b, 2000, "iqn.2009-06.com.example:end")
			return put16(put16(b, atTarget+34, 27), atTarget+36, 2000)
		}, func(p *Plan) { p.Targets[0].Name = "iqn.2009-06.com.example:end" }, "", ""},
		{"05 OEM ID not padded", at(10, "ABCDEFGHIJKLMN"), nil, "", ""},
		{"05 OEM ID that is no text", at(10, "\x01\x02"), nil, "OEM ID", ""},
		{"06 control structure with a third pair", twoTargets, planTwoTargets, "", ""},
		{"06 control structure of odd length", func(b []byte) []byte { return put16(b, atControl+2, 23) }, nil, "", ""},
		{"06 control structure of 65535 bytes", func(b []byte) []byte { return put16(b, atControl+2, 65535) }, nil, "", ""},
		{"06 control structure of 16 bytes", func(b []byte) []byte { return put16(b, atControl+2, 16) }, noTarget, "", "length of the control structure"},
		{"06 control structure with id 0", at(atControl, "\x00"), noTarget, "", "id of the control structure"},
		{"06 control structure with index 1", at(atControl+4, "\x01"), nil, "", ""},
		{"07 all NICs before all targets", func(b []byte) []byte {
			b = twoNICs(b)
			second := len(b) - 102
			return put16(put16(put16(put16(b, atControl+12, second), atControl+14, atTarget), atControl+16, 0), atControl+18, 0)
		}, planTwoNICs, "", ""},
		{"07 0 between pointers", func(b []byte) []byte {
			b = put16(put16(b, atControl+12, 0), atControl+16, atTarget)
			return put16(put16(b, atControl+10, 0), atControl+14, atNIC)
		}, nil, "", ""},
		{"08 unknown structure", func(b []byte) []byte { return pointed(b, "\x09\x01\x06\x00\x00\x00") }, nil, "id of a structure", ""},
		{"08 pointer into the header", func(b []byte) []byte { return put16(b, atControl+14, 16) }, nil, "found 16", ""},
		{"08 pointer past the end", func(b []byte) []byte { return put16(b, atControl+14, 60000) }, nil, "found 60000", ""},
		{"08 pointer given twice", func(b []byte) []byte { return put16(b, atControl+14, atNIC) }, nil, "again", ""},
		{"09 structures that are longer", func(b []byte) []byte { return put16(put16(b, atTarget+2, 56), atNIC+2, 110) }, nil, "", ""},
		{"09 NIC that is shorter", func(b []byte) []byte { return put16(b, atNIC+2, 101) }, func(p *Plan) {
			p.NICs = []NIC{{Index: -1, DHCP: true, Origin: "dhcp", From: "default", AddressFrom: "default"}}
			p.Targets[0].NIC = -1
		}, "NIC structure: expected 102 bytes, found 101", ""},
		{"09 target that is shorter, another", func(b []byte) []byte { return put16(twoTargets(b), atTarget+2, 53) }, func(p *Plan) {
			planTwoTargets(p)
			p.Targets = p.Targets[1:]
		}, "target structure: expected 54 bytes, found 53", ""},
		{"10 both NICs with index 0", func(b []byte) []byte { b = twoNICs(b); b[len(b)-102+4] = 0; return b }, func(p *Plan) {
			planTwoNICs(p)
			p.NICs[1].Index = 0
		}, "", ""},
		{"10 both NICs with index 0, the second's subnet", func(b []byte) []byte {
			b = twoNICs(b)
			b[len(b)-102+4] = 0
			return put(b, atTarget+6, mapped("10.0.0.1"))
		}, func(p *Plan) {
			planTwoNICs(p)
			p.NICs[1].Index, p.Targets[0].NIC, p.Targets[0].Host = 0, 1, "10.0.0.1"
		}, "", ""},
		{"10 indexes from 1", func(b []byte) []byte { b[atNIC+4], b[atTarget+4], b[atTarget+33] = 1, 1, 1; return b }, func(p *Plan) {
			p.NICs[0].Index, p.Targets[0].Index = 1, 1
		}, "", ""},
		{"11 structure on an odd offset", func(b []byte) []byte {
			b = append(b, 0)
			if len(b)%2 == 0 {
				b = append(b, 0)
			}
			put16(b, atControl+12, len(b))
			return append(b, b[atTarget:atTarget+54]...)
		}, nil, "", ""},
		{"12 name past the end", func(b []byte) []byte { return put16(b, atTarget+36, 60000) }, noTarget, "offset of the target name", "it has no name"},
		{"12 secret past the end", func(b []byte) []byte { return put16(b, atTarget+42, 60000) }, noTarget, "CHAP secret", "the table has none"},
		{"13 flags 1", at(atTarget+5, "\x01"), func(p *Plan) { p.Targets[0].Boot = false }, "", ""},
		{"13 flags 7", func(b []byte) []byte { b[atNIC+5], b[atTarget+5] = 7, 7; return b }, nil, "", ""},
		{"13 flags 0x0f", func(b []byte) []byte { b[atInitiator+5], b[atNIC+5], b[atTarget+5] = 15, 15, 15; return b }, nil, "", ""},
		{"13 flags 0 everywhere", func(b []byte) []byte { b[atInitiator+5], b[atNIC+5], b[atTarget+5] = 0, 0, 0; return b }, func(p *Plan) {
			p.NICs[0].Valid, p.NICs[0].Boot, p.Targets[0].Valid, p.Targets[0].Boot = false, false, false, false
		}, "", ""},
		{"14 none is boot-selected", func(b []byte) []byte { return flags(b, 1, 1) }, func(p *Plan) {
			planTwoTargets(p)
			p.Targets[0].Boot, p.Targets[1].Boot = false, false
		}, "", ""},
		{"14 the second is boot-selected", func(b []byte) []byte { return flags(b, 1, 3) }, func(p *Plan) {
			planTwoTargets(p)
			p.Targets[0].Boot = false
			p.Targets[0], p.Targets[1] = p.Targets[1], p.Targets[0]
		}, "", ""},
		{"14 boot-selected and not valid", func(b []byte) []byte { return flags(b, 2, 1) }, func(p *Plan) {
			planTwoTargets(p)
			p.Targets[0].Valid, p.Targets[1].Boot = false, false
			p.Targets[0], p.Targets[1] = p.Targets[1], p.Targets[0]
		}, "", ""},
		{"15 global and fe80::", func(b []byte) []byte { b[atNIC+5] = 7; b[atNIC+22] = 64; return put(b, atNIC+6, mapped("fe80::9")) }, func(p *Plan) {
			p.NICs[0].Address = pfx("fe80::9/64")
		}, "", ""},
		{"15 RADIUS without a server", at(atTarget+5, "\x0f"), nil, "", ""},
		{"16 absent as ::", at(atNIC+24, bytes16("", "")), func(p *Plan) { p.NICs[0].Gateway = netip.Addr{} }, "", ""},
		{"16 absent as 0.0.0.0", at(atNIC+24, mapped("::ffff:0.0.0.0")), func(p *Plan) { p.NICs[0].Gateway = netip.Addr{} }, "", ""},
		{"16 absent as 255.255.255.255", at(atNIC+24, mapped("::ffff:255.255.255.255")), func(p *Plan) { p.NICs[0].Gateway = netip.Addr{} }, "", ""},
		{"16 DNS 255.255.255.255", at(atNIC+40, mapped("::ffff:255.255.255.255")), func(p *Plan) { p.NICs[0].DNS = p.NICs[0].DNS[1:] }, "", ""},
		{"17 IPv4 in the first bytes", at(atTarget+6, bytes16("\xc0\xa8\x32\x01", "")), nil, "", ""},
		{"17 IPv4 in the last bytes", at(atTarget+6, bytes16("", "\xc0\xa8\x32\x01")), nil, "", ""},
		{"17 IPv6 cut to four bytes", at(atTarget+6, mapped("::ffff:254.192.0.0")), func(p *Plan) { p.Targets[0].Host = "254.192.0.0" }, "cut short", ""},
		{"17 IPv6 cut to four bytes, NIC without IPv4", func(b []byte) []byte {
			b[atNIC+22], b[atNIC+23] = 0, 3
			return put(put(b, atNIC+6, bytes16("", "")), atTarget+6, mapped("::ffff:32.1.13.184"))
		}, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin, p.NICs[0].Address = true, "dhcp", nil
			p.Targets[0].Host = "32.1.13.184"
		}, "", ""}, // an address that may be one: nothing to say
		{"18 prefix 0", at(atNIC+22, "\x00"), func(p *Plan) { p.NICs[0].DHCP, p.NICs[0].Address = true, nil }, "no usable prefix", ""},
		{"18 prefix 120 of a mapped address", at(atNIC+22, "\x78"), nil, "", ""},
		{"18 prefix 128 of a mapped address", at(atNIC+22, "\x80"), func(p *Plan) { p.NICs[0].Address = pfx("192.168.50.2/32") }, "", ""},
		{"18 prefix 16 of a mask with a gap", at(atNIC+22, "\x10"), func(p *Plan) { p.NICs[0].Address = pfx("192.168.50.2/16") }, "", ""},
		{"19 origin 3 without a server", at(atNIC+23, "\x03"), func(p *Plan) { p.NICs[0].DHCP, p.NICs[0].Origin = true, "dhcp" }, "", ""},
		{"19 origin 0 with a server", func(b []byte) []byte { b[atNIC+23] = 0; return put(b, atNIC+72, mapped("::ffff:192.168.50.9")) }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin, p.NICs[0].DHCPServer = true, "dhcp", netip.MustParseAddr("192.168.50.9")
		}, "", ""},
		{"19 origin 1 and server 0.0.0.0", at(atNIC+72, mapped("::ffff:0.0.0.0")), nil, "", ""},
		{"19 origin 16", at(atNIC+23, "\x10"), func(p *Plan) { p.NICs[0].Origin = "other" }, "", ""},
		{"19 origin 2", at(atNIC+23, "\x02"), func(p *Plan) { p.NICs[0].Origin = "wellknown" }, "", ""},
		{"20 the lease beside DHCP", func(b []byte) []byte { b[atNIC+23] = 3; return put(b, atNIC+72, mapped("::ffff:192.168.50.9")) }, func(p *Plan) {
			// The address stays, to fall back on.
			p.NICs[0].DHCP, p.NICs[0].Origin, p.NICs[0].DHCPServer = true, "dhcp", netip.MustParseAddr("192.168.50.9")
		}, "", ""},
		{"21 VLAN 0", at(atNIC+88, "\x00\x00"), func(p *Plan) { p.NICs[0].VLAN = 0 }, "", ""},
		{"21 VLAN 42 with priority 5", at(atNIC+88, "\x2a\xa0"), func(p *Plan) { p.NICs[0].VLAN = 42 }, "", ""},
		{"21 priority alone", at(atNIC+88, "\x00\xe0"), func(p *Plan) { p.NICs[0].VLAN = 0 }, "", ""},
		{"21 VLAN 0xffff", at(atNIC+88, "\xff\xff"), func(p *Plan) { p.NICs[0].VLAN = 0 }, "", ""},
		{"21 VLAN 4095", at(atNIC+88, "\xff\x0f"), func(p *Plan) { p.NICs[0].VLAN = 0 }, "", ""},
		{"21 VLAN 1", at(atNIC+88, "\x01\x00"), func(p *Plan) { p.NICs[0].VLAN = 1 }, "", ""},
		{"22 MAC of zeros", at(atNIC+90, "\x00\x00\x00\x00\x00\x00"), func(p *Plan) { p.NICs[0].MAC = "" }, "", ""},
		{"22 MAC of ones", at(atNIC+90, "\xff\xff\xff\xff\xff\xff"), func(p *Plan) { p.NICs[0].MAC = "" }, "", ""},
		{"22 one MAC in two NICs", twoNICs, planTwoNICs, "", ""},
		{"23 no gateway, target off the subnet", func(b []byte) []byte {
			return put(put(b, atNIC+24, bytes16("", "")), atTarget+6, mapped("::ffff:10.9.9.9"))
		}, func(p *Plan) { p.NICs[0].Gateway, p.Targets[0].Host = netip.Addr{}, "10.9.9.9" }, "", ""},
		{"23 link-local NIC, global target", func(b []byte) []byte {
			b[atNIC+22] = 64
			return put(put(b, atNIC+6, mapped("fe80::9")), atTarget+6, mapped("2001:db8::1"))
		}, func(p *Plan) {
			p.NICs[0].Address, p.Targets[0].Host = pfx("fe80::9/64"), "2001:db8::1"
			p.NICs[0].RA, p.NICs[0].DHCP6 = true, true
		}, "", ""},
		{"23 link-local NIC and target", func(b []byte) []byte {
			b[atNIC+22] = 64
			return put(put(b, atNIC+6, mapped("fe80::9")), atTarget+6, mapped("fe80::1"))
		}, func(p *Plan) { p.NICs[0].Address, p.Targets[0].Host = pfx("fe80::9/64"), "fe80::1" }, "", ""},
		{"23 link-local target", at(atTarget+6, mapped("::ffff:169.254.0.2")), func(p *Plan) { p.Targets[0].Host = "169.254.0.2" }, "", ""},
		{"24 no host name", func(b []byte) []byte { return put16(b, atNIC+98, 0) }, func(p *Plan) { p.NICs[0].Hostname = "" }, "", ""},
		{"24 host name with blanks", func(b []byte) []byte { return put(b, get16(b, atNIC+100), "the host ") }, func(p *Plan) { p.NICs[0].Hostname = "" }, `host name "the host`, ""},
		{"24 host name for a shell", func(b []byte) []byte { return put(b, get16(b, atNIC+100), "a;reboot;") }, func(p *Plan) { p.NICs[0].Hostname = "" }, "host name", ""},
		{"24 host name with a newline", func(b []byte) []byte { return put(b, get16(b, atNIC+100), "a\n") }, func(p *Plan) { p.NICs[0].Hostname = "" }, "host name: expected printable", ""},
		{"25 NIC 9 of one", at(atTarget+33, "\x09"), nil, "", ""},
		{"25 NIC 255 of two, by subnet", func(b []byte) []byte { b = twoNICs(b); b[atTarget+33] = 255; return b }, planTwoNICs, "", ""},
		{"25 NIC 255 of two, by no subnet", func(b []byte) []byte {
			b = twoNICs(b)
			b[atTarget+33] = 255
			return put(b, atTarget+6, mapped("::ffff:172.16.0.1"))
		}, func(p *Plan) { planTwoNICs(p); p.Targets[0].NIC, p.Targets[0].Host = -1, "172.16.0.1" }, "", ""},
		{"25 NIC 0 for a target in the other's subnet", func(b []byte) []byte {
			return put(twoNICs(b), atTarget+6, mapped("::ffff:10.0.0.1"))
		}, func(p *Plan) { planTwoNICs(p); p.Targets[0].Host = "10.0.0.1" }, "", ""}, // the table's word counts
		{"26 three targets", func(b []byte) []byte {
			b = twoTargets(b)
			b = pointed(b, string(b[atTarget:atTarget+54]))
			return put(put(b, len(b)-54+4, "\x02"), len(b)-54+24, "\x00\x03")
		}, func(p *Plan) {
			planTwoTargets(p)
			g := p.Targets[0]
			g.Index, g.LUN = 2, lun(3)
			p.Targets = append(p.Targets, g)
		}, "", ""},
		{"27 one unit by two NICs", func(b []byte) []byte {
			b = twoNICs(b)
			b = pointed(b, string(b[atTarget:atTarget+54]))
			b[len(b)-54+4], b[len(b)-54+33] = 1, 1
			return b
		}, func(p *Plan) {
			planTwoNICs(p)
			g := p.Targets[0]
			g.Index, g.NIC = 1, 1
			p.Targets = append(p.Targets, g)
		}, "", ""},
		{"28 port 0", at(atTarget+22, "\x00\x00"), nil, "", ""},
		{"28 port big-endian", at(atTarget+22, "\x0c\xbc"), func(p *Plan) { p.Targets[0].Port = 48140 }, "3260 with its bytes exchanged", ""},
		{"29 LUN little-endian", at(atTarget+24, "\x01\x00"), func(p *Plan) { p.Targets[0].LUN = ibft.LUN{1} }, "", ""},
		{"29 LUN a big-endian number", at(atTarget+24, "\x00\x00\x00\x00\x00\x00\x00\x01"), nil, "LUN: expected it in bytes 0 and 1", ""},
		{"29 LUN flat", at(atTarget+24, "\x41\x2c"), func(p *Plan) { p.Targets[0].LUN = ibft.LUN{0x41, 0x2c} }, "", ""},
		{"30 type 0 with secrets", at(atTarget+32, "\x00"), func(p *Plan) { p.Targets[0].CHAP = nil }, "leaves secrets unused", ""},
		{"30 type 1 with a reverse secret", at(atTarget+32, "\x01"), func(p *Plan) {
			p.Targets[0].CHAP = &CHAP{Username: "user", Password: "secret-of-user", From: "iBFT (ACPI)"}
		}, "leaves secrets unused", ""},
		{"30 type 3", at(atTarget+32, "\x03"), noTarget, "", "CHAP type: expected 0 to 2, found 3"},
		{"30 name without a secret", func(b []byte) []byte { return put16(b, atTarget+42, 0) }, noTarget, "", "asks for a CHAP secret"},
		{"30 secret without a name", func(b []byte) []byte { return put16(b, atTarget+38, 0) }, noTarget, "", "asks for a CHAP name"},
		{"30 type 2 without a reverse secret", func(b []byte) []byte { return put16(b, atTarget+50, 0) }, noTarget, "", "asks for a reverse CHAP secret"},
		{"30 type 2 without a reverse name", func(b []byte) []byte { return put16(b, atTarget+46, 0) }, func(p *Plan) { p.Targets[0].CHAP.UsernameIn = "" }, "", ""},
		{"31 binary secret", func(b []byte) []byte { return put(b, get16(b, atTarget+44), "s\x00\n\xff") }, func(p *Plan) {
			p.Targets[0].CHAP.Password = "s\x00\n\xffet-of-user"
		}, "", ""},
		{"32 name that is no IQN", func(b []byte) []byte { return put(b, get16(b, atTarget+36), "mytest\x00") }, func(p *Plan) { p.Targets[0].Name = "mytest" }, `the name "mytest"`, ""},
		{"32 eui.", func(b []byte) []byte { return put(b, get16(b, atTarget+36), "eui.0123456789abcdef\x00") }, func(p *Plan) { p.Targets[0].Name = "eui.0123456789abcdef" }, "", ""},
		{"32 naa.", func(b []byte) []byte { return put(b, get16(b, atTarget+36), "naa.0123456789abcdef\x00") }, func(p *Plan) { p.Targets[0].Name = "naa.0123456789abcdef" }, "", ""},
		{"32 no name", func(b []byte) []byte { return put16(b, atTarget+34, 0) }, noTarget, "", "it has no name"},
		{"32 newline in the name", func(b []byte) []byte { return put(b, get16(b, atTarget+36)+4, "\n") }, noTarget, "printable", "it has no name"},
		{"32 length counts NUL", func(b []byte) []byte { return put16(b, atTarget+34, get16(b, atTarget+34)+1) }, nil, "", ""},
		{"32 length runs into the next string", func(b []byte) []byte { return put16(b, atTarget+34, get16(b, atTarget+34)+9) }, nil, "", ""},
		{"33 no initiator", func(b []byte) []byte { return put16(b, atControl+8, 0) }, func(p *Plan) {
			p.Initiator = Initiator{madePrefix + "5254001234ab", "the NIC's MAC"}
		}, "is made from the NIC's MAC", ""},
		{"33 initiator without a name", func(b []byte) []byte { return put16(b, atInitiator+70, 0) }, func(p *Plan) {
			p.Initiator = Initiator{madePrefix + "5254001234ab", "the NIC's MAC"}
		}, "is made from the NIC's MAC", ""},
		{"33 initiator NERF", func(b []byte) []byte { return put(b, get16(b, atInitiator+72), "NERF\x00") }, func(p *Plan) { p.Initiator.Name = "NERF" }, `"NERF"`, ""},
		{"33 initiator of 223 bytes", func(b []byte) []byte {
			put16(put16(b, atInitiator+70, 223), atInitiator+72, len(b))
			return append(b, longName()...)
		}, func(p *Plan) { p.Initiator.Name = longName() }, "", ""},
		// 34 is the kernel's: memory that it cannot map is not seen (TestLowMemory).
		// 35, several tables: TestPlaces, TestLowMemory.
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := plan("iBFT (ACPI)")
			if tt.want != nil {
				tt.want(want)
			}
			got, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: sealed(tt.patch(marshal(t, table())))}}})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "secret-of") || len(got.Targets) > 0 {
					t.Errorf("got %+v, %v, want %q", got.Targets, err, tt.err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if n := len(got.Warnings); tt.warning == "" && n > 0 || tt.warning != "" && (n != 1 || !strings.Contains(got.Warnings[0], tt.warning)) {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.warning)
			}
			if tt.err != "" {
				return
			}
			got.Warnings = nil
			if diff := cmp.Diff(want, got, options()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func longName() string {
	const start = "iqn.2009-06.com.example:"
	return start + strings.Repeat("n", 223-len(start))
}
