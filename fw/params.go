package fw

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/ibft"
)

// parameter is one word that the command line may have.
type parameter struct {
	name string
	old  string // an older name of the same
	form string // how to write it, for messages
	hide func(value string) string
	set  func(c *command, w word) error
}

// parameters returns all words that are understood. Where a word stands more
// than once the last one wins, but for netroot=, ip=, ifname= and
// rd.iscsi.param=, vlan=, bond=, rd.route= and nameserver=, which add up.
func parameters() []parameter {
	const (
		netrootForm = "netroot=iscsi:[USER:PASSWORD[:REVERSE-USER:REVERSE-PASSWORD]@]SERVER:[6]:[PORT]:[LUN]:TARGETNAME, with an IPv6 SERVER in [brackets]; " +
			"for the firmware's target it is rd.iscsi.firmware=1"
		rootForm = "root=LABEL=…, root=UUID=…, root=PARTUUID=…, root=PARTLABEL=…, root=/dev/…, root=iscsi:SERVER:[6]:[PORT]:[LUN]:TARGETNAME, or none for the LUN itself"
		ipForm   = "ip=dhcp, ip=dhcp6, ip=auto6, ip=INTERFACE:dhcp[:MTU], ip=ADDRESS::GATEWAY:NETMASK:HOSTNAME:INTERFACE:none[:MTU] or …:none[:DNS1][:DNS2], with IPv6 in [brackets]"
		iqn      = "iqn.2009-06.com.example:disk"
	)
	return []parameter{
		// Targets.
		{"netroot", "", netrootForm, hideNetroot, setNetroot},
		{"iscsiroot", "", "iscsiroot=SERVER:[6]:[PORT]:[LUN]:TARGETNAME", hideTarget, setISCSIRoot},
		{"rd.iscsi.firmware", "iscsi_firmware", "rd.iscsi.firmware=1 or =0", nil, setFirmware},
		{"iscsi_auto", "", "iscsi_auto", nil, setFirmware},
		{"rd.iscsi.initiator", "iscsi_initiator", "rd.iscsi.initiator=" + iqn, nil, setInitiator},
		{"rd.iscsi.target.name", "iscsi_target_name", "rd.iscsi.target.name=" + iqn, nil, setTargetName},
		{"rd.iscsi.target.ip", "iscsi_target_ip", "rd.iscsi.target.ip=192.168.50.1", nil, setTargetHost},
		{"rd.iscsi.target.port", "iscsi_target_port", "rd.iscsi.target.port=3260", nil, setTargetPort},
		{"rd.iscsi.target.lun", "", "rd.iscsi.target.lun=0, in hexadecimal", nil, setTargetLUN},
		{"rd.iscsi.target.group", "iscsi_target_group", "rd.iscsi.target.group=1", nil, setNumber(nil)},
		{"rd.iscsi.username", "iscsi_username", "rd.iscsi.username=NAME", nil,
			setText(func(c *command) *string { return &c.chap.Username })},
		{"rd.iscsi.password", "iscsi_password", "rd.iscsi.password=SECRET", hideAll,
			setSecret(func(c *command) *ibft.Secret { return &c.chap.Password })},
		{"rd.iscsi.in.username", "iscsi_in_username", "rd.iscsi.in.username=NAME", nil,
			setText(func(c *command) *string { return &c.chap.UsernameIn })},
		{"rd.iscsi.in.password", "iscsi_in_password", "rd.iscsi.in.password=SECRET", hideAll,
			setSecret(func(c *command) *ibft.Secret { return &c.chap.PasswordIn })},
		{"rd.iscsi.param", "iscsi_param", "rd.iscsi.param=node.session.timeo.replacement_timeout=86400", hideParam, setParam},
		{"rd.iscsi.login_retry_max", "", "rd.iscsi.login_retry_max=3", nil,
			setNumber(func(c *command) *string { return &c.retries })},
		{"rd.iscsi.transport", "", "rd.iscsi.transport=tcp", nil, setTransport},
		{"rd.rootlun.credentials", "", "rd.rootlun.credentials=/PATH/TO/FILE or =NAME", nil, setCredentials},
		{"rd.rootlun.auth", "", "rd.rootlun.auth=optional or =required", nil, setAuth},
		{"rd.rootlun.timers", "", "rd.rootlun.timers=root, multipath or auto", nil, setTimers},
		// dracut's switches for what is done here in any case.
		{"rd.iscsi.ibft", "", "rd.iscsi.ibft=1", nil, setIBFT},
		{"rd.rootlun.ibft", "", "rd.rootlun.ibft=lenient", nil, setLenient},
		{"rd.iscsi.mp", "", "rd.iscsi.mp=1", nil, setNothing},
		{"rd.iscsi.waitnet", "", "rd.iscsi.waitnet=0", nil, setNothing},
		{"rd.iscsi.testroute", "", "rd.iscsi.testroute=0", nil, setNothing},

		// The network.
		{"ip", "", ipForm, nil, setIP},
		{"ifname", "", "ifname=INTERFACE:aa:bb:cc:dd:ee:ff", nil, setIfname},
		{"BOOTIF", "", "BOOTIF=01-aa-bb-cc-dd-ee-ff", nil, setBootIf},
		{"rd.bootif", "", "rd.bootif=0", nil, setNoBootIf},
		{"bootdev", "", "bootdev=INTERFACE", nil, setBootdev},
		{"vlan", "", "vlan=vlan5:eth0 or vlan=eth0.5:eth0", nil, setVLAN},
		{"bond", "", "bond=bond0:eth0,eth1:mode=active-backup,miimon=100[:MTU]", nil, setBond},
		{"team", "", "bond=bond0:eth0,eth1:mode=active-backup,miimon=100", nil, setTeam},
		{"bridge", "", "ip=INTERFACE:dhcp", nil, setBridge},
		{"rd.route", "", "rd.route=192.168.200.0/24:192.168.100.222[:eth0], with IPv6 in [brackets]", nil, setRoute},
		{"nameserver", "rd.net.dns", "nameserver=192.168.50.3", nil, setNameserver},
		{"rd.peerdns", "", "rd.peerdns=0", nil, setPeerDNS},
		{"rd.neednet", "", "rd.neednet=1", nil, setNothing},
		{"rd.net.dhcp.retry", "", "rd.net.dhcp.retry=3", nil, setTries},
		{"rd.net.dhcp.vendor-class", "", "rd.net.dhcp.vendor-class=TEXT", nil, setVendorClass},
		{"rd.net.timeout.iflink", "", "rd.net.timeout.iflink=SECONDS", nil, setNetTimeout},
		{"rd.net.timeout.ifup", "", "rd.net.timeout.ifup=SECONDS", nil, setNetTimeout},
		{"rd.net.timeout.carrier", "", "rd.net.timeout.carrier=SECONDS", nil, setNetTimeout},
		{"rd.net.timeout.route", "", "rd.net.timeout.route=SECONDS", nil, setNetTimeout},
		{"rd.net.timeout.dhcp", "", "rd.net.timeout.dhcp=SECONDS", nil, setNetTimeout},
		{"rd.net.timeout.ipv6dad", "", "rd.net.timeout.ipv6dad=SECONDS", nil, setNetTimeout},
		{"rd.net.timeout.ipv6auto", "", "rd.net.timeout.ipv6auto=SECONDS", nil, setNetTimeout},

		// The root and what is done without one.
		{"root", "", rootForm, hideNetroot, setRoot},
		{"rootfstype", "", "rootfstype=ext4", nil, setText(func(c *command) *string { return &c.root.FSType })},
		{"rootflags", "", "rootflags=OPTION,…", nil, setText(func(c *command) *string { return &c.root.Flags })},
		{"ro", "", "ro", nil, setReadOnly(true)},
		{"rw", "", "rw", nil, setReadOnly(false)},
		{"init", "", "init=/sbin/init", nil, setInit},
		{"rd.emergency", "", "rd.emergency=reboot, poweroff, halt or shell", nil, setEmergency},
		{"panic", "", "panic=SECONDS", nil, setPanic},
		{"rd.rootlun.timeout", "", "rd.rootlun.timeout=SECONDS", nil, setTimeout},
		{"rd.rootlun.keep", "", "rd.rootlun.keep=0 or =1", nil, setKeep},
		{"rd.rootlun.fallback", "", "rd.rootlun.fallback=local:/dev/sda2, or local:UUID=, LABEL=, PARTUUID= or PARTLABEL=", nil, setFallback},
	}
}

// lookup finds the parameter of a name. ours says that the name lies in a name
// space that is read here, so that one that is unknown is a mistake.
func lookup(table []parameter, name string) (p *parameter, ours bool) {
	ours = strings.HasPrefix(name, "rd.iscsi.") || strings.HasPrefix(name, "rd.rootlun.") || strings.HasPrefix(name, "rd.net.timeout.") ||
		strings.HasPrefix(name, "iscsi_") && !strings.Contains(name, ".") // not a module's parameter
	for i := range table {
		if p := &table[i]; name == p.name || p.old != "" && name == p.old {
			return p, ours
		}
	}
	return nil, ours
}

// nearest returns the form of the parameter whose name is most like name, or
// "" when none is.
func nearest(table []parameter, name string) string {
	best, form := 4, ""
	for _, p := range table {
		d := distance(name, p.name)
		if p.old != "" {
			d = min(d, distance(name, p.old))
		}
		if d < best {
			best, form = d, p.form
		}
	}
	return form
}

// distance counts the letters to change, add or take away to make b of a.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// The setters that several parameters share.

var errNoValue = errors.New("the value is missing")

func setText(field func(*command) *string) func(*command, word) error {
	return func(c *command, w word) error {
		if w.value == "" {
			return errNoValue
		}
		*field(c) = w.value
		return nil
	}
}

func setSecret(field func(*command) *ibft.Secret) func(*command, word) error {
	return func(c *command, w word) error {
		if w.value == "" {
			return errNoValue
		}
		*field(c) = ibft.Secret(w.value)
		return nil
	}
}

// setNumber checks that a value is a number from 0 to 65535, and keeps its
// text where there is a field for it.
func setNumber(field func(*command) *string) func(*command, word) error {
	return func(c *command, w word) error {
		if _, err := strconv.ParseUint(w.value, 10, 16); err != nil {
			return errors.New("that is not a number from 0 to 65535")
		}
		if field != nil {
			*field(c) = w.value
		}
		return nil
	}
}

// boolean reads a switch as dracut does: given without a value it is on.
func boolean(w word) (choice, error) {
	switch w.value {
	case "1", "yes", "on", "true":
		return on, nil
	case "0", "no", "off", "false":
		return off, nil
	case "":
		if !w.given {
			return on, nil
		}
	}
	return unset, errors.New("that is neither 1 nor 0")
}

// seconds reads a positive number of seconds that an int32 can hold.
func seconds(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		return 0, errors.New("that is not a number of seconds from 1 upwards")
	}
	return int(n), nil
}

// setNetTimeout reads rd.net.timeout.*.
func setNetTimeout(c *command, w word) error {
	n, err := seconds(w.value)
	if w.value == "infinity" { // nm-initrd-generator's
		n, err = math.MaxInt32, nil
	}
	if err != nil {
		return err
	}
	d, t := time.Duration(n)*time.Second, &c.timeouts
	switch strings.TrimPrefix(w.name, "rd.net.timeout.") {
	case "iflink":
		t.Link = d
	case "ifup":
		t.Up = d
	case "carrier":
		t.Carrier = d
	case "route":
		t.Route = d
	case "dhcp":
		t.DHCP = d
	case "ipv6dad":
		t.DAD = d
	case "ipv6auto":
		t.Auto = d
	}
	return nil
}

// setTimers reads rd.rootlun.timers=.
func setTimers(c *command, w word) error {
	switch w.value {
	case "root", "multipath", "auto":
		c.timers = w.value
		return nil
	}
	return errors.New("there are no such timers")
}

func setNothing(_ *command, w word) error {
	_, err := boolean(w)
	return err
}

// setParam reads rd.iscsi.param=NAME=VALUE; the value may stand in quotes.
func setParam(c *command, w word) error {
	name, value, ok := strings.Cut(w.value, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" {
		return errors.New("that is not NAME=VALUE")
	}
	if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		value = value[1 : n-1]
	}
	c.params = append(c.params, Param{name, value})
	return nil
}

// setTransport reads rd.iscsi.transport. An offload adapter's sessions are its
// own; what is logged in to here goes by the kernel's TCP.
func setTransport(c *command, w word) error {
	switch w.value {
	case "", "tcp":
		return nil
	case "iser", "bnx2i", "qedi", "cxgb3i", "cxgb4i", "be2iscsi", "qla4xxx", "ocs":
		c.warn(c.place, ": ", w.name, ": ", w.value, " is not used to log in; tcp is, and an adapter's own sessions are left alone")
		return nil
	}
	return errors.New("there is no such transport")
}

func hideAll(string) string { return "***" }

// hideParam keeps the name of a record setting, and its value unless it is a secret.
func hideParam(value string) string {
	name, value, ok := strings.Cut(value, "=")
	if !ok || name == "" {
		return "***"
	}
	return Param{name, value}.String()
}

// first returns the first of its arguments that is not empty.
func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
