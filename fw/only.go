package fw

import (
	"io/fs"
	"strings"
)

// FirmwareOnly is what the firmware alone says of that machine: it hides what
// people configure.
func FirmwareOnly(s Sources) Sources {
	s.FS, s.Cmdline, s.Credentials = firmwareOnly{s.FS}, new(string), ""
	return s
}

type firmwareOnly struct{ fs.FS }

func (f firmwareOnly) Open(name string) (fs.File, error) {
	for _, dir := range [...]string{"etc", "run", "proc/cmdline"} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
	}
	return f.FS.Open(name)
}

// ReadLink and Lstat are fs.ReadLinkFS.
func (f firmwareOnly) ReadLink(name string) (string, error) { return fs.ReadLink(f.FS, name) }

func (f firmwareOnly) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(f.FS, name) }
