package ibft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// structAlign is the alignment of structures and of the heap (iBFT 1.03,
// 1.4.4.4).
const structAlign = 8

// errTooLong says that a table does not fit: its pointers have 16 bits.
var errTooLong = errors.New("iBFT: the table would be longer than 65535 bytes")

// Marshal encodes the table: control, initiator, pairs of NIC and target, then
// the strings. An empty Signature is "iBFT"; Problems are not looked at. It
// fails on a value that the table cannot hold.
func (t *Table) Marshal() ([]byte, error) {
	e := encoder{b: make([]byte, hdrLen), in: "header"}
	sig := t.Signature
	if sig == "" {
		sig = "iBFT"
	}
	if !validSignature(sig) {
		e.fail("signature", `expected "iBFT", "BIFT" or "IBFT"`)
	}
	copy(e.b[hdrSignature:], sig)
	e.b[hdrRevision] = 1
	e.fixed(hdrOEMID, hdrOEMTableID, t.OEMID, "OEM ID")
	e.fixed(hdrOEMTableID, hdrOEMTableID+8, t.OEMTableID, "OEM table ID")

	pairs := max(2, len(t.NICs), len(t.Targets))
	e.structure(idControl, ctlLen+4*(pairs-2), 0, 0)

	// All structures come before the first string.
	var initiator int
	nics, targets := make([]int, len(t.NICs)), make([]int, len(t.Targets))
	if i := t.Initiator; i != nil {
		initiator = e.structure(idInitiator, iniLen, i.Index, flags(i.Valid, i.Boot))
		e.u16(ctlInitiator, initiator)
	}
	for i := range pairs {
		if i < len(nics) {
			n := t.NICs[i]
			nics[i] = e.structure(idNIC, nicLen, n.Index, flags(n.Valid, n.Boot, n.Global))
			e.u16(ctlNIC0+4*i, nics[i])
		}
		if i < len(targets) {
			g := t.Targets[i]
			targets[i] = e.structure(idTarget, tgtLen, g.Index, flags(g.Valid, g.Boot, g.RADIUSCHAP, g.RADIUSRCHAP))
			e.u16(ctlTarget0+4*i, targets[i])
		}
	}
	e.align()

	if t.Initiator != nil {
		e.initiator(initiator, t.Initiator)
	}
	for i := range pairs {
		if i < len(nics) {
			e.in = fmt.Sprintf("NIC %d", i)
			e.nic(nics[i], &t.NICs[i])
		}
		if i < len(targets) {
			e.in = fmt.Sprintf("target %d", i)
			e.target(targets[i], &t.Targets[i])
		}
	}
	if len(e.b) > math.MaxUint16 {
		return nil, errTooLong
	}
	if e.err != nil {
		return nil, e.err
	}
	binary.LittleEndian.PutUint32(e.b[hdrLength:], uint32(len(e.b)))
	e.b[hdrChecksum] = -sum(e.b)
	return e.b, nil
}

// encoder appends structures and strings to b and keeps the first error.
type encoder struct {
	b   []byte
	in  string // what is being written
	err error
}

func (e *encoder) fail(field, format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("iBFT, %s, %s: %s", e.in, field, fmt.Sprintf(format, args...))
	}
}

func (e *encoder) u16(at, n int) { binary.LittleEndian.PutUint16(e.b[at:], uint16(n)) }

func (e *encoder) align() {
	e.b = append(e.b, make([]byte, -len(e.b)&(structAlign-1))...)
}

// structure appends an empty structure and returns its offset.
func (e *encoder) structure(id byte, size int, index, flags byte) int {
	e.align()
	p := len(e.b)
	e.b = append(e.b, make([]byte, size)...)
	e.b[p+structID], e.b[p+structVersion] = id, 1
	e.u16(p+structLen, size)
	e.b[p+structIndex], e.b[p+structFlags] = index, flags
	return p
}

func flags(bits ...bool) byte {
	var n byte
	for i, bit := range bits {
		if bit {
			n |= 1 << i
		}
	}
	return n
}

func (e *encoder) initiator(p int, i *Initiator) {
	e.in = "initiator"
	e.addr(p+iniISNS, i.ISNS, "iSNS server")
	e.addr(p+iniSLP, i.SLP, "SLP server")
	for k, a := range i.RADIUS {
		e.addr(p+iniRADIUS+k*addrLen, a, "RADIUS server")
	}
	e.text(p+iniName, i.Name, "name")
}

func (e *encoder) nic(p int, n *NIC) {
	e.addr(p+nicIP, n.IP, "address")
	if limit := prefixLimit(n.IP.Unmap().Is4()); n.PrefixLen < 0 || n.PrefixLen > limit {
		e.fail("prefix length", "expected 0 to %d, got %d", limit, n.PrefixLen)
	}
	e.b[p+nicPrefix] = byte(n.PrefixLen)
	e.b[p+nicOrigin] = byte(n.Origin)
	e.addr(p+nicGateway, n.Gateway, "gateway")
	for k, a := range n.DNS {
		e.addr(p+nicDNS+k*addrLen, a, "DNS server")
	}
	e.addr(p+nicDHCP, n.DHCP, "DHCP server")
	e.u16(p+nicVLAN, int(n.VLAN))
	copy(e.b[p+nicMAC:], n.MAC[:])
	e.u16(p+nicPCI, int(n.PCI))
	e.text(p+nicHostname, n.Hostname, "host name")
}

func (e *encoder) target(p int, g *Target) {
	e.addr(p+tgtIP, g.IP, "address")
	e.u16(p+tgtPort, int(g.Port))
	copy(e.b[p+tgtLUN:], g.LUN[:])
	e.b[p+tgtCHAPType] = byte(g.CHAPType)
	e.b[p+tgtNIC] = g.NIC
	e.text(p+tgtName, g.Name, "name")
	e.text(p+tgtCHAPName, g.CHAPName, "CHAP name")
	e.secret(p+tgtCHAPSecret, g.CHAPSecret, "CHAP secret")
	e.text(p+tgtReverseCHAPName, g.ReverseCHAPName, "reverse CHAP name")
	e.secret(p+tgtReverseCHAPSecret, g.ReverseCHAPSecret, "reverse CHAP secret")
}

// addr writes an address, IPv4 as ::ffff:a.b.c.d, none as ::.
func (e *encoder) addr(at int, a netip.Addr, field string) {
	if !a.IsValid() {
		return
	}
	b := a.As16()
	if decodeAddr(b) != a.Unmap() { // a zone, 0.0.0.0, or IPv6 that looks like IPv4
		e.fail(field, "the table has no form for %s", a)
	}
	copy(e.b[at:], b[:])
}

// fixed writes s to b[from:to].
func (e *encoder) fixed(from, to int, s, field string) {
	if fault := checkText(s); fault != "" {
		e.fail(field, "%s", fault)
	}
	if len(s) > to-from {
		e.fail(field, "expected at most %d bytes, got %d", to-from, len(s))
	}
	copy(e.b[from:to], s)
}

func (e *encoder) text(at int, s, field string) {
	if fault := checkText(s); fault != "" {
		e.fail(field, "%s", fault)
	}
	e.item(at, s)
}

func (e *encoder) secret(at int, s Secret, field string) {
	if len(s) > maxString {
		e.fail(field, "expected at most %d bytes, got %d", maxString, len(s))
	}
	e.item(at, string(s))
}

// item appends a string to the heap, with the NUL that its length leaves out.
func (e *encoder) item(at int, s string) {
	if s == "" {
		return
	}
	e.u16(at, len(s))
	e.u16(at+2, len(e.b))
	e.b = append(append(e.b, s...), 0)
}
