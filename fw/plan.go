// Package fw reads every source of boot configuration and merges them into one
// Plan: the firmware's table, the kernel command line. One file a source; the
// precedence stands in merge.go alone. It reads files below the fs.FS it is
// given (sys/firmware, proc/cmdline) and changes nothing.
package fw

import (
	"io/fs"
	"net/netip"

	"github.com/rootlun/rootlun/ibft"
)

// Plan says what to boot from and how. Each value says in From which source
// it came from, in words for a person: "iBFT (ACPI)", "netroot=".
type Plan struct {
	Initiator Initiator
	NICs      []NIC
	Targets   []Target // the one to try first stands first
	Root      Root
	Params    []Param // rd.iscsi.param, in the order given
	Failure   Failure
	Warnings  []string
}

// Initiator is who we are.
type Initiator struct {
	Name string
	From string
}

// NIC is a NIC to bring up. With neither Name nor MAC it is the only one.
type NIC struct {
	Index       int    // its index in the firmware's table; -1 from elsewhere
	Name        string // from ip=
	MAC         string // aa:bb:cc:dd:ee:ff, lower case
	PCI         string // 0000:00:03.0
	VLAN        uint16 // 0: none
	DHCP        bool
	Origin      string // static, dhcp, ra, wellknown, other
	Address     []netip.Prefix
	Gateway     netip.Addr
	DNS         []netip.Addr
	DHCPServer  netip.Addr
	Hostname    string
	MTU         int
	Valid, Boot bool // the firmware's flags
	From        string
}

// Target is one logical unit behind one portal.
type Target struct {
	Index       int    // its index in the firmware's table; -1 from elsewhere
	Name        string // iSCSI name
	Host        string // portal: an address, or a name for the DNS
	Port        uint16
	LUN         ibft.LUN
	NIC         int // index into Plan.NICs; -1: whichever has the route
	CHAP        *CHAP
	Valid, Boot bool // the firmware's flags
	From        string
}

// CHAP holds credentials.
type CHAP struct {
	Username   string
	Password   ibft.Secret
	UsernameIn string
	PasswordIn ibft.Secret
}

// Param is one open-iscsi record setting of rd.iscsi.param.
type Param struct{ Name, Value string }

// Root is the root file system and what is run from it.
type Root struct {
	Device   string // "LABEL=…", "UUID=…", "PARTUUID=…", "/dev/…"; empty: the LUN itself
	FSType   string // rootfstype=
	Flags    string // rootflags=
	ReadOnly bool   // ro
	Init     string // init=; empty: the first of the usual ones that exists
}

// Failure is what to do when the boot cannot go on.
type Failure struct {
	Action  string // rd.emergency=: reboot, poweroff, halt, shell; empty: see Panic
	Panic   int    // panic=: seconds until reboot; negative: at once; 0: not given
	Timeout int    // rd.rootlun.timeout=: seconds for the whole way to the disk; 0: not given
}

// Read collects the sources below fsys and merges them. It returns every
// error at once (errors.Join), each with the word that was not understood and
// the right form. ErrNothing says that nothing asks for iSCSI.
func Read(fsys fs.FS) (*Plan, error) { panic("not written yet") }
