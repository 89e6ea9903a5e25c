package fw

import (
	"errors"
	"strconv"
	"strings"
)

// RootWords is what the kernel command line says of the root, which is known
// before any firmware can be asked.
type RootWords struct {
	Root
	Fallback string // as Failure.Fallback
	Asks     bool   // the command line itself asks for iSCSI
	Unknown  bool   // root= is not understood
}

// ReadRoot reads the command line alone. What is wrong with it is for Read to say.
func ReadRoot(s Sources) RootWords {
	c := readCmdline(&s)
	return RootWords{c.root, c.failure.Fallback, c.asks || c.dhcpRoot != "", c.unknownRoot}
}

// setRoot reads root=. Nothing of it is looked up here.
func setRoot(c *command, w word) error {
	c.root.Device, c.root.Other, c.rootTarget, c.unknownRoot = "", "", nil, false // the last root= wins
	if strings.HasPrefix(c.dhcpRoot, "root=") {
		c.dhcpRoot = ""
	}
	value := strings.TrimPrefix(w.value, "block:")
	kind, rest, more := strings.Cut(value, ":")
	switch {
	case kind == "iscsi":
		c.asks = true
		if !more || rest == "" {
			c.dhcpRoot = "root=iscsi"
			return nil
		}
		t := &portal{word: "root=" + hideNetroot(w.value)}
		if err := c.parseTarget(rest, "root=", t); err != nil {
			return err
		}
		c.rootTarget = t
		return nil
	case value == "dhcp" || value == "dhcp6":
		c.dhcpRoot = "root=" + value
		return nil
	case value == "/dev/root": // dracut's name for whatever the network brings
		return nil
	}
	if strings.Contains(otherRoots+noDisks, " "+kind+" ") {
		c.root.Other = kind
		return nil
	}
	device, err := rootDevice(value)
	c.root.Device, c.unknownRoot = device, err != nil
	return err
}

// What root= may begin with that another program of an initramfs understands
// (dracut.cmdline(7), systemd-fstab-generator(8)), which finds it on a disk, and
// which does not.
const (
	otherRoots = " live zfs gpt-auto tmpfs fstab "
	noDisks    = " nfs nfs4 nbd cifs virtiofs "
)

// elsewhere says that root= is on no disk. Then iSCSI is wanted only where the
// command line itself says so.
func (r *Root) elsewhere() bool {
	return r.Other != "" && strings.Contains(noDisks, " "+r.Other+" ")
}

// rootDevice reads what names a file system: a path below /dev, or a tag.
func rootDevice(value string) (string, error) {
	if strings.HasPrefix(value, "/dev/") {
		return value, nil
	}
	tag, text, _ := strings.Cut(value, "=")
	switch {
	case text == "":
	case tag == "LABEL" || tag == "PARTLABEL":
		return tag + "=" + unescape(text), nil
	case tag == "UUID" || tag == "PARTUUID":
		return value, nil
	}
	return "", errors.New("that names no root that is known here")
}

// setFallback reads rd.rootlun.fallback=.
func setFallback(c *command, w word) (err error) {
	device, ok := strings.CutPrefix(w.value, "local:")
	if !ok {
		return errors.New("a fallback can only be a local disk")
	}
	c.failure.Fallback, err = rootDevice(device)
	return err
}

// unescape undoes udev's \xNN, by which a label carries blanks and slashes
// (systemd, encode_devnode_name).
func unescape(s string) string {
	var b strings.Builder
	for {
		head, tail, ok := strings.Cut(s, `\x`)
		b.WriteString(head)
		if !ok {
			return b.String()
		}
		n, err := strconv.ParseUint(tail[:min(2, len(tail))], 16, 8)
		if err != nil || len(tail) < 2 {
			b.WriteString(`\x`)
			s = tail
			continue
		}
		b.WriteByte(byte(n))
		s = tail[2:]
	}
}

// setReadOnly reads ro and rw. With neither the kernel mounts read-only
// (init/do_mounts.c, root_mountflags).
func setReadOnly(ro bool) func(*command, word) error {
	return func(c *command, w word) error {
		if w.given {
			return errors.New("that takes no value")
		}
		c.root.ReadOnly = ro
		return nil
	}
}

func setInit(c *command, w word) error {
	if !strings.HasPrefix(w.value, "/") {
		return errors.New("that is no absolute path")
	}
	c.root.Init = w.value
	return nil
}

func setEmergency(c *command, w word) error {
	switch w.value {
	case "reboot", "poweroff", "halt", "shell":
		c.failure.Action = w.value
		return nil
	}
	return errors.New("there is no such action")
}

// setPanic reads panic= as the kernel does: decimal, octal or hexadecimal,
// negative for at once.
func setPanic(c *command, w word) error {
	n, err := strconv.ParseInt(w.value, 0, 32)
	if err != nil {
		return errors.New("that is no number of seconds")
	}
	c.failure.Panic = int(n)
	return nil
}

func setTimeout(c *command, w word) (err error) {
	c.failure.Timeout, err = seconds(w.value)
	return err
}

// setKeep reads rd.rootlun.keep=.
func setKeep(c *command, w word) error {
	keep, err := boolean(w)
	c.noKeep = keep == off
	return err
}
