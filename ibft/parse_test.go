package ibft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Offsets of structures and their fields in plain's bytes, written out so that
// a wrong constant shows.
const (
	atControl   = 0x30
	atInitiator = 0x48
	atNIC       = 0x98
	atTarget    = 0x100
	atHeap      = 0x138
)

// plain is the usual table: one initiator, one NIC, one target.
func plain() *Table {
	x := sample()
	x.NICs, x.Targets = x.NICs[:1], x.Targets[:1]
	return x
}

func set16(b []byte, at, n int) { binary.LittleEndian.PutUint16(b[at:], uint16(n)) }

func get16(b []byte, at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }

// addPointer makes the control structure longer by one pointer. There is room
// for three before the initiator.
func addPointer(b []byte, p int) {
	set16(b, atControl+2, get16(b, atControl+2)+2)
	set16(b, atControl+get16(b, atControl+2)-2, p)
}

func mapped(b []byte, at int, a string) {
	x := netip.MustParseAddr(a).As16()
	copy(b[at:], x[:])
}

func raw(b []byte, at int, a ...byte) {
	clear(b[at : at+16])
	copy(b[at:], a)
}

var none netip.Addr

// quirks are tables as firmware writes them, right or wrong.
var quirks = map[string]struct {
	mutate  func(b []byte) []byte
	want    func(*Table) // changes plain; nil: it is read as plain
	problem string       // of the only Problem: its reason has this
	at      int          // and its offset is this
}{
	// Framing.
	"signature BIFT": {func(b []byte) []byte { copy(b, "BIFT"); return b }, func(x *Table) { x.Signature = "BIFT" }, "", 0},
	"signature IBFT": {func(b []byte) []byte { copy(b, "IBFT"); return b }, func(x *Table) { x.Signature = "IBFT" }, "", 0},
	"length 2048":    {func(b []byte) []byte { return append(b, make([]byte, 2048-len(b))...) }, nil, "", 0},
	"OEM garbage": {func(b []byte) []byte { copy(b[10:], "\x01\xff"); return b },
		func(x *Table) { x.OEMID = "" }, "OEM ID", 10},
	"control length 65535": {func(b []byte) []byte { set16(b, atControl+2, 65535); return b }, nil, "", 0},
	"control length 23":    {func(b []byte) []byte { set16(b, atControl+2, 23); return b }, nil, "", 0},
	"control index 1":      {func(b []byte) []byte { b[atControl+4] = 1; return b }, nil, "", 0},
	"slots exchanged": {func(b []byte) []byte {
		set16(b, atControl+8, atTarget)
		set16(b, atControl+10, 0)
		set16(b, atControl+12, atInitiator)
		set16(b, atControl+16, atNIC)
		return b
	}, nil, "", 0},
	"unknown structure": {func(b []byte) []byte {
		b = append(b, 9, 1, 6, 0, 0, 0)
		addPointer(b, len(b)-6)
		return b
	}, nil, "id of a structure", -6},
	"extensions": {func(b []byte) []byte {
		b = append(b, 5, 1, 6, 0, 0, 0)
		addPointer(b, len(b)-6)
		return b
	}, nil, "", 0},
	"pointer into header":  {func(b []byte) []byte { set16(b, atControl+16, 16); return b }, nil, "found 16", atControl + 16},
	"pointer into control": {func(b []byte) []byte { set16(b, atControl+16, 0x30); return b }, nil, "found 48", atControl + 16},
	"pointer past end":     {func(b []byte) []byte { set16(b, atControl+14, 65535); return b }, nil, "found 65535", atControl + 14},
	"pointer twice":        {func(b []byte) []byte { set16(b, atControl+14, atNIC); return b }, nil, "again", atControl + 14},
	"two initiators": {func(b []byte) []byte {
		b = append(b, b[atInitiator:atInitiator+74]...)
		addPointer(b, len(b)-74)
		return b
	}, nil, "initiator structure", -74},
	"longer structure": {func(b []byte) []byte { set16(b, atTarget+2, 56); return b }, nil, "", 0},
	"structure longer than the table": {func(b []byte) []byte { set16(b, atNIC+2, 65535); return b },
		nil, "", 0},
	"shorter NIC": {func(b []byte) []byte { set16(b, atNIC+2, 101); return b },
		func(x *Table) { x.NICs = nil }, "NIC structure: expected 102 bytes, found 101", atNIC + 2},
	"shorter target": {func(b []byte) []byte { set16(b, atTarget+2, 0); return b },
		func(x *Table) { x.Targets = nil }, "target structure: expected 54 bytes, found 0", atTarget + 2},
	"shorter initiator": {func(b []byte) []byte { set16(b, atInitiator+2, 73); return b },
		func(x *Table) { x.Initiator = nil }, "initiator structure: expected 74", atInitiator + 2},
	"structure over the end": {func(b []byte) []byte {
		b = append(b, b[atTarget:atTarget+53]...)
		addPointer(b, len(b)-53)
		return b
	}, nil, "target structure: expected 54 bytes, found 53", -51},
	"index shared": {func(b []byte) []byte {
		b = append(b, b[atNIC:atNIC+102]...)
		addPointer(b, len(b)-102)
		return b
	}, func(x *Table) { x.NICs = append(x.NICs, x.NICs[0]) }, "", 0},
	"alignment 1": {func(b []byte) []byte {
		b = append(b, 0)
		b = append(b, b[atTarget:atTarget+54]...)
		set16(b, atControl+12, len(b)-54)
		return b
	}, nil, "", 0},

	// Flags.
	"flags 0": {func(b []byte) []byte { b[atTarget+5] = 0; return b }, func(x *Table) {
		g := &x.Targets[0]
		g.Valid, g.Boot, g.RADIUSCHAP, g.RADIUSRCHAP = false, false, false, false
	}, "", 0},
	"boot without valid": {func(b []byte) []byte { b[atNIC+5] = 2; return b },
		func(x *Table) { x.NICs[0].Valid, x.NICs[0].Global = false, false }, "", 0},
	"global but fe80": {func(b []byte) []byte { mapped(b, atNIC+6, "fe80::9"); return b },
		func(x *Table) { x.NICs[0].IP = ip("fe80::9") }, "", 0},

	// Addresses.
	"absent ::":         {func(b []byte) []byte { raw(b, atNIC+24); return b }, func(x *Table) { x.NICs[0].Gateway = none }, "", 0},
	"absent 0.0.0.0":    {func(b []byte) []byte { mapped(b, atNIC+24, "0.0.0.0"); return b }, func(x *Table) { x.NICs[0].Gateway = none }, "", 0},
	"absent broadcast":  {func(b []byte) []byte { mapped(b, atNIC+40, "255.255.255.255"); return b }, func(x *Table) { x.NICs[0].DNS[0] = none }, "", 0},
	"broadcast in head": {func(b []byte) []byte { raw(b, atNIC+56, 255, 255, 255, 255); return b }, func(x *Table) { x.NICs[0].DNS[1] = none }, "", 0},
	"broadcast in tail": {func(b []byte) []byte { mapped(b, atNIC+72, "::255.255.255.255"); return b }, func(x *Table) { x.NICs[0].DHCP = none }, "", 0},
	"IPv4 in head":      {func(b []byte) []byte { raw(b, atTarget+6, 10, 1, 2, 3); return b }, func(x *Table) { x.Targets[0].IP = ip("10.1.2.3") }, "", 0},
	"IPv4 in tail":      {func(b []byte) []byte { mapped(b, atTarget+6, "::10.1.2.3"); return b }, func(x *Table) { x.Targets[0].IP = ip("10.1.2.3") }, "", 0},
	"IPv6 2001:db8::":   {func(b []byte) []byte { mapped(b, atTarget+6, "2001:db8::"); return b }, func(x *Table) { x.Targets[0].IP = ip("2001:db8::") }, "", 0},
	"IPv6 fe80::":       {func(b []byte) []byte { mapped(b, atNIC+24, "fe80::"); return b }, func(x *Table) { x.NICs[0].Gateway = ip("fe80::") }, "", 0},
	"IPv6 ::1":          {func(b []byte) []byte { mapped(b, atTarget+6, "::1"); return b }, func(x *Table) { x.Targets[0].IP = ip("::1") }, "", 0},

	// NIC.
	"prefix 0":   {func(b []byte) []byte { b[atNIC+22] = 0; return b }, func(x *Table) { x.NICs[0].PrefixLen = 0 }, "", 0},
	"prefix 120": {func(b []byte) []byte { b[atNIC+22] = 120; return b }, nil, "", 0},
	"prefix 128": {func(b []byte) []byte { b[atNIC+22] = 128; return b }, func(x *Table) { x.NICs[0].PrefixLen = 32 }, "", 0},
	"prefix 33": {func(b []byte) []byte { b[atNIC+22] = 33; return b },
		func(x *Table) { x.NICs[0].PrefixLen = 0 }, "at most 32, found 33", atNIC + 22},
	"prefix 129": {func(b []byte) []byte { b[atNIC+22] = 129; return b },
		func(x *Table) { x.NICs[0].PrefixLen = 0 }, "at most 32, found 129", atNIC + 22},
	"prefix 120 on bare IPv4": {func(b []byte) []byte { mapped(b, atNIC+6, "::192.168.7.9"); b[atNIC+22] = 120; return b },
		func(x *Table) { x.NICs[0].PrefixLen = 0 }, "at most 32, found 120", atNIC + 22},
	"prefix 129 on IPv6": {func(b []byte) []byte { mapped(b, atNIC+6, "fd00::9"); b[atNIC+22] = 129; return b },
		func(x *Table) { x.NICs[0].IP, x.NICs[0].PrefixLen = ip("fd00::9"), 0 }, "at most 128", atNIC + 22},
	"prefix 120 on IPv6": {func(b []byte) []byte { mapped(b, atNIC+6, "fd00::9"); b[atNIC+22] = 120; return b },
		func(x *Table) { x.NICs[0].IP, x.NICs[0].PrefixLen = ip("fd00::9"), 120 }, "", 0},
	"origin 16":     {func(b []byte) []byte { b[atNIC+23] = 16; return b }, func(x *Table) { x.NICs[0].Origin = 16 }, "", 0},
	"VLAN kept":     {func(b []byte) []byte { set16(b, atNIC+88, 0xffff); return b }, func(x *Table) { x.NICs[0].VLAN = 0xffff }, "", 0},
	"MAC ff":        {func(b []byte) []byte { copy(b[atNIC+90:], "\xff\xff\xff\xff\xff\xff"); return b }, func(x *Table) { x.NICs[0].MAC = [6]byte{} }, "", 0},
	"host name $()": {func(b []byte) []byte { copy(b[get16(b, atNIC+100):], "$(reboo)"); return b }, func(x *Table) { x.NICs[0].Hostname = "$(reboo)" }, "", 0},

	// Target.
	"NIC 255":             {func(b []byte) []byte { b[atTarget+33] = 0xff; return b }, func(x *Table) { x.Targets[0].NIC = 0xff }, "", 0},
	"port 0":              {func(b []byte) []byte { set16(b, atTarget+22, 0); return b }, func(x *Table) { x.Targets[0].Port = 0 }, "", 0},
	"LUN big-endian u64":  {func(b []byte) []byte { copy(b[atTarget+24:], "\x00\x00\x00\x00\x00\x00\x00\x01"); return b }, nil, "LUN", atTarget + 24},
	"LUN flat":            {func(b []byte) []byte { copy(b[atTarget+24:], "\x41\x2c"); return b }, func(x *Table) { x.Targets[0].LUN = LUN{0x41, 0x2c} }, "", 0},
	"LUN little-endian 1": {func(b []byte) []byte { copy(b[atTarget+24:], "\x01\x00"); return b }, func(x *Table) { x.Targets[0].LUN = LUN{1} }, "", 0},
	"CHAP type 7":         {func(b []byte) []byte { b[atTarget+32] = 7; return b }, func(x *Table) { x.Targets[0].CHAPType = 7 }, "", 0},
	"length counts NUL":   {func(b []byte) []byte { set16(b, atTarget+34, get16(b, atTarget+34)+1); return b }, nil, "", 0},
	"length runs on":      {func(b []byte) []byte { set16(b, atTarget+34, get16(b, atTarget+34)+9); return b }, nil, "", 0},
	"length past the end": {func(b []byte) []byte { set16(b, atTarget+34, 65535); return b }, nil, "", 0},
	"no NUL between": {func(b []byte) []byte { b[get16(b, atInitiator+72)+25] = 'x'; return b },
		nil, "", 0},
	"not terminated": {func(b []byte) []byte {
		b = append(b, "name"...)
		set16(b, atInitiator+70, 9)
		set16(b, atInitiator+72, len(b)-4)
		return b
	}, func(x *Table) { x.Initiator.Name = "" }, "its end within the table", atInitiator + 70},
	"newline in the name": {func(b []byte) []byte { b[get16(b, atTarget+36)+3] = '\n'; return b },
		func(x *Table) { x.Targets[0].Name = "" }, "target name: expected printable", atTarget + 34},
	"not UTF-8": {func(b []byte) []byte { b[get16(b, atTarget+36)+3] = 0x9b; return b },
		func(x *Table) { x.Targets[0].Name = "" }, "target name: expected printable", atTarget + 34},
	"name of 256": {func(b []byte) []byte {
		set16(b, atTarget+34, 256)
		set16(b, atTarget+36, len(b))
		return append(b, strings.Repeat("n", 256)...)
	}, func(x *Table) { x.Targets[0].Name = "" }, "found 256", atTarget + 34},
	"empty name": {func(b []byte) []byte { set16(b, atTarget+34, 0); return b }, func(x *Table) { x.Targets[0].Name = "" }, "", 0},
	"name offset past the end": {func(b []byte) []byte { set16(b, atTarget+36, len(b)); return b },
		func(x *Table) { x.Targets[0].Name = "" }, "offset of the target name", atTarget + 36},
	"name offset in the header": {func(b []byte) []byte { set16(b, atTarget+36, 10); return b },
		func(x *Table) { x.Targets[0].Name = "" }, "found 10", atTarget + 36},
	"secret length past the end": {func(b []byte) []byte { set16(b, atTarget+42, 65535); return b },
		func(x *Table) { x.Targets[0].CHAPSecret = "" }, "CHAP secret", atTarget + 42},
	"secret over the end": {func(b []byte) []byte { set16(b, atTarget+44, len(b)-5); return b },
		func(x *Table) { x.Targets[0].CHAPSecret = "" }, "CHAP secret: expected at most 5 bytes", atTarget + 42},
	"secret of 256": {func(b []byte) []byte {
		set16(b, atTarget+50, 256)
		set16(b, atTarget+52, len(b))
		return append(b, make([]byte, 256)...)
	}, func(x *Table) { x.Targets[0].ReverseCHAPSecret = "" }, "found 256", atTarget + 50},
	"secret offset 0": {func(b []byte) []byte { set16(b, atTarget+44, 0); return b },
		func(x *Table) { x.Targets[0].CHAPSecret = "" }, "offset of the CHAP secret", atTarget + 44},
	"no initiator": {func(b []byte) []byte { set16(b, atControl+8, 0); return b }, func(x *Table) { x.Initiator = nil }, "", 0},
}

func TestQuirks(t *testing.T) {
	for name, c := range quirks {
		t.Run(name, func(t *testing.T) {
			b := fix(c.mutate(marshal(t, plain())))
			want := plain()
			if c.want != nil {
				c.want(want)
			}
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			problems := got.Problems
			got.Problems = nil
			equal(t, got, want)
			if c.problem == "" {
				if len(problems) > 0 {
					t.Errorf("problems %v, want none", problems)
				}
				return
			}
			at := c.at
			if at < 0 {
				at += len(b)
			}
			if len(problems) != 1 || problems[0].Offset != at || !strings.Contains(problems[0].Reason, c.problem) {
				t.Errorf("problems %v, want one at %d with %q", problems, at, c.problem)
			}
		})
	}
}

// formatErrors are tables that are refused.
var formatErrors = map[string]struct {
	mutate    func(b []byte) []byte
	offset    int
	text      string
	tolerable bool
}{
	"empty":            {func(b []byte) []byte { return nil }, 0, "at least 66 bytes, found 0", false},
	"short":            {func(b []byte) []byte { return b[:65] }, 65, "at least 66 bytes, found 65", false},
	"signature":        {func(b []byte) []byte { copy(b, "APIC"); return fix(b) }, 0, `found "APIC"`, false},
	"length 0":         {func(b []byte) []byte { set16(b, 4, 0); return fixSum(b) }, 4, "length: expected at least 66, found 0", false},
	"length too small": {func(b []byte) []byte { set16(b, 4, 65); return fixSum(b) }, 4, "found 65", false},
	"length too large": {func(b []byte) []byte { b[7] = 0xff; return fixSum(b) }, 4, "length: expected at most ", true},
	"revision":         {func(b []byte) []byte { b[8] = 2; return fix(b) }, 8, "revision: expected 1, found 2", true},
	"checksum":         {func(b []byte) []byte { b[9]++; return b }, 9, "checksum: expected ", true},
	"control id":       {func(b []byte) []byte { b[0x30] = 3; return fix(b) }, 0x30, "id of the control structure: expected 1, found 3", false},
	"control length":   {func(b []byte) []byte { set16(b, 0x32, 16); return fix(b) }, 0x32, "expected at least 18, found 16", false},
}

func TestFormatError(t *testing.T) {
	for name, c := range formatErrors {
		t.Run(name, func(t *testing.T) {
			b := c.mutate(marshal(t, plain()))
			_, err := Parse(b)
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("error %v, want a *FormatError", err)
			}
			if fe.Offset != c.offset || !strings.Contains(err.Error(), c.text) || fe.Tolerable != c.tolerable {
				t.Errorf("%v (tolerable: %t), want offset %d, %q, tolerable: %t", err, fe.Tolerable, c.offset, c.text, c.tolerable)
			}
			got, err := ParseLenient(b)
			if c.tolerable != (err == nil) {
				t.Fatalf("ParseLenient: %v", err)
			}
			if err == nil && (len(got.Problems) == 0 || got.Problems[0].Offset != c.offset || len(got.Targets) != 1) {
				t.Errorf("ParseLenient: %+v, want all of the table and the fault as first problem", got)
			}
		})
	}
}

// TestChecksumWanted takes the checksum that the error names for right.
func TestChecksumWanted(t *testing.T) {
	b := marshal(t, plain())
	right := b[9]
	b[9]++
	_, err := Parse(b)
	var fe *FormatError
	if !errors.As(err, &fe) {
		t.Fatal(err)
	}
	if want := fmt.Sprint(right); fe.Want != want {
		t.Errorf("the error wants %s, right is %s", fe.Want, want)
	}
}

// TestPrefixes cuts a table off after every byte: the strict reader refuses all
// of these, the lenient one reads what is there.
func TestPrefixes(t *testing.T) {
	whole := marshal(t, sample())
	for n := range whole {
		b := append([]byte(nil), whole[:n]...) // a read past n panics
		if _, err := Parse(b); err == nil {
			t.Fatalf("%d of %d bytes: no error", n, len(whole))
		}
		got, err := ParseLenient(b)
		if (err == nil) != (n >= 66) {
			t.Fatalf("%d bytes, lenient: %v", n, err)
		}
		if err == nil && len(got.Problems) == 0 {
			t.Fatalf("%d bytes, lenient: no problem", n)
		}
		if n >= 66 { // the same as a table that is that short
			if _, err := Parse(fix(b)); err != nil {
				t.Fatalf("%d bytes with their own length: %v", n, err)
			}
		}
	}
}

// TestTail puts more after the table, as a read of /dev/mem has it.
func TestTail(t *testing.T) {
	got, err := Parse(append(marshal(t, sample()), "some more"...))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, sample())
}

// TestProblemsKeepSecrets makes a name of what is a secret, and not a good name.
func TestProblemsKeepSecrets(t *testing.T) {
	x := plain()
	x.Targets[0].CHAPSecret = "hunter2\n"
	b := marshal(t, x)
	copy(b[atTarget+34:], b[atTarget+42:atTarget+46])
	got, err := Parse(fix(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Problems) != 1 || strings.Contains(got.Problems[0].Reason, "hunter") {
		t.Errorf("problems %v, want one without the text", got.Problems)
	}
}

func TestFind(t *testing.T) {
	table := marshal(t, plain())
	mem := make([]byte, 8192)
	copy(mem[0x20:], "iBFT")                    // a signature alone
	copy(mem[0x48:], table)                     // not at 16
	copy(mem[0x400:], table)                    // good
	mem[0x400+9]++                              // with a wrong checksum: Parse's to say
	copy(mem[0x800:], table)                    // good
	copy(mem[0xff0:], "IBFT")                   // length over the end
	copy(mem[0xff4:], "\x00\x00\x01\x00")       //
	copy(mem[8192-len(table)&^15-16:], "BIFT")  // at the end
	set16(mem, 8192-len(table)&^15-16+4, 66)    //
	copy(mem[8192-16:], "iBFT\x42\x00\x00\x00") // no room for a header
	want := []int{0x400, 0x800, 8192 - len(table)&^15 - 16}
	if diff := cmp.Diff(want, Find(mem)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for n := range 200 {
		Find(mem[0x400:][:n]) // no prefix panics
	}
}
