package boot

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/fw"
)

// rootLink leads to what Attach returned, for programs that can't know its name.
const rootLink = "/run/rootlun/root"

// Generate is rootlun as a generator of an initramfs's systemd (systemd.generator(7)),
// which gives the folders: it has systemd run the two units of rootlun's, and mount
// the root where no root= says what that is, as systemd-fstab-generator does it
// where one does. Elsewhere than in an initramfs it does nothing.
func Generate(fsys fs.FS, normal, early, late string) error {
	if !fw.Initramfs(fsys) {
		return nil
	}
	const units = "/usr/lib/systemd/system/"
	g := generated{}
	g.link(path.Join(normal, "initrd-root-device.target.wants/rootlun-attach.service"), units+"rootlun-attach.service")
	g.link(path.Join(normal, "initrd.target.wants/rootlun-handoff.service"), units+"rootlun-handoff.service")
	// Another's network manager waits until it is known whose the NICs are.
	for _, unit := range [...]string{"systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"} {
		g.write(path.Join(normal, unit+".d/rootlun.conf"), "[Unit]\nAfter=rootlun-attach.service\nConditionPathExists=!"+handoff.StateFile+"\n")
	}

	root := fw.ReadRoot(fw.Sources{FS: fsys})
	instead := root.Asks && root.Fallback != "" // another root may be mounted than root= says
	// No disk is late as long as it is being attached: its time begins after that.
	// The name comes behind that of what dracut makes of rd.timeout=.
	times := "[Unit]\nAfter=rootlun-attach.service\nJobTimeoutSec=0\n"
	if instead { // that one may never come, and dracut would wait for it
		times += "JobRunningTimeoutSec=10\n"
	}
	g.write(path.Join(normal, "device.d/zz-rootlun.conf"), times)
	if root.Unknown || root.Other != "" || root.Device != "" && !instead {
		return g.err
	}
	// The early folder goes before systemd-fstab-generator's unit, which waits for a
	// device that some of our root= would be (/dev/root). Where the firmware alone
	// may ask for iSCSI, any other generator that knows a root goes before the late one.
	dir := late
	if root.Asks {
		dir = early
		g.write(path.Join(dir, "initrd-root-device.target.d/50-root-device.conf"), "")
	}
	g.write(path.Join(dir, "sysroot.mount"), rootUnit(root.Root))
	g.link(path.Join(dir, "initrd-root-fs.target.requires/sysroot.mount"), "../sysroot.mount")
	return g.err
}

// rootUnit mounts what rootLink leads to. Where nothing was attached it does
// nothing, and nothing fails.
func rootUnit(root fw.Root) string {
	options := root.Flags
	if options != "" {
		options += ","
	}
	if root.ReadOnly {
		options += "ro"
	} else {
		options += "rw"
	}
	unit := "[Unit]\nDescription=Root on an iSCSI disk\nDocumentation=man:rootlun(8)\nConditionPathExists=" + rootLink +
		"\nAfter=rootlun-attach.service\nBefore=initrd-root-fs.target\n\n[Mount]\nWhat=" + rootLink + "\nWhere=/sysroot\nOptions=" + specifiers(options) + "\n"
	if root.FSType != "" {
		unit += "Type=" + specifiers(root.FSType) + "\n"
	}
	return unit
}

// specifiers makes a text one that systemd takes as it is.
func specifiers(s string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s), "%", "%%")
}

// generated collects what goes wrong.
type generated struct{ err error }

func (g *generated) write(file, text string) {
	g.err = errors.Join(g.err, os.MkdirAll(path.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
}

func (g *generated) link(file, to string) {
	g.err = errors.Join(g.err, os.MkdirAll(path.Dir(file), 0o755), unix.Symlinkat(to, unix.AT_FDCWD, file))
}

// linkRoot makes rootLink lead to a device, which is named as by root=.
func linkRoot(device string) error {
	if kind, name := splitDevice(device); kind != "path" {
		device = "/dev/disk/by-" + strings.ToLower(kind) + "/" + escape(name)
	}
	if err := os.Remove(rootLink); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.MkdirAll(path.Dir(rootLink), 0o755), unix.Symlinkat(device, unix.AT_FDCWD, rootLink))
}

// escape makes of a label what udev's links are called (systemd's
// encode_devnode_name).
func escape(s string) string {
	const plain, digits = "#+-.:=@_", "0123456789abcdef"
	var b strings.Builder
	for _, r := range s {
		if r >= 0x80 || strings.ContainsRune(plain, r) || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			b.WriteRune(r)
		} else {
			b.WriteString(`\x` + string(digits[r>>4]) + string(digits[r&15]))
		}
	}
	return b.String()
}
