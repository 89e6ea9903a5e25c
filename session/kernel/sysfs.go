package kernel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// attrSize bounds what is read of an attribute: sysfs gives a page at most.
const attrSize = 4096

// Sysfs is the folder where sysfs is mounted, "/sys".
type Sysfs string

func (s Sysfs) path(elem ...string) string {
	return path.Join(append([]string{string(s)}, elem...)...)
}

// Handle returns the kernel's name for the iscsi_tcp transport. It is for
// CAP_SYS_ADMIN to read.
func (s Sysfs) Handle() (uint64, error) {
	path := s.path("class/iscsi_transport/tcp/handle")
	text, err := readAttr(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("the kernel has no iSCSI over TCP: %w; check that the module iscsi_tcp is loaded", err)
	}
	if err != nil {
		return 0, err
	}
	handle, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", path, text)
	}
	return handle, nil
}

// Sessions returns the numbers of all iSCSI sessions, in order.
func (s Sysfs) Sessions() ([]uint32, error) {
	names, err := readNames(s.path("class/iscsi_session"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var sids []uint32
	for _, name := range names {
		if n, ok := strings.CutPrefix(name, "session"); ok {
			if sid, err := strconv.ParseUint(n, 10, 32); err == nil {
				sids = insert(sids, uint32(sid))
			}
		}
	}
	return sids, nil
}

func (s Sysfs) session(sid uint32, name string) string {
	return s.path("class/iscsi_session", fmt.Sprintf("session%d", sid), name)
}

// SessionAttr reads an attribute of a session, such as "targetname" or
// "state". What was never set is "".
func (s Sysfs) SessionAttr(sid uint32, name string) (string, error) {
	return readAttr(s.session(sid, name))
}

// ConnAttr reads an attribute of a connection, such as "persistent_address".
func (s Sysfs) ConnAttr(sid, cid uint32, name string) (string, error) {
	return readAttr(s.path("class/iscsi_connection", fmt.Sprintf("connection%d:%d", sid, cid), name))
}

// Attr reads an attribute by its path below sysfs. What was never set, or is not
// there, is "".
func (s Sysfs) Attr(path string) string {
	text, _ := readAttr(s.path(path))
	return text
}

// HostNo returns the number of a session's SCSI host.
func (s Sysfs) HostNo(sid uint32) (uint32, error) {
	dir, err := Resolve(s.session(sid, "device"))
	if err != nil {
		return 0, err
	}
	host := path.Base(path.Dir(dir)) // …/host2/session1
	n, err := strconv.ParseUint(strings.TrimPrefix(host, "host"), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not below a SCSI host", dir)
	}
	return uint32(n), nil
}

// TargetID returns the number of a session's target on its SCSI host: 0 with
// software iSCSI, which has a host for each session.
func (s Sysfs) TargetID(sid uint32) uint32 {
	text, _ := s.SessionAttr(sid, "target_id")
	n, _ := strconv.ParseUint(text, 10, 31) // -1: the session has none yet
	return uint32(n)
}

// PinRecoveryTimeout sets how long the session's devices wait for a lost
// connection, in whole seconds; negative is for ever. After it no
// SESS_RECOVERY_TMO over netlink counts any more (store_priv_session_recovery_tmo).
// The kernel refuses it while the session is down (unix.EBUSY).
func (s Sysfs) PinRecoveryTimeout(sid uint32, d time.Duration) error {
	value := "off"
	if d >= 0 {
		value = strconv.FormatInt(int64(d/time.Second), 10)
	}
	return writeAttr(s.session(sid, "recovery_tmo"), value)
}

// AllLUNs is what Scan takes for every unit that the target reports.
const AllLUNs = ^uint64(0)

// Scan has the kernel look for one logical unit, as it counts them, or for
// AllLUNs. It returns when the unit has answered, or a command's time has run out.
func (s Sysfs) Scan(hostNo, target uint32, lun uint64) error {
	path := s.path("class/scsi_host", fmt.Sprintf("host%d", hostNo), "scan")
	if lun == AllLUNs {
		return writeAttr(path, fmt.Sprintf("0 %d -", target))
	}
	return writeAttr(path, fmt.Sprintf("0 %d %d", target, lun)) // channel, target, LUN
}

// Unit is a SCSI device of a session.
type Unit struct {
	Dir        string // its folder
	Qualifier  byte   // of its INQUIRY data: 0 when a device is there
	Type       byte   // of its INQUIRY data: 0 is a disk
	Vendor     string
	Model      string
	QueueDepth string
}

// UnitPath returns the part of a unit's folder that no other's has. An iSCSI
// host has one channel (scsi_transport_iscsi.c, iscsi_user_scan).
func UnitPath(sid, hostNo, target uint32, lun uint64) string {
	return fmt.Sprintf("session%d/target%d:0:%d/%d:0:%d:%d", sid, hostNo, target, hostNo, target, lun)
}

// Unit returns a session's logical unit; fs.ErrNotExist says that the kernel
// knows none.
func (s Sysfs) Unit(sid, hostNo, target uint32, lun uint64) (Unit, error) {
	session, err := Resolve(s.session(sid, "device"))
	if err != nil {
		return Unit{}, err
	}
	u := Unit{Dir: path.Join(path.Dir(session), UnitPath(sid, hostNo, target, lun))}
	if _, err := os.Stat(u.Dir); err != nil {
		return Unit{}, err
	}
	inquiry, err := readFile(path.Join(u.Dir, "inquiry"))
	if err != nil {
		return Unit{}, err
	}
	if len(inquiry) > 0 {
		u.Qualifier, u.Type = inquiry[0]>>5, inquiry[0]&0x1f // SPC-4, 6.4.2
	}
	u.Vendor, _ = readAttr(path.Join(u.Dir, "vendor"))
	u.Model, _ = readAttr(path.Join(u.Dir, "model"))
	u.Vendor, u.Model = strings.TrimSpace(u.Vendor), strings.TrimSpace(u.Model)
	u.QueueDepth, _ = readAttr(path.Join(u.Dir, "queue_depth"))
	return u, nil
}

// UnitDir returns the folder of a unit below sysfs, with a slash behind it.
func UnitDir(hostNo, target uint32, lun uint64) string {
	return fmt.Sprintf("class/scsi_device/%d:0:%d:%d/device/", hostNo, target, lun)
}

// Rescan has the kernel read the data of the unit in a folder anew, such as its
// size. It returns when the unit has answered.
func (s Sysfs) Rescan(dir string) error { return writeAttr(s.path(dir, "rescan"), "1") }

// Disk returns the name of the block device of the unit in a folder, "" when it
// has none.
func (s Sysfs) Disk(dir string) string {
	names, _ := readNames(s.path(dir, "block"))
	if len(names) == 0 {
		return ""
	}
	return clean(names[0])
}

// LUNs returns the numbers of a session's units that the kernel knows, in their
// order.
func (s Sysfs) LUNs(sid, hostNo, target uint32) ([]uint64, error) {
	session, err := Resolve(s.session(sid, "device"))
	if err != nil {
		return nil, err
	}
	names, err := readNames(path.Join(path.Dir(session), path.Dir(UnitPath(sid, hostNo, target, 0))))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var luns []uint64
	for _, name := range names {
		if text, ok := strings.CutPrefix(name, fmt.Sprintf("%d:0:%d:", hostNo, target)); ok {
			if lun, err := strconv.ParseUint(text, 10, 64); err == nil {
				luns = insert(luns, lun)
			}
		}
	}
	return luns, nil
}

// Block returns the name of a unit's block device, "" when it has none.
func (u Unit) Block() (string, error) {
	names, err := readNames(path.Join(u.Dir, "block"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || len(names) == 0 {
		return "", err
	}
	return names[0], nil
}

// BlockSize returns the size of a block device in bytes.
func (s Sysfs) BlockSize(name string) (uint64, error) {
	path := s.path("class/block", name, "size")
	text, err := readAttr(path)
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseUint(text, 10, 64-9)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number of sectors", path, text)
	}
	return sectors * 512, nil // whatever the device's own block size is
}

// clean replaces what could forge a line or drive a terminal.
func clean(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// readAttr reads a text without its last newline: blanks may be a secret's. The
// class prints what was never set as "(null)" or "<NULL>".
func readAttr(path string) (string, error) {
	b, err := readFile(path)
	text := clean(strings.TrimSuffix(string(b), "\n"))
	if text == "(null)" || text == "<NULL>" {
		text = ""
	}
	return text, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, attrSize))
}

// Resolve returns the name of a file or folder without symbolic links, as the
// kernel has it: sysfs tells by a folder's place what it belongs to.
func Resolve(name string) (string, error) {
	f, err := os.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

func writeAttr(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// insert puts n where it belongs in a list in order. The functions of package
// slices are 3 KB for each type.
func insert[T uint32 | uint64](list []T, n T) []T {
	list = append(list, n)
	for i := len(list) - 1; i > 0 && list[i] < list[i-1]; i-- {
		list[i], list[i-1] = list[i-1], list[i]
	}
	return list
}

// readNames returns what is in a folder, in no order.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
