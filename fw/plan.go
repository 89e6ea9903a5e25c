// Package fw reads every source of boot configuration and merges them into one
// Plan: the firmware's table, the kernel command line, Debian's
// /etc/iscsi.initramfs, a credential file, DHCP. One file a source; the
// precedence stands in merge.go alone.
//
// It changes nothing, and reads these files below the fs.FS it is given:
// proc/cmdline, etc/iscsi.initramfs (on a system that is installed,
// etc/iscsi/iscsi.initramfs), sys/firmware/acpi/tables/iBFT (and its kin),
// sys/firmware/ibft, dev/mem, sys/firmware/iscsi_bootN, proc/device-tree,
// sys/class/iscsi_session, sys/class/iscsi_connection,
// sys/class/net/NAME/address, etc/iscsi/initiatorname.iscsi,
// etc/initiatorname.iscsi, sys/class/dmi/id/product_uuid, a credential file
// (readCredentials has the places), and run/net-NAME.conf when DHCP is to name
// the target.
package fw

import (
	"cmp"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/ibft"
)

// Plan says what to boot from and how. Each value says in From which source
// it came from, in words for a person: "iBFT (ACPI)", "netroot=".
type Plan struct {
	Initiator Initiator
	NICs      []NIC
	Targets   []Target // the one to try first stands first
	Root      Root
	VLANs     []VLAN       // vlan=; the firmware's VLAN is NIC.VLAN
	Bonds     []Bond       // bond=
	Routes    []Route      // rd.route=
	DNS       []netip.Addr // nameserver=, before the NICs' own
	NoPeerDNS bool         // rd.peerdns=0: name servers that DHCP or RA names are not used
	// VendorClass is DHCP's option 60: rd.net.dhcp.vendor-class.
	VendorClass string
	Params      []Param // rd.iscsi.param, in the order given
	Timers      string  // rd.rootlun.timers: root, multipath or auto; empty: auto
	Failure     Failure
	NoKeep      bool // rd.rootlun.keep=0: nobody repairs the sessions until the next system's manager does
	Timeouts    Timeouts
	Warnings    []string

	// AuthOptional is rd.rootlun.auth=optional: a target that wants no
	// authentication is taken without, though there are credentials.
	AuthOptional bool

	// AskDHCP says that no source names the target, and that DHCP is to: the
	// plan is whole only after Lease. It is the word that asks for it,
	// "root=dhcp"; empty otherwise.
	AskDHCP string

	// Credentials are those of the credential file under those of the command
	// line: for discovery, and for targets that Lease has yet to add. The
	// targets above have theirs.
	Credentials Credentials
}

// Initiator is who we are.
type Initiator struct {
	Name string
	From string
}

// NIC is a NIC to bring up. With neither Name nor MAC it is the only one.
type NIC struct {
	Index       int            // its index in the firmware's table; -1 from elsewhere
	Name        string         // from ip=
	MAC         string         // aa:bb:cc:dd:ee:ff, lower case
	PCI         string         // 0000:00:03.0
	VLAN        uint16         // 0: none
	DHCP        bool           // DHCPv4
	DHCP6       bool           // DHCPv6: ip=dhcp6
	RA          bool           // addresses from router advertisements: ip=auto6
	LinkLocal   bool           // ip=link6: its link-local address is enough
	Origin      string         // static, dhcp, ra, wellknown, other
	Address     []netip.Prefix // with DHCP: what to fall back on when no server answers
	Gateway     netip.Addr
	DNS         []netip.Addr
	DHCPServer  netip.Addr
	ClientID    string // DHCP's option 61, its type byte first; empty: the usual one
	Hostname    string
	MTU         int
	SetMAC      string // the address to give the NIC (ip=…:<macaddr>); empty: its own
	Valid, Boot bool   // the firmware's flags
	From        string // what names the NIC
	AddressFrom string // what says how it is addressed
}

// VLAN is vlan=NAME:LINK, a NIC whose frames are tagged and go by another.
type VLAN struct {
	Name string
	ID   uint16
	Link string // interface name, also a bond's, or a MAC
	From string
}

// Bond is bond=NAME:LINKS:OPTIONS:MTU.
type Bond struct {
	Name    string
	Links   []string // interface names or MACs
	Options []Param  // mode=, miimon=, …
	MTU     int      // 0: as it is
	From    string
}

// Route is rd.route=DESTINATION:GATEWAY[:INTERFACE].
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr // not valid: on the link
	Interface   string     // or a MAC; empty: whichever reaches the gateway
	From        string
}

// Target is one logical unit behind one portal.
type Target struct {
	Index       int    // its index in the firmware's table; -1 from elsewhere
	Name        string // iSCSI name; empty: the only one that the portal lists
	Host        string // portal: an address, or a name for the DNS
	Port        uint16
	LUN         ibft.LUN
	AnyLUN      bool // no source names the LUN: where 0 is no disk, another is as good
	NIC         int  // index into Plan.NICs; -1: whichever has the route
	CHAP        *CHAP
	Session     string // the session that an adapter or another program runs to it already, "session1"; empty: none
	Valid, Boot bool   // the firmware's flags
	From        string
}

// Title is the target's name for a person: no source need have one (RFC 4173).
func (t *Target) Title() string { return cmp.Or(t.Name, "(the only one there)") }

// Portal is where to connect, as "host:port" or "[ip6]:port".
func (t *Target) Portal() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Auth names the authentication that the target takes: "none", "chap" or
// "mutual".
func (t *Target) Auth() string {
	switch {
	case t.CHAP == nil:
		return "none"
	case t.CHAP.PasswordIn == "":
		return "chap"
	}
	return "mutual"
}

// CHAP holds credentials. With PasswordIn set the target must prove itself
// too, and by UsernameIn if that is set.
type CHAP struct {
	Username   string
	Password   ibft.Secret
	UsernameIn string
	PasswordIn ibft.Secret
	From       string
}

// Param is one open-iscsi record setting of rd.iscsi.param.
type Param struct{ Name, Value string }

// String is NAME=VALUE, with *** for the value of a secret.
func (p Param) String() string {
	if strings.Contains(p.Name, "password") {
		return p.Name + "=***"
	}
	return p.Name + "=" + p.Value
}

// Root is the root file system and what is run from it.
type Root struct {
	Device   string // "LABEL=…", "UUID=…", "PARTUUID=…", "/dev/…"; empty: the LUN itself, or Other
	Other    string // what root= begins with that another program of the initramfs understands: "live", "zfs", …
	FSType   string // rootfstype=
	Flags    string // rootflags=
	ReadOnly bool   // true but for rw, as the kernel has it
	Init     string // init=; empty: the first of the usual ones that exists
}

// Failure is what to do when the boot cannot go on.
type Failure struct {
	Action  string // rd.emergency=: reboot, poweroff, halt, shell; empty: see Panic
	Panic   int    // panic=: seconds until reboot; negative: at once; 0: not given
	Timeout int    // rd.rootlun.timeout=: seconds for the whole way to the disk; 0: not given

	// Fallback is the root on a disk of this machine that is booted when the
	// target's is not there in time, as Root.Device; rd.rootlun.fallback=local:;
	// empty: none.
	Fallback string
}

// Timeouts holds rd.net.timeout.*: how long to wait for what. 0: not given.
type Timeouts struct {
	Link    time.Duration // .iflink: the device
	Up      time.Duration // .ifup
	Carrier time.Duration // .carrier
	Route   time.Duration // .route
	DHCP    time.Duration // .dhcp: each try
	Tries   int           // rd.net.dhcp.retry: how often DHCP is tried
	DAD     time.Duration // .ipv6dad
	Auto    time.Duration // .ipv6auto
}

// Sources is where Read looks.
type Sources struct {
	FS          fs.FS   // the machine's files, from its root on
	Cmdline     *string // taken in place of proc/cmdline; nil: that
	Table       []byte  // an iBFT in place of all that the firmware has; nil: that
	TableFrom   string  // the name of the file that Table came from
	Credentials string  // systemd's $CREDENTIALS_DIRECTORY, a path; empty: none
}

// Read collects the sources and merges them. It returns every mistake at once
// (errors.Join of *Error), each with the word that was not understood and the
// right form. ErrNothing says that nothing asks for iSCSI.
//
// The Plan is never nil: with an error it holds what was understood, so that
// Failure, for one, is there to say what to do now.
func Read(s Sources) (*Plan, error) {
	cmd := readCmdline(&s)
	table := new(firmware)
	if cmd.firmware != off {
		table = readFirmware(&s, cmd.lenient)
	}
	if !asks(cmd, table) {
		return nothing(cmd, table)
	}
	return merge(cmd, readCredentials(&s, cmd.credentials, &cmd.report), table, machine{s.FS})
}
