package fw

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/ibft"
)

// readIBFT reads the table as the kernel's iscsi_ibft shows it.
func readIBFT(fsys fs.FS, _ bool) []*firmware {
	return []*firmware{fromSysfs(fsys, ibftDir, "iBFT (sysfs)")}
}

// readAdapters reads what offload adapters are set to, iscsi_bootN of the SCSI host
// N each. All of them add up; an index is of use within one adapter only.
func readAdapters(fsys fs.FS, _ bool) []*firmware {
	const dir, most = "sys/firmware", 64
	var hosts []int
	entries, _ := stable.ReadDir(fsys, dir)
	for _, e := range entries {
		if n, ok := numbered(e.Name(), "iscsi_boot"); ok {
			hosts = append(hosts, n)
		}
	}
	stable.Sort(hosts, cmp.Compare)
	out := new(firmware)
	for _, n := range hosts[:min(len(hosts), most)] {
		name := "iscsi_boot" + strconv.Itoa(n)
		out.add(fromSysfs(fsys, path.Join(dir, name), name+" (sysfs)"))
	}
	return []*firmware{out}
}

// numbered reads the number in the name of a thing that sysfs counts: "target0".
func numbered(name, kind string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, kind)
	u, err := strconv.ParseUint(digits, 10, 31)
	return int(u), ok && err == nil && digits == strconv.FormatUint(u, 10)
}

// fromSysfs reads the tree in dir. One that is not there says nothing.
func fromSysfs(fsys fs.FS, dir, from string) *firmware {
	t, err := readSysfs(fsys, dir)
	switch {
	case err == nil:
		return fromTable(t, from)
	case !errors.Is(err, fs.ErrNotExist):
		return refused("/"+dir, err)
	}
	return &firmware{}
}

// readSysfs reads the tree by which the kernel shows a table (its
// drivers/firmware/iscsi_ibft.c and drivers/scsi/iscsi_boot_sysfs.c): folders
// initiator, ethernetN and targetN with one attribute a file. Attributes that
// the table leaves out are not there. What cannot be read is in Problems; their
// Offset is 0.
func readSysfs(fsys fs.FS, dir string) (*ibft.Table, error) {
	entries, err := stable.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	const most = 256 // indexes have 8 bits
	t := &ibft.Table{Signature: "iBFT"}
	for _, e := range entries {
		a := &attributes{fsys: fsys, dir: path.Join(dir, e.Name()), table: t}
		_, isNIC := numbered(e.Name(), "ethernet")
		_, isTarget := numbered(e.Name(), "target")
		switch {
		case e.Name() == "initiator":
			valid, boot := a.flags()
			t.Initiator = &ibft.Initiator{
				Index: a.byte("index"), Valid: valid, Boot: boot, Name: a.name("initiator-name"),
			}
		case isNIC && len(t.NICs) < most:
			t.NICs = append(t.NICs, a.nic())
		case isTarget && len(t.Targets) < most:
			if g, ok := a.target(); ok {
				t.Targets = append(t.Targets, g)
			}
		}
	}
	return t, nil
}

// attributes reads the files of one folder.
type attributes struct {
	fsys  fs.FS
	dir   string
	table *ibft.Table
}

func (a *attributes) problem(name string, format string, args ...any) {
	a.table.Problems = append(a.table.Problems, ibft.Problem{
		Reason: "/" + path.Join(a.dir, name) + ": " + fmt.Sprintf(format, args...),
	})
}

// text returns an attribute without the newline that the kernel adds; "" when
// it is not there.
func (a *attributes) text(name string) string {
	b, err := readSmall(a.fsys, path.Join(a.dir, name), 4096)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.problem(name, "%v", err)
		}
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// name is text that may be shown: control characters are not in it.
func (a *attributes) name(name string) string {
	s := a.text(name)
	if !printable(s) {
		a.problem(name, "expected text, found a control character; left out")
		return ""
	}
	return s
}

// printable reports whether a text may be shown as it is.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) })
}

func (a *attributes) number(name string, bits int) uint64 {
	s := a.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		a.problem(name, "expected a number of %d bits, found %s; taken for 0", bits, quote(s))
		return 0
	}
	return n
}

func (a *attributes) byte(name string) uint8 { return uint8(a.number(name, 8)) }

func (a *attributes) flags() (valid, boot bool) {
	n := a.byte("flags")
	return n&1 != 0, n&2 != 0
}

// addr reads an address: dotted when the table has it IPv4-mapped, else eight
// groups of four hexadecimal digits. Some firmware writes ::a.b.c.d for IPv4.
func (a *attributes) addr(name string) netip.Addr {
	s := a.text(name)
	if s == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		a.problem(name, "expected an address, found %s; left out", quote(s))
		return netip.Addr{}
	}
	b := addr.As16()
	if tail := [4]byte(b[12:]); tail[0] != 0 && b == [16]byte{12: tail[0], tail[1], tail[2], tail[3]} {
		addr = netip.AddrFrom4(tail)
	}
	return present(addr)
}

func (a *attributes) nic() ibft.NIC {
	valid, boot := a.flags()
	n := ibft.NIC{
		Index:     a.byte("index"),
		Valid:     valid,
		Boot:      boot,
		Global:    a.byte("flags")&4 != 0,
		IP:        a.addr("ip-addr"),
		PrefixLen: int(a.byte("prefix-len")),
		Origin:    ibft.Origin(a.byte("origin")),
		Gateway:   a.addr("gateway"),
		DNS:       [2]netip.Addr{a.addr("primary-dns"), a.addr("secondary-dns")},
		DHCP:      a.addr("dhcp"),
		VLAN:      uint16(a.number("vlan", 16)),
		PCI:       a.pci(),
		Hostname:  a.name("hostname"),
	}
	if n.IP.Is4() && n.PrefixLen > 96 && n.PrefixLen <= 128 {
		n.PrefixLen -= 96 // counted within the mapped address
	}
	if n.IP.IsValid() && n.PrefixLen > n.IP.BitLen() {
		a.problem("prefix-len", "expected at most %d, found %d; left out", n.IP.BitLen(), n.PrefixLen)
		n.PrefixLen = 0
	}
	if s := a.text("mac"); s != "" {
		mac, err := net.ParseMAC(s)
		switch {
		case err != nil || len(mac) != len(n.MAC):
			a.problem("mac", "expected an Ethernet address, found %s; left out", quote(s))
		case s != "ff:ff:ff:ff:ff:ff":
			n.MAC = [6]byte(mac)
		}
	}
	return n
}

// pci reads the address to which the link "device" leads, in the form that the
// table has.
func (a *attributes) pci() uint16 {
	link, err := fs.ReadLink(a.fsys, path.Join(a.dir, "device"))
	if err != nil {
		return 0
	}
	slot, ok := strings.CutPrefix(path.Base(link), "0000:") // BB:DD.F
	if !ok || len(slot) != 7 || slot[2] != ':' || slot[5] != '.' {
		return 0
	}
	bus, err1 := strconv.ParseUint(slot[:2], 16, 8)
	device, err2 := strconv.ParseUint(slot[3:5], 16, 5)
	function, err3 := strconv.ParseUint(slot[6:], 16, 3)
	if errors.Join(err1, err2, err3) != nil {
		return 0
	}
	return uint16(bus<<8 | device<<3 | function)
}

func (a *attributes) target() (g ibft.Target, ok bool) {
	valid, boot := a.flags()
	flags := a.byte("flags")
	g = ibft.Target{
		Index:             a.byte("index"),
		Valid:             valid,
		Boot:              boot,
		RADIUSCHAP:        flags&4 != 0,
		RADIUSRCHAP:       flags&8 != 0,
		IP:                a.addr("ip-addr"),
		Port:              uint16(a.number("port", 16)),
		NIC:               a.byte("nic-assoc"),
		Name:              a.name("target-name"),
		CHAPName:          a.name("chap-name"),
		CHAPSecret:        ibft.Secret(a.text("chap-secret")),
		ReverseCHAPName:   a.name("rev-chap-name"),
		ReverseCHAPSecret: ibft.Secret(a.text("rev-chap-name-secret")), // the kernel's spelling
	}
	g.CHAPType = a.chapType(&g)
	var err error
	if g.LUN, err = parseSysfsLUN(a.text("lun")); err != nil {
		a.problem("lun", "%v; the target is left out", err)
		return g, false
	}
	return g, true
}

// chapType reads the CHAP type. The offload adapters' drivers do not show one
// (be2iscsi, qla4xxx); there the strings say what is asked for.
func (a *attributes) chapType(g *ibft.Target) ibft.CHAPType {
	_, err := fs.Stat(a.fsys, path.Join(a.dir, "chap-type"))
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return ibft.CHAPType(a.byte("chap-type"))
	case g.ReverseCHAPName != "" || g.ReverseCHAPSecret != "":
		return ibft.CHAPMutual
	case g.CHAPName != "" || g.CHAPSecret != "":
		return ibft.CHAPOneWay
	}
	return ibft.CHAPNone
}

// parseSysfsLUN reads the eight bytes of a LUN, which the kernel prints each
// with %x and nothing between, so that a byte has one digit or two: "00ff00…"
// may be 0 0 f f and 0 0 ff. What is taken is a LUN of one level, whose last
// six bytes are 0: its first two bytes have
//
//	two digits    one each
//	three digits  0, then two; else two (flat addressing, 0x40 and up), then one
//	four digits   two each
//
// Sixteen digits are two for each byte, in case a kernel pads them.
func parseSysfsLUN(s string) (ibft.LUN, error) {
	var l ibft.LUN
	if s == "" {
		return l, nil
	}
	if len(s) == 8 && isHex(s) {
		for i := range l {
			l[i] = hexDigit(s[i])
		}
		return l, nil
	}
	if len(s) == 16 {
		if _, err := hex.Decode(l[:], []byte(s)); err == nil {
			return l, nil
		}
	}
	level, ok := strings.CutSuffix(s, "000000")
	if ok && len(level) == 3 {
		if level[0] == '0' {
			level = "0" + level
		} else {
			level = level[:2] + "0" + level[2:]
		}
	}
	n, err := strconv.ParseUint(level, 16, 16)
	if !ok || err != nil || len(level) != 4 {
		return ibft.LUN{}, fmt.Errorf("expected the eight bytes of a LUN of one level, found %s", quote(s))
	}
	l[0], l[1] = byte(n>>8), byte(n)
	return l, nil
}

func hexDigit(c byte) byte {
	n, _ := strconv.ParseUint(string(c), 16, 8)
	return byte(n)
}
