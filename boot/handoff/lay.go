package handoff

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// initiatorFile holds the boot's initiator name, below run.
const initiatorFile = "initiatorname.iscsi"

// Attached says whether WriteInitiatorName has been called: sessions were made for
// the next system.
func Attached(run string) bool {
	_, err := os.Stat(path.Join(run, initiatorFile))
	return err == nil
}

// WriteInitiatorName writes the initiator name below run, as open-iscsi has it.
func WriteInitiatorName(run, name string) error {
	return writeFile(path.Join(run, initiatorFile), []byte("# Of this boot, by rootlun\nInitiatorName="+name+"\n"), 0o644)
}

// Lay shows the boot's node records and initiator name to the open-iscsi of the
// system whose root is mounted on root, by mounts that end with the boot:
//
//   - Each record's folder is bound to its place in open-iscsi's database, in
//     /var/lib/iscsi or, as in Debian 12, /etc/iscsi. Of a database that can be
//     written it adds empty folders to that end and nothing else. So every other
//     record stays where it is, and what iscsiadm changes of it lasts.
//   - One that is there already, the administrator's, stays as it is.
//   - /etc/iscsi/initiatorname.iscsi stays as it is when there is a name in it.
//     Where it has none (GenerateName=yes) that of the boot is bound over it;
//     where it is missing it becomes a link to that one, which means as little as
//     no file when another way of booting leaves nothing below /run.
//
// What is missing in a root that is read-only can't be added. final says that it
// will stay so; then a copy in memory is laid over the deepest folder that is there.
// Otherwise it is left for a later call. The error says what could not be done;
// the rest is.
func Lay(root, run string, final bool) error {
	var errs []error
	if etc, ok := inside(root, "etc/iscsi"); ok {
		errs = append(errs, layName(run, etc, final))
	}
	db, ok := inside(root, "var/lib/iscsi")
	if !ok {
		db, ok = inside(root, "etc/iscsi")
	}
	if !ok {
		return errors.Join(errs...)
	}
	ours, theirs := path.Join(run, recordsDir), path.Join(db, "nodes")
	for _, target := range names(ours) {
		for _, portal := range names(path.Join(ours, target)) {
			place := path.Join(theirs, target, portal)
			old := place[:strings.LastIndexByte(place, ',')] // the file that older ones had, which is still read first
			if st, err := os.Stat(old); err == nil && st.Mode().IsRegular() || len(names(place)) > 0 {
				continue
			}
			errs = append(errs, add(run, place, final, func() error {
				if err := os.MkdirAll(place, 0o700); err != nil {
					return err
				}
				return bind(path.Join(ours, target, portal), place)
			}))
		}
	}
	return errors.Join(errs...)
}

// layName gives the folder etc an initiator name if it has none.
func layName(run, etc string, final bool) error {
	place := path.Join(etc, initiatorFile)
	text, err := os.ReadFile(place)
	switch {
	case err == nil && hasName(string(text)):
		return nil
	case err == nil:
		return bind(path.Join(run, initiatorFile), place)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return add(run, place, final, func() error { return unix.Symlink("/run/"+initiatorFile, place) })
}

// add makes a new file; in a read-only file system if that is final.
func add(run, place string, final bool, make func() error) error {
	err := make()
	if !errors.Is(err, unix.EROFS) {
		return err
	}
	if !final {
		return nil
	}
	if err := cover(run, place); err != nil {
		return err
	}
	return make()
}

// hasName says whether a file names the initiator.
func hasName(text string) bool {
	_, name, _ := strings.Cut("\n"+text, "\nInitiatorName=")
	line, _, _ := strings.Cut(name, "\n")
	return strings.TrimSpace(line) != ""
}

// cover binds a copy of the deepest folder above name that is there over it, so
// that files can be added. The copy lies in memory, below run: a kernel may lack
// overlayfs, and of a folder in which the disk's own files are bound Debian's
// open-iscsi takes these mounts away, with all that it finds of that disk.
func cover(run, name string) error {
	dir := path.Dir(name)
	for {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			break
		}
		dir = path.Dir(dir)
	}
	over := path.Join(run, "rootlun/over")
	over = path.Join(over, strconv.Itoa(len(names(over))))
	if err := os.MkdirAll(over, 0o755); err != nil {
		return err
	}
	if err := copyTree(dir, over); err != nil {
		return err
	}
	return bind(over, dir)
}

// copyTree copies the folders, files and links of a folder.
func copyTree(from, to string) error {
	var errs []error
	for _, name := range names(from) {
		from, to := from+"/"+name, to+"/"+name
		st, err := os.Lstat(from)
		if err != nil {
			return err
		}
		switch st.Mode().Type() {
		case fs.ModeDir:
			err = errors.Join(os.Mkdir(to, st.Mode().Perm()), copyTree(from, to))
		case fs.ModeSymlink:
			var link string
			if link, err = os.Readlink(from); err == nil {
				err = unix.Symlink(link, to)
			}
		case 0:
			var text []byte
			if text, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, text, st.Mode().Perm())
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}

// inside returns the path of a folder below root, with the links on the way
// followed as they will be when root is /.
func inside(root, name string) (string, bool) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	found, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return found, err == nil
}

// names returns what is in a folder; nothing when it is not there.
func names(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	list, _ := d.Readdirnames(-1)
	return list
}
