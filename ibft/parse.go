package ibft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// findStep is the alignment of a table in low memory.
const findStep = 16

// Find returns the offsets at which a table may start in mem, a copy of low
// memory, in order: at a multiple of 16 there is a signature and a length that
// fits. Parse says of each whether it is one.
func Find(mem []byte) []int {
	var found []int
	for at := 0; at+minLen <= len(mem); at += findStep {
		b := mem[at:]
		n := uint64(binary.LittleEndian.Uint32(b[hdrLength:]))
		if validSignature(string(b[:4])) && n >= minLen && n <= uint64(len(b)) {
			found = append(found, at)
		}
	}
	return found
}

// Parse decodes the table at the start of b; bytes after its length are
// ignored. It fails with a *FormatError when the header, the checksum or the
// control structure is wrong. Everything else that is wrong is in
// Table.Problems.
func Parse(b []byte) (*Table, error) { return parse(b, false) }

// ParseLenient is Parse, but a length beyond b, a wrong revision and a wrong
// checksum are Problems too. It is for a person who knows what the firmware
// gets wrong.
func ParseLenient(b []byte) (*Table, error) { return parse(b, true) }

func parse(b []byte, lenient bool) (*Table, error) {
	if len(b) < minLen {
		return nil, fault(len(b), "table", len(b), "at least %d bytes", minLen)
	}
	if sig := string(b[:4]); !validSignature(sig) {
		return nil, fault(hdrSignature, "signature", strconv.Quote(sig), `"iBFT", "BIFT" or "IBFT"`)
	}
	length := binary.LittleEndian.Uint32(b[hdrLength:])
	if length < minLen {
		return nil, fault(hdrLength, "length", length, "at least %d", minLen)
	}
	end := int(min(uint64(length), uint64(len(b))))
	d := decoder{b: b[:end], seen: make(map[int]bool)}
	for _, e := range tolerable(length, b, d.b) {
		if !lenient {
			return nil, e
		}
		d.problem(e.Offset, "%s", e.reason())
	}
	if id := b[hdrLen+structID]; id != idControl {
		return nil, fault(hdrLen+structID, "id of the control structure", id, "%d", idControl)
	}
	if n := d.u16(hdrLen + structLen); n < ctlLen {
		return nil, fault(hdrLen+structLen, "length of the control structure", n, "at least %d", ctlLen)
	}
	t := d.table()
	t.Problems = d.problems
	return t, nil
}

// tolerable returns what is wrong with the header that ParseLenient goes
// beyond. table is b as far as its length goes.
func tolerable(length uint32, b, table []byte) (faults []*FormatError) {
	if uint64(length) > uint64(len(b)) {
		faults = append(faults, fault(hdrLength, "length", length, "at most %d, the bytes that were read", len(b)))
	}
	if rev := b[hdrRevision]; rev != 1 {
		faults = append(faults, fault(hdrRevision, "revision", rev, "1"))
	}
	if off, c := sum(table), b[hdrChecksum]; off != 0 {
		faults = append(faults, fault(hdrChecksum, "checksum", c, "%d", c-off))
	}
	for _, e := range faults {
		e.Tolerable = true
	}
	return faults
}

// decoder reads from b, which ends where the table ends. Its methods that take
// an offset expect that the caller has checked it.
type decoder struct {
	b        []byte
	seen     map[int]bool // offsets of the structures read so far
	problems []Problem
}

func (d *decoder) problem(off int, format string, args ...any) {
	d.problems = append(d.problems, Problem{off, fmt.Sprintf(format, args...)})
}

func (d *decoder) u16(at int) int { return int(binary.LittleEndian.Uint16(d.b[at:])) }

func (d *decoder) table() *Table {
	t := &Table{
		Signature:  string(d.b[:4]),
		OEMID:      d.fixed(hdrOEMID, hdrOEMTableID, "OEM ID"),
		OEMTableID: d.fixed(hdrOEMTableID, hdrOEMTableID+8, "OEM table ID"),
	}
	// The control structure's length may be nonsense. A structure that it
	// points to cannot lie within it, so the first one ends the pointers.
	end := min(hdrLen+d.u16(hdrLen+structLen), len(d.b), ctlInitiator+2*maxPointers)
	for at := ctlInitiator; at+2 <= end; at += 2 {
		if p := d.u16(at); p != 0 && d.structure(t, at, p) {
			end = min(end, p)
		}
	}
	return t
}

// structure adds the structure at p, to which the pointer at at leads, to t.
// Its id decides what it is: the order of the pointers is not reliable. It
// reports whether there is a structure that it knows.
func (d *decoder) structure(t *Table, at, p int) bool {
	if p < minLen || p+structHdrLen > len(d.b) {
		d.problem(at, "pointer to a structure: expected %d to %d, found %d", minLen, len(d.b)-structHdrLen, p)
		return false
	}
	if d.seen[p] {
		d.problem(at, "pointer to a structure: expected one not yet read, found %d again", p)
		return false
	}
	d.seen[p] = true

	var kind string
	var size int
	switch id := d.b[p+structID]; id {
	case idInitiator:
		kind, size = "initiator", iniLen
	case idNIC:
		kind, size = "NIC", nicLen
	case idTarget:
		kind, size = "target", tgtLen
	case idExtensions:
		return true
	default:
		d.problem(p+structID, "id of a structure: expected %d to %d, found %d", idInitiator, idExtensions, id)
		return false
	}
	if n := min(d.u16(p+structLen), len(d.b)-p); n < size {
		d.problem(p+structLen, "%s structure: expected %d bytes, found %d; skipped", kind, size, n)
		return false
	}
	switch {
	case size == nicLen:
		t.NICs = append(t.NICs, d.nic(p))
	case size == tgtLen:
		t.Targets = append(t.Targets, d.target(p))
	case t.Initiator == nil:
		t.Initiator = d.initiator(p)
	default:
		d.problem(p, "initiator structure: expected one, found another; skipped")
	}
	return true
}

func (d *decoder) flag(p, bit int) bool { return d.b[p+structFlags]>>bit&1 == 1 }

func (d *decoder) initiator(p int) *Initiator {
	return &Initiator{
		Index:  d.b[p+structIndex],
		Valid:  d.flag(p, 0),
		Boot:   d.flag(p, 1),
		Name:   d.text(p+iniName, "initiator name"),
		ISNS:   d.addr(p + iniISNS),
		SLP:    d.addr(p + iniSLP),
		RADIUS: [2]netip.Addr{d.addr(p + iniRADIUS), d.addr(p + iniRADIUS + addrLen)},
	}
}

func (d *decoder) nic(p int) NIC {
	n := NIC{
		Index:     d.b[p+structIndex],
		Valid:     d.flag(p, 0),
		Boot:      d.flag(p, 1),
		Global:    d.flag(p, 2),
		IP:        d.addr(p + nicIP),
		PrefixLen: d.prefix(p),
		Origin:    Origin(d.b[p+nicOrigin]),
		Gateway:   d.addr(p + nicGateway),
		DNS:       [2]netip.Addr{d.addr(p + nicDNS), d.addr(p + nicDNS + addrLen)},
		DHCP:      d.addr(p + nicDHCP),
		VLAN:      uint16(d.u16(p + nicVLAN)),
		MAC:       [6]byte(d.b[p+nicMAC:]),
		PCI:       uint16(d.u16(p + nicPCI)),
		Hostname:  d.text(p+nicHostname, "host name"),
	}
	if n.MAC == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} {
		n.MAC = [6]byte{}
	}
	return n
}

func (d *decoder) target(p int) Target {
	return Target{
		Index:             d.b[p+structIndex],
		Valid:             d.flag(p, 0),
		Boot:              d.flag(p, 1),
		RADIUSCHAP:        d.flag(p, 2),
		RADIUSRCHAP:       d.flag(p, 3),
		IP:                d.addr(p + tgtIP),
		Port:              uint16(d.u16(p + tgtPort)),
		LUN:               d.lun(p + tgtLUN),
		CHAPType:          CHAPType(d.b[p+tgtCHAPType]),
		NIC:               d.b[p+tgtNIC],
		Name:              d.text(p+tgtName, "target name"),
		CHAPName:          d.text(p+tgtCHAPName, "CHAP name"),
		CHAPSecret:        d.secret(p+tgtCHAPSecret, "CHAP secret"),
		ReverseCHAPName:   d.text(p+tgtReverseCHAPName, "reverse CHAP name"),
		ReverseCHAPSecret: d.secret(p+tgtReverseCHAPSecret, "reverse CHAP secret"),
	}
}

// lun reads a LUN, which stands in the table as SAM writes it. Some firmware
// writes a big-endian number of eight bytes. Below 256 that cannot be
// mistaken: SAM has nothing below a first level of 0. A little-endian number
// can be: 01 00 is 1, or what Linux calls 256. It is read as SAM.
func (d *decoder) lun(at int) LUN {
	l := LUN(d.b[at:])
	if n := l[7]; n != 0 && l == (LUN{7: n}) {
		l = LUN{1: n}
		d.problem(at, "LUN: expected it in bytes 0 and 1, found %d in byte 7 and took that", n)
	}
	return l
}

// prefix reads the prefix of the NIC at p. One that counts the 96 bits before
// an IPv4-mapped address, too, is made to count those of the address.
func (d *decoder) prefix(p int) int {
	n := int(d.b[p+nicPrefix])
	is4 := d.addr(p + nicIP).Is4()
	if is4 && n >= 96 && n <= 128 && bytes.HasPrefix(d.b[p+nicIP:], []byte(v4Mapped)) {
		return n - 96
	}
	if limit := prefixLimit(is4); n > limit {
		d.problem(p+nicPrefix, "prefix length: expected at most %d, found %d; left out", limit, n)
		return 0
	}
	return n
}

func (d *decoder) addr(at int) netip.Addr { return decodeAddr([addrLen]byte(d.b[at:])) }

// decodeAddr returns the address of a field, or the zero Addr where the table
// leaves it out: ::, or 0.0.0.0 or 255.255.255.255 in any form.
//
// IPv4 should be mapped, ::ffff:a.b.c.d. Firmware also writes ::a.b.c.d, and
// a.b.c.d in the first four bytes. The last is not told from an IPv6 address
// with twelve bytes 0 where such addresses are in use, 2000::/3 and from
// fc00:: up (but for ffff:ffff::); there it is IPv6.
func decodeAddr(b [addrLen]byte) netip.Addr {
	var head, tail = [4]byte(b[:4]), [4]byte(b[12:])
	v4, none := tail, [4]byte{255, 255, 255, 255}
	switch {
	case string(b[:12]) == v4Mapped:
	case b == [addrLen]byte{12: tail[0], tail[1], tail[2], tail[3]} && (tail[0] != 0 || tail == [4]byte{}):
	case b == [addrLen]byte{head[0], head[1], head[2], head[3]} && (head == none || head[0]>>5 != 1 && head[0] < 0xfc):
		v4 = head
	default:
		return netip.AddrFrom16(b)
	}
	if v4 == none || v4 == [4]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom4(v4)
}

// fixed reads the text in b[from:to], which need not end in NUL.
func (d *decoder) fixed(from, to int, field string) string {
	s, _, _ := strings.Cut(string(d.b[from:to]), "\x00")
	return d.checked(from, s, field)
}

func (d *decoder) checked(at int, s, field string) string {
	if fault := checkText(s); fault != "" {
		d.problem(at, "%s: %s; left out", field, fault)
		return ""
	}
	return s
}

// item returns the bytes to which the string at at leads, and its length by
// the table, which is more when the table ends before. None: nil, 0.
func (d *decoder) item(at int, field string) (b []byte, n int) {
	n, off := d.u16(at), d.u16(at+2)
	if n == 0 {
		return nil, 0
	}
	if off < minLen || off >= len(d.b) {
		d.problem(at+2, "offset of the %s: expected %d to %d, found %d; left out", field, minLen, len(d.b)-1, off)
		return nil, 0
	}
	return d.b[off:min(off+n, len(d.b))], n
}

// text reads a name, which ends at the first NUL: some firmware counts the NUL,
// or gives a length that runs into the next string.
func (d *decoder) text(at int, field string) string {
	b, n := d.item(at, field)
	s, _, terminated := strings.Cut(string(b), "\x00")
	if !terminated && len(b) < n {
		d.problem(at, "%s: expected its end within the table, found a length of %d; left out", field, n)
		return ""
	}
	return d.checked(at, s, field)
}

// secret reads a secret, which may hold any byte; only its length ends it.
func (d *decoder) secret(at int, field string) Secret {
	b, n := d.item(at, field)
	if n > min(len(b), maxString) {
		d.problem(at, "%s: expected at most %d bytes, found %d; left out", field, min(len(b), maxString), n)
		return ""
	}
	return Secret(b)
}
