package boot

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/kernel"
)

// link makes the links to a session's disk; a failure is no reason to stop.
func link(c *Console, sid uint32, disk session.Disk) {
	if err := linkDisk("/", sid, disk); err != nil {
		c.Printf("warning: /dev/disk/by-path: %v", err)
	}
}

// linkDisk links to the disk and to its partitions from dev/disk/by-path below
// root, unless udev runs, which does it: by the same names (systemd's
// udev-builtin-path_id.c and 60-persistent-storage.rules).
func linkDisk(root string, sid uint32, disk session.Disk) (err error) {
	fsys := os.DirFS(root)
	sys := kernel.Sysfs(root + "sys")
	target, _ := sys.SessionAttr(sid, "targetname")
	if target == "" || exists(fsys, "run/udev/control") {
		return nil
	}
	conn := fmt.Sprintf("class/iscsi_connection/connection%d:0/persistent_", sid)
	name := root + "dev/disk/by-path"
	if err = os.MkdirAll(name, 0o755); err != nil {
		return err
	}
	name += "/" + linkName(sys.Attr(conn+"address"), sys.Attr(conn+"port"), target, disk.LUN)
	for _, c := range candidates(fsys, disk.Name) {
		link, to := name, "../../"+c.name
		if c.number > 0 {
			link += "-part" + strconv.Itoa(c.number)
		}
		_ = unix.Unlink(link) // of a disk that is gone
		err = unix.Symlinkat(to, unix.AT_FDCWD, link)
	}
	return err
}

// linkName is what udev calls a unit: ip-ADDRESS:PORT-iscsi-TARGET-lun-N, an
// IPv6 address without brackets. A LUN of more than one byte is written as its
// first two levels are (SAM-5, 4.7). As in udev what has no place in such a name
// is '_', and a slash with it: no target chooses the folder.
func linkName(address, port, target string, lun uint64) string {
	unit := strconv.FormatUint(lun, 10)
	if lun > 255 {
		unit = fmt.Sprintf("0x%04x%04x00000000", lun&0xffff, lun>>16&0xffff)
	}
	b := []byte("ip-" + address + ":" + port + "-iscsi-" + target + "-lun-" + unit)
	for i, c := range b {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c < 0x80 && strings.IndexByte("#+-.:=@_", c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}
