package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/session/kernel"
)

// rootTimeout bounds the wait for the root's device once its LUN's disk is
// there: the kernel still reads the partition table.
const rootTimeout = 10 * time.Second

// device is a block device that holds a file system.
type device struct {
	Path string // /dev/sda1
	superblock
}

// findRoot finds the file system that root= names on the LUN's disk ("sda"), or
// without one on any disk of this machine, and waits for it by the kernel's
// uevents.
func findRoot(ctx context.Context, root fw.Root, disk string) (device, error) {
	ctx, cancel := context.WithTimeout(ctx, rootTimeout)
	defer cancel()
	events, err := kernel.ListenUevents()
	if err != nil {
		return device{}, err
	}
	defer events.Close()
	for {
		fsys := os.DirFS("/")
		disks := []string{disk}
		if disk == "" {
			disks = localDisks(fsys)
		}
		err := fmt.Errorf("no disk that could hold %s", root.Device)
		for _, disk := range disks {
			var d device
			if d, err = lookForRoot(fsys, root, disk); err == nil {
				return d, nil
			}
		}
		if _, _, waitErr := events.Next(ctx); waitErr != nil {
			return device{}, err // what is missing says more than that time is up
		}
	}
}

// notThereError says what root= asks for, and what is there instead.
type notThereError struct {
	want  string
	disk  string
	found []string
	parts bool // some of it is what a root may be made of: errContainer
}

func (e *notThereError) Error() string {
	if len(e.found) == 0 {
		return fmt.Sprintf("no %s on disk %s, which holds nothing known", e.want, e.disk)
	}
	return fmt.Sprintf("no %s on disk %s; found: %s", e.want, e.disk, strings.Join(e.found, "; "))
}

// holdsRoot says whether the file system that root= names is on a disk.
func holdsRoot(root fw.Root, disk string) bool {
	_, err := lookForRoot(os.DirFS("/"), root, disk)
	return err == nil
}

// mayHoldRoot says whether it is there, or may be in what the disk holds: a volume
// of LVM, a LUKS one, part of a RAID, which another program than this opens.
func mayHoldRoot(root fw.Root, disk string) bool {
	_, err := lookForRoot(os.DirFS("/"), root, disk)
	e, ok := errors.AsType[*notThereError](err)
	return err == nil || ok && e.parts
}

// lookForRoot looks once, in the devices and sysfs below fsys. A device that
// root= names needs no file system known here when rootfstype= tells what it
// holds.
func lookForRoot(fsys fs.FS, root fw.Root, disk string) (device, error) {
	want := root.Device
	key, value := splitDevice(want)
	probe := func(name string) (device, error) {
		d, err := probe(fsys, name)
		if errors.Is(err, errNoFilesystem) && root.FSType != "" && root.FSType != "auto" && (key == "path" || strings.HasPrefix(key, "PART")) {
			return d, nil
		}
		return d, err
	}
	if key == "path" {
		d, err := probe(strings.TrimPrefix(value, "/dev/"))
		switch {
		case err == nil:
			return d, nil
		case !errors.Is(err, fs.ErrNotExist):
			return d, fmt.Errorf("%s: %w", value, err)
		} // else what is there is told
	}
	var parts []partition
	if key == "PARTUUID" || key == "PARTLABEL" {
		parts = partitionsOf(fsys, disk)
	}
	var found []device
	var seen []string
	container := false
	for _, c := range candidates(fsys, disk) {
		d, err := probe(c.name)
		var uuid, label string
		for _, p := range parts {
			if p.Number == c.number {
				uuid, label = p.UUID, p.Label
			}
		}
		seen = append(seen, describe(c.name, d, uuid, label, err))
		if err != nil {
			container = container || errors.Is(err, errContainer)
			continue
		}
		switch {
		case key == "" && c.number == 0: // the whole LUN is one file system
			return d, nil
		case key == "",
			key == "UUID" && strings.EqualFold(d.UUID, value),
			key == "LABEL" && d.Label == value,
			key == "PARTUUID" && strings.EqualFold(uuid, value),
			key == "PARTLABEL" && label == value:
			found = append(found, d)
		}
	}
	if len(found) == 1 || len(found) > 1 && key != "" {
		return found[0], nil
	}
	if key == "" {
		want = "single file system (root= can name one)"
	}
	return device{}, &notThereError{want, disk, seen, container}
}

func describe(name string, d device, partUUID, partLabel string, err error) string {
	s := name + " is " + d.Type
	if err != nil {
		s = name + ": " + err.Error()
	}
	for _, v := range [...]struct{ key, value string }{{"LABEL", d.Label}, {"UUID", d.UUID}, {"PARTLABEL", partLabel}, {"PARTUUID", partUUID}} {
		if v.value != "" {
			s += " " + v.key + "=" + v.value
		}
	}
	return s
}

// splitDevice takes root= apart: "LABEL" and the label, "path" and the path,
// or "" for the LUN itself.
func splitDevice(want string) (key, value string) {
	if want == "" {
		return "", ""
	}
	link, _ := strings.CutPrefix(want, "/dev/disk/by-")
	switch by, v, ok := strings.Cut(link, "/"); by {
	case "label", "uuid", "partlabel", "partuuid":
		if ok && link != want {
			return strings.ToUpper(by), unescape(v)
		}
	}
	if strings.HasPrefix(want, "/") {
		return "path", path.Clean(want)
	}
	key, value, _ = strings.Cut(want, "=")
	return key, value
}

// unescape undoes udev's \x20 in the names of links.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// candidate is a disk or one of its partitions.
type candidate struct {
	name   string
	number int // of the partition; 0: the whole disk
}

func candidates(fsys fs.FS, disk string) []candidate {
	c := []candidate{{disk, 0}}
	entries, _ := stable.ReadDir(fsys, "sys/class/block/"+disk)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), disk) {
			continue
		}
		b, err := fs.ReadFile(fsys, "sys/class/block/"+disk+"/"+e.Name()+"/partition")
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			c = append(c, candidate{e.Name(), n})
		}
	}
	return c
}

func partitionsOf(fsys fs.FS, disk string) []partition {
	f, err := openDevice(fsys, disk)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := fs.ReadFile(fsys, "sys/class/block/"+disk+"/queue/logical_block_size")
	size, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		size = 512
	}
	return readPartitions(f, size)
}

// probe reads the super block of /dev/NAME.
func probe(fsys fs.FS, name string) (device, error) {
	f, err := openDevice(fsys, name)
	if err != nil {
		return device{}, err
	}
	defer f.Close()
	s, err := readSuperblock(f)
	return device{"/dev/" + name, s}, err
}

// deviceFile is what an open block device offers.
type deviceFile interface {
	fs.File
	ReadAt(b []byte, off int64) (int, error)
}

func openDevice(fsys fs.FS, name string) (deviceFile, error) {
	f, err := fsys.Open("dev/" + name)
	if err != nil {
		return nil, err
	}
	d, ok := f.(deviceFile)
	if !ok {
		f.Close()
		return nil, fmt.Errorf("/dev/%s: %w", name, errors.ErrUnsupported)
	}
	return d, nil
}
