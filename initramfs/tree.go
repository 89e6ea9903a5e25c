package initramfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"github.com/u-root/uio/uio"
)

// tree is the image's content by path, without the leading slash.
type tree map[string]cpio.Record

func (t tree) names() []string { return slices.Sorted(maps.Keys(t)) }

// add puts a record in, with the folders above it. A folder may come twice:
// the later one's mode counts.
func (t tree) add(r cpio.Record) error {
	if old, ok := t[r.Name]; ok && !(isDir(old) && isDir(r)) {
		return fmt.Errorf("/%s would be in the image twice", r.Name)
	}
	for dir := path.Dir(r.Name); dir != "."; dir = path.Dir(dir) {
		above, ok := t[dir]
		if ok && !isDir(above) {
			return fmt.Errorf("/%s cannot be below /%s, which is not a folder in the image", r.Name, dir)
		}
		if !ok {
			t[dir] = cpio.Directory(dir, 0o755)
		}
	}
	t[r.Name] = r
	return nil
}

func isDir(r cpio.Record) bool { return r.Mode&cpio.S_IFMT == cpio.S_IFDIR }

// copy adds a file, a symlink, or a folder with all that is in it.
func (t tree) copy(f File) error {
	dst := f.Destination
	if dst == "" {
		abs, err := filepath.Abs(f.Source)
		if err != nil {
			return err
		}
		dst = abs
	}
	if !path.IsAbs(dst) {
		return fmt.Errorf("its place in the image, %s, does not begin with a slash", dst)
	}
	dst = strings.TrimPrefix(path.Clean(dst), "/")
	if dst == "init" || strings.HasPrefix(dst, "init/") {
		return errors.New("/init is rootlun's place in the image")
	}
	return filepath.WalkDir(f.Source, func(src string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(f.Source, src)
		if err != nil {
			return err
		}
		name := path.Join(dst, below)
		if name == "" {
			return nil // the root folder itself
		}
		r, err := record(src, name, d)
		if err != nil {
			return err
		}
		return t.add(r)
	})
}

// record describes a file on disk; its content is read when it is written.
func record(src, name string, d fs.DirEntry) (cpio.Record, error) {
	info, err := d.Info()
	if err != nil {
		return cpio.Record{}, err
	}
	perm := uint64(info.Sys().(*syscall.Stat_t).Mode) & 0o7777
	switch info.Mode().Type() {
	case fs.ModeDir:
		return cpio.Directory(name, perm), nil
	case fs.ModeSymlink:
		target, err := os.Readlink(src)
		return cpio.Symlink(name, target), err
	case 0:
		if info.Size() > math.MaxUint32 {
			return cpio.Record{}, fmt.Errorf("%s is larger than a cpio archive can hold (4 GiB)", src)
		}
		return cpio.Record{
			ReaderAt: uio.NewLazyFile(src),
			Info:     cpio.Info{Name: name, Mode: cpio.S_IFREG | perm, FileSize: uint64(info.Size())},
		}, nil
	}
	return cpio.Record{}, fmt.Errorf("%s is neither a file, a folder nor a symlink", src)
}

// write writes the archive: sorted, so that a folder precedes what is in it,
// inode numbers by position, everything root's.
func (t tree) write(w io.Writer, modTime time.Time) error {
	var mtime int64
	if !modTime.IsZero() {
		mtime = modTime.Unix()
	}
	if mtime < 0 || mtime > math.MaxUint32 {
		return fmt.Errorf("the time %s does not fit into a cpio archive", modTime)
	}
	out := cpio.Newc.Writer(w)
	for i, name := range t.names() {
		r := t[name]
		r.Ino, r.NLink, r.MTime = uint64(i+1), 1, uint64(mtime)
		if isDir(r) {
			r.NLink = 2
		}
		if err := out.WriteRecord(r); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return cpio.WriteTrailer(out)
}
