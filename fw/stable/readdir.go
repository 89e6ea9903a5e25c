package stable

import (
	"errors"
	"io/fs"
	"strings"
)

// ReadDir returns what is in a folder, by name, as fs.ReadDir does and 15 KB
// smaller. Entries that were read before an error are returned with it.
func ReadDir(fsys fs.FS, dir string) ([]fs.DirEntry, error) {
	f, err := fsys.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: errors.ErrUnsupported}
	}
	list, err := d.ReadDir(-1)
	Sort(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}
