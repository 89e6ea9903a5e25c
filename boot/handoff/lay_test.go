package handoff

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const mountsEnv = "ROOTLUN_TEST_MOUNTS"

// withMounts runs body in a mount namespace of its own.
func withMounts(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(mountsEnv) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		body(t)
		return
	}
	run := func(flags uintptr) ([]byte, error) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), mountsEnv+"="+t.Name())
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&unix.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		runtime.LockOSThread() // Pdeathsig follows the thread
		defer runtime.UnlockOSThread()
		return cmd.CombinedOutput()
	}
	out, err := run(unix.CLONE_NEWNS)
	if errors.Is(err, unix.EPERM) {
		out, err = run(unix.CLONE_NEWNS | unix.CLONE_NEWUSER)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
		t.Skipf("this system permits no mount namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

const (
	nodePath = "iqn.2026-01.net.example:disk/2001:db8::1,3261,2/default"
	nodeOld  = "iqn.2026-01.net.example:disk/2001:db8::1,3261"
	ownName  = "InitiatorName=iqn.2026-01.net.example:own\n"
	bootName = "# Of this boot, by rootlun\nInitiatorName=iqn.2026-01.net.example:node\n"
)

// TestLay: what a system sees of the boot's files, and what is left on its disk
// when the mounts are gone.
func TestLay(t *testing.T) {
	config := someConfig()
	ours := string(Record(&config, 2))
	for _, tt := range []struct {
		name      string
		root      map[string]string // the files of the root; those that end in / are folders
		readOnly  bool
		final     bool
		see, disk map[string]string // what differs from root; "": it is not there
	}{
		{
			"Debian 12, fresh", map[string]string{"etc/iscsi/": "", "etc/iscsi/initiatorname.iscsi": ownName}, false, false,
			map[string]string{"etc/iscsi/nodes/" + nodePath: ours}, nil,
		},
		{
			"Debian 13, fresh", map[string]string{"etc/iscsi/initiatorname.iscsi": ownName, "var/lib/iscsi/": ""}, false, false,
			map[string]string{"var/lib/iscsi/nodes/" + nodePath: ours}, nil,
		},
		{
			"a folder by a link of the root's own", map[string]string{"etc/iscsi/initiatorname.iscsi": ownName, "data/iscsi/": "", "var/lib": "-> /data"}, false, false,
			map[string]string{"data/iscsi/nodes/" + nodePath: ours}, nil,
		},
		{"no open-iscsi", map[string]string{"etc/hostname": "node\n"}, false, true, nil, nil},
		{
			"an administrator's record", map[string]string{"etc/iscsi/initiatorname.iscsi": ownName, "etc/iscsi/nodes/" + nodePath: "theirs\n"}, false, true,
			nil, nil,
		},
		{
			"an administrator's record of an old form", map[string]string{"etc/iscsi/initiatorname.iscsi": ownName, "etc/iscsi/nodes/" + nodeOld: "theirs\n"}, false, true,
			nil, nil,
		},
		{
			"others' records", map[string]string{"etc/iscsi/initiatorname.iscsi": ownName, "etc/iscsi/nodes/iqn.other/192.0.2.1,3260,1/default": "a\n", "etc/iscsi/nodes/iqn.2026-01.net.example:disk/192.0.2.1,3260,1/default": "b\n"}, false, false,
			map[string]string{"etc/iscsi/nodes/" + nodePath: ours}, nil,
		},
		{
			"read-only, for now", map[string]string{"etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n"}, true, false,
			map[string]string{"etc/iscsi/initiatorname.iscsi": bootName}, nil,
		},
		{
			"read-only, with a folder that an earlier boot made", map[string]string{"etc/iscsi/initiatorname.iscsi": ownName, "etc/iscsi/nodes/" + filepath.Dir(nodePath) + "/": ""}, true, false,
			map[string]string{"etc/iscsi/nodes/" + nodePath: ours}, nil,
		},
		{
			"read-only for good", map[string]string{"etc/iscsi/iscsid.conf": "c\n", "etc/iscsi/nodes/iqn.other/192.0.2.1,3260,1/default": "a\n", "etc/iscsi/link": "-> iscsid.conf"}, true, true,
			map[string]string{"etc/iscsi/nodes/" + nodePath: ours, "etc/iscsi/initiatorname.iscsi": bootName, "etc/iscsi/link": "c\n"}, nil,
		},
		{
			"no name", map[string]string{"etc/iscsi/iscsid.conf": "c\n"}, false, false,
			map[string]string{"etc/iscsi/nodes/" + nodePath: ours, "etc/iscsi/initiatorname.iscsi": bootName}, map[string]string{"etc/iscsi/initiatorname.iscsi": "-> /run/initiatorname.iscsi"},
		},
		{
			"a name to be made", map[string]string{"etc/iscsi/initiatorname.iscsi": "InitiatorName=\nGenerateName=yes\n"}, false, false,
			map[string]string{"etc/iscsi/nodes/" + nodePath: ours, "etc/iscsi/initiatorname.iscsi": bootName}, nil,
		},
	} {
		t.Run(strings.NewReplacer(" ", "_", ",", "", "'", "").Replace(tt.name), func(t *testing.T) {
			withMounts(t, func(t *testing.T) {
				// The root is a file system of its own, whose lower folder is
				// looked at again without the mounts.
				disk, run := t.TempDir(), "/run"
				root := filepath.Join(disk, "root")
				check(t, unix.Mount("run", run, "tmpfs", 0, ""))
				check(t, unix.Mount("disk", disk, "tmpfs", 0, ""))
				t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
				check(t, os.Mkdir(root, 0o755))
				check(t, unix.Mount(root, root, "", unix.MS_BIND, ""))
				for name, text := range tt.root {
					path := filepath.Join(root, name)
					check(t, os.MkdirAll(filepath.Dir(path), 0o755))
					if link, ok := strings.CutPrefix(text, "-> "); ok {
						check(t, os.Symlink(link, path))
					} else if strings.HasSuffix(name, "/") {
						check(t, os.MkdirAll(path, 0o755))
					} else {
						check(t, os.WriteFile(path, []byte(text), 0o600))
					}
				}
				check(t, WriteRecord(run, &config, 2))
				check(t, WriteInitiatorName(run, config.InitiatorName))
				if tt.readOnly {
					check(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
				}
				for range 2 { // the second time over the first
					check(t, Lay(root, run, tt.final))
				}
				mounts, err := os.ReadFile("/proc/self/mountinfo")
				check(t, err)
				if n := strings.Count(string(mounts), "/nodes/"+filepath.Dir(nodePath)+" "); n > 2 { // what, and where
					t.Errorf("the record is mounted more than once:\n%s", mounts)
				}
				if diff := cmp.Diff(changed(tt.root, tt.see), tree(t, root, true)); diff != "" {
					t.Errorf("seen (-want +got):\n%s", diff)
				}
				// A record that the system makes itself lasts.
				later := "etc/iscsi/nodes/iqn.other/192.0.2.9,3260,1"
				made := !tt.readOnly && os.MkdirAll(filepath.Join(root, later), 0o755) == nil
				if made {
					check(t, os.WriteFile(filepath.Join(root, later, "default"), []byte("later\n"), 0o600))
				}
				check(t, unix.Unmount(root, unix.MNT_DETACH))
				want := changed(tt.root, tt.disk)
				if made {
					want[later+"/default"] = "later\n"
				}
				if diff := cmp.Diff(want, tree(t, root, false)); diff != "" {
					t.Errorf("on the disk (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// changed is root without its empty folders, with the changes.
func changed(root, changes map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{root, changes} {
		for name, text := range m {
			if !strings.HasSuffix(name, "/") {
				all[name] = text
			}
		}
	}
	return all
}

// tree returns all files below dir with their texts. What a link leads to,
// where follow says so, stands in place of it, but for one that leads to a
// folder.
func tree(t *testing.T, dir string, follow bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		text, err := os.ReadFile(path)
		if d.Type()&fs.ModeSymlink != 0 && (!follow || err != nil) {
			link, err := os.Readlink(path)
			all[name] = "-> " + link
			return err
		}
		all[name] = string(text)
		return err
	})
	check(t, err)
	return all
}

// TestIscsiadm: open-iscsi's own tool finds the record and understands it all.
func TestIscsiadm(t *testing.T) {
	cache := os.Getenv("ROOTLUN_CACHE")
	if cache == "" {
		user, _ := os.UserCacheDir()
		cache = filepath.Join(user, "rootlun")
	}
	dir := filepath.Join(cache, "open-iscsi")
	program := filepath.Join(dir, "sbin/iscsiadm")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("%v: scripts/setup test unpacks it", err)
	}
	withMounts(t, func(t *testing.T) {
		libraries := filepath.Join(dir, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(dir, "lib/x86_64-linux-gnu")
		for _, place := range []string{"/run", "/etc"} {
			check(t, unix.Mount("tmpfs", place, "tmpfs", 0, ""))
		}
		check(t, os.MkdirAll("/etc/iscsi", 0o755))
		check(t, os.MkdirAll("/run/lock", 0o755))
		check(t, os.WriteFile("/etc/iscsi/iscsid.conf", []byte("node.startup = manual\n"), 0o600))
		config := someConfig()
		check(t, WriteRecord("/run", &config, 2))
		check(t, WriteInitiatorName("/run", config.InitiatorName))
		check(t, Lay("/", "/run", false))
		iscsiadm := func(args ...string) string {
			cmd := exec.Command(program, args...)
			cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("iscsiadm %q: %v", args, err)
			}
			return string(out)
		}
		shown := strings.Split(iscsiadm("-m", "node", "-o", "show", "-S"), "\n")
		for line := range strings.Lines(string(Record(&config, 2))) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !slices.Contains(shown, line) {
				t.Errorf("iscsiadm does not show %q", line)
			}
		}
		if t.Failed() {
			t.Log(strings.Join(shown, "\n"))
		}
	})
}
