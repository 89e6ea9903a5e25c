package ibft

import (
	"fmt"
	"strconv"
)

// The table's header. It is not the standard one of ACPI: there are no OEM
// revision and creator fields.
const (
	hdrSignature  = 0 // [4]byte
	hdrLength     = 4 // uint32, of the whole table
	hdrRevision   = 8
	hdrChecksum   = 9  // makes the bytes of the table add up to 0
	hdrOEMID      = 10 // [6]byte
	hdrOEMTableID = 16 // [8]byte
	hdrLen        = 48
)

// The header of each structure.
const (
	structID      = 0
	structVersion = 1
	structLen     = 2 // uint16, this header included
	structIndex   = 4
	structFlags   = 5
	structHdrLen  = 6
)

// Structure ids.
const (
	idControl    = 1
	idInitiator  = 2
	idNIC        = 3
	idTarget     = 4
	idExtensions = 5 // nobody has defined one
)

// The control structure, which follows the header. Its pointers are uint16
// from the start of the table; 0 points to nothing. More pointers may follow
// the five that are named, as its length says.
const (
	ctlInitiator = hdrLen + 8
	ctlNIC0      = hdrLen + 10
	ctlTarget0   = hdrLen + 12
	ctlLen       = 18
	minLen       = hdrLen + ctlLen // nothing that is pointed to lies before this
)

// maxPointers bounds how many structures are read. Indexes have 8 bits, and
// NICs and targets have their own.
const maxPointers = 2*256 + 2

// The initiator structure. A string is two uint16: its length without the NUL
// that follows it, and its offset from the start of the table.
const (
	iniISNS   = 6
	iniSLP    = 22
	iniRADIUS = 38 // two
	iniName   = 70
	iniLen    = 74
)

// The NIC structure. An address is 16 bytes.
const (
	nicIP       = 6
	nicPrefix   = 22
	nicOrigin   = 23
	nicGateway  = 24
	nicDNS      = 40 // two
	nicDHCP     = 72
	nicVLAN     = 88
	nicMAC      = 90
	nicPCI      = 96
	nicHostname = 98
	nicLen      = 102
)

// The target structure.
const (
	tgtIP                = 6
	tgtPort              = 22
	tgtLUN               = 24
	tgtCHAPType          = 32
	tgtNIC               = 33
	tgtName              = 34
	tgtCHAPName          = 38
	tgtCHAPSecret        = 42
	tgtReverseCHAPName   = 46
	tgtReverseCHAPSecret = 50
	tgtLen               = 54
)

// addrLen is the size of an address, v4Mapped the start of one that holds IPv4.
const (
	addrLen  = 16
	v4Mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
)

// maxString bounds a string, in bytes. A value of iSCSI text is no longer
// (RFC 7143, 6.1), nor is a secret that Linux's initiator and targets take.
const maxString = 255

func validSignature(s string) bool { return s == "iBFT" || s == "BIFT" || s == "IBFT" }

// checkText says what is wrong with a name, "" when nothing is.
func checkText(s string) string {
	if len(s) > maxString {
		return fmt.Sprintf("expected at most %d bytes, found %d", maxString, len(s))
	}
	for _, r := range s {
		if r == '\uFFFD' || !strconv.IsPrint(r) {
			return "expected printable UTF-8 text, found another character"
		}
	}
	return ""
}

// prefixLimit is the longest prefix that an address field can have.
func prefixLimit(is4 bool) int {
	if is4 {
		return 32
	}
	return 128
}

// sum adds up the bytes of a table. A right table gives 0.
func sum(b []byte) byte {
	var n byte
	for _, c := range b {
		n += c
	}
	return n
}

// FormatError says why a table is refused as a whole.
type FormatError struct {
	Offset    int    // of the field, from the start of the table
	Field     string // its name
	Want, Got string
	Tolerable bool // ParseLenient takes the table as far as this fault goes
}

func fault(off int, field string, got any, want string, args ...any) *FormatError {
	return &FormatError{Offset: off, Field: field, Want: fmt.Sprintf(want, args...), Got: fmt.Sprint(got)}
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("iBFT, offset %d: %s", e.Offset, e.reason())
}

func (e *FormatError) reason() string {
	return fmt.Sprintf("%s: expected %s, found %s", e.Field, e.Want, e.Got)
}
