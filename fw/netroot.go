package fw

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/ibft"
)

// portal is a target of the command line, and what binds it to a NIC.
type portal struct {
	Target
	netdev string
	word   string // what named it, where its server is still missing
}

const defaultPort = 3260 // RFC 7143, 4.2.7.1

// setNetroot reads netroot=. Other programs' forms (nfs:, nbd:, …) are theirs.
func setNetroot(c *command, w word) error {
	kind, rest, more := strings.Cut(w.value, ":")
	switch {
	case w.value == "dhcp" || w.value == "dhcp6":
		c.dhcpRoot = "netroot=" + w.value
	case kind != "iscsi":
	case !more || rest == "":
		c.asks, c.dhcpRoot = true, "netroot=iscsi"
	default:
		c.asks = true
		t := &portal{word: "netroot=" + hideNetroot(w.value)}
		if err := c.parseTarget(rest, "netroot=", t); err != nil {
			return err
		}
		c.targets = append(c.targets, t)
	}
	return nil
}

// setISCSIRoot reads iscsiroot=, an old form of netroot=iscsi:….
func setISCSIRoot(c *command, w word) error {
	c.asks = true
	t := &portal{word: "iscsiroot=" + hideTarget(w.value)}
	if err := c.parseTarget(strings.TrimPrefix(w.value, "iscsi:"), "iscsiroot=", t); err != nil {
		return err
	}
	c.targets = append(c.targets, t)
	return nil
}

// parseTarget reads what follows "iscsi:" (dracut.cmdline(7); RFC 4173, 5):
//
//	[USER:PASSWORD[:REVERSE-USER:REVERSE-PASSWORD]@][SERVER]:[PROTOCOL]:[PORT][:[IFACE]:[NETDEV]]:[LUN]:TARGETNAME
//
// A target without SERVER has an empty Host; one without TARGETNAME, which ends
// in ':', an empty Name. A password with ':' in it does not
// fit in: rd.iscsi.password= takes it. No error repeats a field, as it could be a
// password out of its place.
func (r *report) parseTarget(s, from string, t *portal) error {
	t.Index, t.NIC, t.From = -1, -1, from
	if s == "" || s == "ibft" {
		return errors.New("that names no target")
	}

	start := nameStart(s)
	if start < 0 && strings.HasSuffix(s, ":") {
		start = len(s)
	}
	if start < 0 {
		return errors.New("no target name: it starts with iqn., eui. or naa. and stands last")
	}
	s, t.Name = s[:start], s[start:]

	var err error
	if at := strings.LastIndex(s, "@"); at >= 0 {
		if t.CHAP, err = parseAuth(s[:at]); err != nil {
			return err
		}
		if t.CHAP != nil {
			t.CHAP.From = from
		}
		s = s[at+1:]
	}

	if v6, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok := strings.Cut(v6, "]:")
		if !ok {
			return errors.New("the ']' and a ':' after it are missing")
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return errors.New("that is no IPv6 address in the brackets")
		}
		t.Host, s = host, rest
	} else {
		t.Host, s, _ = strings.Cut(s, ":")
		if err = checkHost(t.Host); err != nil && t.Host != "" {
			return err
		}
	}

	fields := strings.Split(strings.TrimSuffix(s, ":"), ":")
	var protocol, port, lun string
	switch len(fields) {
	case 5:
		protocol, port, t.netdev, lun = fields[0], fields[1], fields[3], fields[4]
	case 3:
		protocol, port, lun = fields[0], fields[1], fields[2]
	case 4: // dracut's parser takes these two; the manual has a ':' more in both
		protocol, port, t.netdev, lun = fields[0], fields[1], fields[2], fields[3]
		r.warn(r.place, ": ", from, ": the field of the iSCSI interface is missing in front of the NIC's in ", quote(t.Name), "'s")
	case 2:
		protocol, port = fields[0], fields[1]
		r.warn(r.place, ": ", from, ": the field of the LUN is missing in front of ", quote(t.Name), "; LUN 0 is taken")
	default:
		return fmt.Errorf("%d fields between the server and the target name instead of 3 (protocol, port, LUN) or 5", len(fields))
	}
	if protocol != "" && protocol != "6" {
		return errors.New("the protocol is not 6 (TCP)")
	}
	if t.Port, err = parsePort(port); err != nil {
		return err
	}
	if t.netdev != "" {
		if err := checkInterface(t.netdev); err != nil {
			return err
		}
	}
	if t.LUN, err = r.parseLUN(lun); err != nil {
		return err
	}
	t.AnyLUN = lun == ""
	if t.Name == "" {
		return nil // its portal has one
	}
	return r.checkName(t.Name)
}

// nameStart returns where in s the target name starts, which is at a field that
// begins as one does in either case of letters; -1: nowhere.
func nameStart(s string) int {
	for at := 0; at+4 <= len(s); at++ {
		if at == 0 || s[at-1] == ':' {
			for _, kind := range []string{"iqn.", "eui.", "naa."} {
				if strings.EqualFold(s[at:at+4], kind) {
					return at
				}
			}
		}
	}
	return -1
}

// parseAuth reads USER:PASSWORD[:REVERSE-USER:REVERSE-PASSWORD]. Nothing at
// all is no authentication.
func parseAuth(s string) (*CHAP, error) {
	if s == "" {
		return nil, nil
	}
	f := strings.Split(s, ":")
	if len(f) != 2 && len(f) != 4 {
		return nil, fmt.Errorf("%d fields in front of '@' instead of 2 or 4", len(f))
	}
	if f[0] == "" || f[1] == "" {
		return nil, errors.New("the user name or the password in front of '@' is empty")
	}
	h := &CHAP{Username: f[0], Password: ibft.Secret(f[1])}
	if len(f) == 4 {
		if f[3] == "" {
			return nil, errors.New("the reverse password in front of '@' is empty")
		}
		h.UsernameIn, h.PasswordIn = f[2], ibft.Secret(f[3])
	}
	return h, nil
}

// parsePort reads a TCP port; an empty one is 3260.
func parsePort(s string) (uint16, error) {
	if s == "" {
		return defaultPort, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, errors.New("the port is not a number from 1 to 65535")
	}
	return uint16(n), nil
}

func orDefault(port uint16) uint16 {
	if port == 0 {
		return defaultPort
	}
	return port
}

// parseLUN reads a LUN as RFC 4173 (5) writes it: up to four groups of one to
// four hexadecimal digits, joined by '-', each group one level of two bytes;
// an empty text is LUN 0. So LUN 16 is written 10.
func (r *report) parseLUN(s string) (ibft.LUN, error) {
	var l ibft.LUN
	if s == "" {
		return l, nil
	}
	bad := errors.New("the LUN is not up to four groups of hexadecimal digits joined by '-' (RFC 4173): LUN 16 is written 10")
	groups := strings.Split(s, "-")
	if len(groups) > 4 {
		return l, bad
	}
	for i, g := range groups {
		n, err := strconv.ParseUint(g, 16, 16)
		if err != nil || len(g) > 4 {
			return ibft.LUN{}, bad
		}
		l[2*i], l[2*i+1] = byte(n>>8), byte(n)
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n != l.Uint64() {
		r.warn(r.place, ": the LUN ", s, " is hexadecimal (RFC 4173): unit ", strconv.FormatUint(l.Uint64(), 10), " is taken")
	}
	return l, nil
}

// checkHost checks the address or the DNS name of a portal.
func checkHost(s string) error {
	if s == "" {
		return errors.New("the server is missing")
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if strings.Trim(s, "0123456789.") == "" {
		return errors.New("the server is no IPv4 address")
	}
	return checkHostname(s)
}

// checkHostname checks the letters of a host name (RFC 1123, 2.1; '_' is
// common in private zones).
func checkHostname(s string) error {
	if len(s) > 253 {
		return errors.New("the host name is longer than 253 bytes")
	}
	for _, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") {
			return errors.New("that is no host name")
		}
		for _, r := range label {
			if !isLetter(r) && !isDigit(r) && r != '-' && r != '_' {
				return errors.New("that is no host name")
			}
		}
	}
	return nil
}

func isLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }
func isDigit(r rune) bool  { return r >= '0' && r <= '9' }

func setInitiator(c *command, w word) error {
	if err := c.checkName(w.value); err != nil {
		return err
	}
	c.names = Initiator{Name: w.value, From: "rd.iscsi.initiator="}
	return nil
}

func setFirmware(c *command, w word) error {
	v, err := boolean(w)
	if err != nil {
		return err
	}
	c.firmware = v
	c.asks = c.asks || v == on
	return nil
}

// hideNetroot hides what may be a secret in netroot= or root=.
func hideNetroot(value string) string {
	kind, rest, ok := strings.Cut(value, ":")
	switch {
	case ok && (kind == "iscsi" || nameStart(rest) >= 0):
		return kind + ":" + hideTarget(rest)
	case strings.Contains(value, "@"):
		return "***" + value[strings.LastIndex(value, "@"):]
	}
	return value
}

// hideTarget hides what stands in front of an '@', and, should the '@' have
// been forgotten, each field between the server and the target name that is
// not plainly something else.
func hideTarget(s string) string {
	name := ""
	if at := nameStart(s); at >= 0 {
		s, name = s[:at], s[at:]
	}
	hidden := ""
	if at := strings.LastIndex(s, "@"); at >= 0 {
		hidden, s = "***@", s[at+1:]
	}
	if strings.HasPrefix(s, "[") {
		end := strings.Index(s, "]") + 1
		hidden, s = hidden+s[:end], s[end:]
	}
	fields := strings.Split(s, ":")
	for i, f := range fields {
		_, err := netip.ParseAddr(f)
		if i > 0 && err != nil && (len(f) > 5 || strings.Trim(f, "0123456789") != "") {
			fields[i] = "***"
		}
	}
	return hidden + strings.Join(fields, ":") + name
}
