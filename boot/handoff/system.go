package handoff

import (
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Program is where the boot leaves itself for the booted system, below run.
const Program = "rootlun/rootlun"

// LeaveProgram copies the program that runs to Program, unless that was done: it
// may run there, and takes its memory once.
func LeaveProgram(run string) error {
	program := path.Join(run, Program)
	if _, err := os.Stat(program); err == nil {
		return nil
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = writeFile(program, self, 0o755)
	}
	return err
}

// Install leaves the program for what the booted system calls of it, and as what to
// return to at the end (see boot.Shutdown), if nothing else is there for that.
func Install(run string) error {
	if err := LeaveProgram(run); err != nil {
		return err
	}
	last := path.Join(run, "initramfs/shutdown")
	if _, err := os.Lstat(last); err == nil {
		return nil
	}
	if err := os.MkdirAll(path.Dir(last), 0o755); err != nil {
		return err
	}
	if err := unix.Link(path.Join(run, Program), path.Join(run, "initramfs/rootlun")); err != nil && err != unix.EEXIST {
		return err
	}
	return writeFile(last, []byte(lastScript), 0o755)
}

// lastScript is run in /run/initramfs as /. It is no link to the program, which as
// part of a busybox of Go commands would be another command by that name.
const lastScript = "#!/rootlun shutdown\n"

// Systemd says whether the system whose root is mounted on root has systemd.
func Systemd(root string) bool {
	_, err := os.Stat(root + "/lib/systemd/systemd")
	_, usr := os.Stat(root + "/usr/lib/systemd/systemd") // where /lib is no link, or one that starts at /
	_, nixos := os.Stat(root + "/etc/NIXOS")             // its systemd's name has a hash in it
	return err == nil || usr == nil || nixos == nil
}

// recordsUnit calls Lay once more when all local file systems are as they will
// stay: /var is mounted, and the root can be written if it ever will. It comes
// before whatever reads the records.
const recordsUnit = `[Unit]
Description=Node records of the iSCSI sessions of this boot
DefaultDependencies=no
After=local-fs.target
Before=iscsid.service open-iscsi.service iscsi.service iscsi-onboot.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/run/` + Program + ` records
`

// stage is where units lie below run as long as it is not known whether the next
// system has systemd.
const stage = "rootlun"

// WriteUnits gives systemd what it is to do for the sessions in the booted
// system, and what WriteNetwork has put aside; run is "/run".
func WriteUnits(run string) error {
	for _, dir := range [...]string{"networking.service.d", "systemd-networkd.service.d"} {
		dir = path.Join("systemd/system", dir, "50-rootlun.conf")
		if text, err := os.ReadFile(path.Join(run, stage, dir)); err == nil {
			if err := writeFile(path.Join(run, dir), text, 0o644); err != nil {
				return err
			}
		}
	}
	const unit = "systemd/system/rootlun-records.service"
	if err := writeFile(path.Join(run, unit), []byte(recordsUnit), 0o644); err != nil {
		return err
	}
	wants := path.Join(run, "systemd/system/sysinit.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	err := unix.Symlink("../rootlun-records.service", path.Join(wants, "rootlun-records.service"))
	if err == unix.EEXIST { // it was written before
		return nil
	}
	return err
}
