package fw

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/ibft"
)

const ofForm = "DEVICE:iscsi,itname=INITIATOR,ciaddr=ADDRESS,subnet-mask=MASK,giaddr=GATEWAY,siaddr=ADDRESS,iport=PORT,ilun=LUN,iname=TARGET"

// readOpenFirmware reads the path that Open Firmware booted from:
//
//	DEVICE:iscsi,itname=INITIATOR,ciaddr=…,siaddr=…,ilun=…,iname=TARGET:PARTITION
//
// The device is a node of the device tree, or the name of an alias of one (IEEE
// 1275, 4.3.1). IBM's POWER firmware has this form; it is not in IEEE 1275. On
// some of it bootpath names a device "iscsi" only, and the path stands in
// nas-bootdevice.
func readOpenFirmware(fsys fs.FS, _ bool) (out []*firmware) {
	const tree = "proc/device-tree"
	for _, name := range [...]string{"bootpath", "nas-bootdevice", "iscsi-bootargs"} {
		property := path.Join(tree, "chosen", name)
		text, err := readProperty(fsys, property)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			out = append(out, refused("/"+property, err))
			continue
		}
		b := bootPath{fsys: fsys, tree: tree, place: "/" + property}
		if b.split(text) {
			out = append(out, b.read())
		}
	}
	return out
}

// readProperty reads a property that is a text, which ends in NUL.
func readProperty(fsys fs.FS, name string) (string, error) {
	const most = 4096
	b, err := readSmall(fsys, name, most)
	if err != nil {
		return "", err
	}
	text, _, terminated := strings.Cut(string(b), "\x00")
	if !terminated && len(b) == most {
		return "", fmt.Errorf("expected at most %d bytes, found more", most)
	}
	return strings.TrimSpace(text), nil
}

// bootPath is a path on its way to a plan.
type bootPath struct {
	firmware
	fsys        fs.FS
	tree, place string
	device      string
	arguments   []string

	ipv6, dhcp, dhcp6   bool
	itname, iname       string // whose is whose: see set
	server, client      netip.Addr
	gateway, dhcpServer netip.Addr
	mask                string
	port, vlan          uint16
	lun                 ibft.LUN
	chap                CHAP
}

// split takes the device off the arguments. It reports whether the path is one
// of iSCSI at all.
func (b *bootPath) split(text string) bool {
	if end := strings.IndexAny(text, "/:"); end != 0 {
		alias, rest := text, ""
		if end > 0 {
			alias, rest = text[:end], text[end:]
		}
		if target, err := readProperty(b.fsys, path.Join(b.tree, "aliases", alias)); err == nil {
			text = target + rest
		}
	}
	device, arguments, _ := strings.Cut(text, ":")
	b.device, b.arguments = device, strings.Split(arguments, ",")
	for _, a := range b.arguments {
		if a == "iscsi" || strings.HasPrefix(a, "iname=") {
			return true
		}
	}
	return false
}

func (b *bootPath) read() *firmware {
	b.from = "Open Firmware (" + path.Base(b.place) + ")"
	b.port = orDefault(0)
	for _, a := range b.arguments {
		key, value, given := strings.Cut(a, "=")
		form, err := b.set(key, value, given)
		if err != nil {
			if strings.HasSuffix(key, "chappw") {
				a = key + "=***"
			}
			b.fail(mistake(b.place, a, form, err))
		}
	}
	b.finish()
	return &b.firmware
}

// set takes one argument. Which of the two names is whose is not what they
// sound like: itname is the initiator's and iname the target's. So write and
// read them IBM's NIM (lpar_netboot), SUSE's lilo (show_of_path.sh) and
// open-iscsi (include/iscsi_obp.h).
func (b *bootPath) set(key, value string, given bool) (form string, err error) {
	addr := func(to *netip.Addr, form string) (string, error) {
		*to, err = ofAddr(value)
		return key + "=" + form, err
	}
	text := func(to *string) (string, error) {
		switch {
		case value == "":
			return key + "=TEXT", errNoValue
		case !printable(value):
			return "", errors.New("expected text, found a control character")
		}
		*to = value
		return "", nil
	}
	number := func(to *uint16, most uint64) (string, error) {
		n, err := strconv.ParseUint(ofValue(value), 10, 16)
		if err != nil || n > most {
			return fmt.Sprintf("%s=0 to %d", key, most), errors.New("that is no such number")
		}
		*to = uint16(n)
		return "", nil
	}
	switch key {
	case "ipv6":
		b.ipv6 = true
	case "bootp":
		b.dhcp = true
	case "dhcp":
		if given {
			form, err = addr(&b.dhcpServer, "192.168.50.1")
		}
		b.dhcp = b.dhcp || !given || b.dhcpServer.IsValid()
		return form, err
	case "dhcpv6":
		b.dhcp6 = true
	case "siaddr":
		return addr(&b.server, "192.168.50.1")
	case "ciaddr":
		return addr(&b.client, "192.168.50.2")
	case "giaddr":
		return addr(&b.gateway, "192.168.50.254")
	case "subnet-mask":
		b.mask = ofValue(value)
	case "iport":
		form, err = number(&b.port, 65535)
		b.port = orDefault(b.port)
		return form, err
	case "vtag": // as GRUB has it
		return number(&b.vlan, 4094)
	case "ilun":
		b.lun, err = ofLUN(ofValue(value))
		return "ilun=1 or ilun=1000000000000, in hexadecimal", err
	case "itname":
		return text(&b.itname)
	case "iname":
		return text(&b.iname)
	case "ichapid":
		return text(&b.chap.Username)
	case "ichappw":
		b.chap.Password = ibft.Secret(value)
	case "chapid":
		return text(&b.chap.UsernameIn)
	case "chappw":
		b.chap.PasswordIn = ibft.Secret(value)
	case "isns", "slp":
		b.warn(b.from, ": ", key, ": a server that knows the target is not asked")
	case "iscsi", "speed", "duplex", "promiscuous", "rawio", "ping", "dev", "isid",
		"filename", "blksize", "bootp-retries", "tftp-retries", "timeout", "vlanpri":
	default:
		if given { // a word alone is a retry count, a partition or a file
			b.warn(b.from, ": ", quote(key), " is not known and has no effect")
		}
	}
	return "", nil
}

// finish makes a NIC and a target of the arguments.
func (b *bootPath) finish() {
	nic := NIC{
		Index: -1, MAC: b.mac(), VLAN: b.vlan, DHCP: b.dhcp, DHCP6: b.dhcp6, Origin: "static",
		Gateway: b.gateway, DHCPServer: b.dhcpServer, Valid: true, Boot: true, From: b.from,
	}
	if b.client.IsValid() {
		mask := b.mask
		if b.client.Is6() && (mask == "" || !isDigits(mask)) {
			mask = "64" // the form has no place for a length
		}
		p, err := parsePrefix(b.client.String(), mask)
		if err != nil {
			b.fail(mistake(b.place, "subnet-mask="+b.mask, "subnet-mask=255.255.255.0", err))
		} else {
			nic.Address = []netip.Prefix{p}
		}
	}
	v6 := b.ipv6 || b.client.Is6() || b.server.Is6()
	switch {
	case nic.DHCP || nic.DHCP6:
		nic.Origin = "dhcp"
	case len(nic.Address) > 0:
	case v6:
		nic.RA, nic.Origin = true, "ra"
	default:
		nic.DHCP, nic.Origin = true, "dhcp"
	}
	b.nics = []NIC{nic}
	if b.itname != "" {
		b.firmware.initiator = Initiator{b.itname, b.from}
	}
	if len(b.errs) > 0 {
		return // a target of which a part is not understood is not the one that is meant
	}

	missing := func(key, what string) {
		b.fail(mistake(b.place, key, ofForm, errors.New(what+" is missing")))
	}
	h := b.chap
	switch {
	case b.iname == "":
		missing("iname", "the target's name")
	case !b.server.IsValid():
		missing("siaddr", "the target's address")
	case h.Username == "" && h.Password != "":
		missing("ichapid", "the CHAP name")
	case h.Password == "" && (h.Username != "" || h.PasswordIn != "" || h.UsernameIn != ""):
		missing("ichappw", "the CHAP secret")
	case h.PasswordIn == "" && h.UsernameIn != "":
		missing("chappw", "the reverse CHAP secret")
	}
	if len(b.errs) > 0 {
		return
	}
	odd, err := checkName(b.iname)
	if err != nil {
		odd = err.Error()
	}
	if odd != "" {
		b.warn(b.from, ": the target's name ", quote(b.iname), ": ", odd, "; taken as it is")
	}
	t := Target{
		Index: -1, Name: b.iname, Host: b.server.String(), Port: b.port, LUN: b.lun, NIC: 0,
		Valid: true, Boot: true, From: b.from,
	}
	if h.Password != "" {
		h.From = b.from
		t.CHAP = &h
	}
	b.targets = []Target{t}
}

// mac reads the address of the device's node: six bytes, or eight of which the
// first two are 0 (the virtual NIC of POWER, the kernel's ibmveth).
func (b *bootPath) mac() string {
	for _, name := range [...]string{"local-mac-address", "mac-address"} {
		m, err := readSmall(b.fsys, path.Join(b.tree, b.device, name), 16)
		if err != nil {
			continue
		}
		if len(m) == 8 {
			m = m[2:]
		}
		if len(m) == 6 && string(m) != "\x00\x00\x00\x00\x00\x00" {
			return net.HardwareAddr(m).String()
		}
	}
	b.warn(b.from, ": no MAC address of the device ", quote(b.device), " in the device tree; the machine's only NIC is taken")
	return ""
}

// ofValue takes off what may follow the last argument, a partition: "1:2".
func ofValue(s string) string {
	if i := strings.IndexAny(s, ":@"); i >= 0 {
		s = s[:i]
	}
	return s
}

// ofAddr reads an address; one of zeros is none.
func ofAddr(s string) (netip.Addr, error) {
	if strings.Contains(s, ".") && !strings.HasPrefix(s, ":") && !strings.HasPrefix(s, "[") {
		s = ofValue(s) // IPv4
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, errors.New("that is no address")
	}
	return present(addr), nil
}

// ofLUN reads a LUN in hexadecimal: up to four digits are its first level, as
// a number; more are all eight bytes of SAM without the zeros in front.
func ofLUN(s string) (l ibft.LUN, err error) {
	n, err := strconv.ParseUint(s, 16, 64)
	switch {
	case err != nil:
		return l, errors.New("that is no LUN")
	case len(s) <= 4:
		n <<= 48
	case n != 0 && n>>48 == 0:
		return l, errors.New("that is no LUN: its first level is 0 and a lower one is not")
	}
	for i := range l {
		l[i] = byte(n >> (56 - 8*i))
	}
	return l, nil
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
