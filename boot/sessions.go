package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/kernel"
)

// sessionTimeout bounds what is done with one session.
const sessionTimeout = time.Minute

// Sessions rescans sessions, or with out logs them out: those whose disks are
// not in use, with force all. It says on c what comes of each, and whether all
// went well.
func Sessions(c *Console, sids []uint32, out, force bool) (ok bool) {
	initiator, err := openInitiator(c)
	if err != nil {
		c.Printf("%v", err)
		return false
	}
	defer initiator.Close()
	ok = true
	for _, sid := range sids {
		said := "done"
		if err := withSession(c, initiator, sid, out, force); err != nil {
			said, ok = session.Cause(err), false
		}
		c.Printf("session %d: %s", sid, said)
	}
	return ok
}

func withSession(c *Console, initiator *session.Initiator, sid uint32, out, force bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	s, err := initiator.Attach(sid, session.Config{})
	if err != nil {
		return err
	}
	if out {
		if !force {
			err = unused("/", s)
		}
		if err == nil {
			err = s.Logout(ctx)
		}
		return err
	}
	return units(ctx, c, s)
}

// units finds all disks of a session, if there are any, and makes links to them.
func units(ctx context.Context, c *Console, s *session.Session) error {
	disks, err := s.Disks(ctx)
	for _, disk := range disks {
		c.Step("disk", "%s", describeDisk(disk))
		link(c, s.SID, disk)
	}
	if errors.Is(err, session.ErrNoLUN) {
		return nil
	}
	return err
}

// unused fails when a disk of a session is in use, or nobody can tell: what is
// not written would be lost.
func unused(root string, s *session.Session) error {
	sys := kernel.Sysfs(root + "sys")
	target := sys.TargetID(s.SID)
	luns, err := sys.LUNs(s.SID, s.HostNo, target)
	state, _ := sys.SessionAttr(s.SID, "state")
	for _, lun := range luns {
		disk := sys.Disk(kernel.UnitDir(s.HostNo, target, lun))
		switch {
		case disk == "":
		case state != "LOGGED_IN": // to open the disk could take until the session is back
			return fmt.Errorf("it is %s, so that %s cannot be asked whether it is in use", state, disk)
		default:
			// The kernel refuses this while the disk or a partition of it is mounted,
			// in whatever namespace, or part of something (block/bdev.c, bd_may_claim).
			fd, err := unix.Open(root+"dev/"+disk, unix.O_RDONLY|unix.O_EXCL|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("%s cannot be taken: %w%s", disk, err, user(os.DirFS(root), disk))
			}
			unix.Close(fd)
		}
	}
	return err
}

// user says what uses a disk or one of its partitions, behind a colon; empty:
// nothing that can be seen from here.
func user(fsys fs.FS, disk string) string {
	uses, _ := fs.ReadFile(fsys, "proc/self/mountinfo") // proc_pid_mountinfo(5)
	swaps, _ := fs.ReadFile(fsys, "proc/swaps")
	lines := strings.Split(string(append(uses, swaps...)), "\n")
	for _, c := range candidates(fsys, disk) {
		dir := "sys/class/block/" + c.name
		if holders, _ := stable.ReadDir(fsys, dir+"/holders"); len(holders) > 0 {
			return ": " + c.name + " is part of " + holders[0].Name()
		}
		number, _ := fs.ReadFile(fsys, dir+"/dev")
		for _, line := range lines {
			f := strings.Fields(line)
			switch {
			case !slices.Contains(f, "/dev/"+c.name) && !slices.Contains(f, strings.TrimSpace(string(number))):
			case len(f) < 6:
				return ": " + c.name + " is swap"
			default:
				return ": " + c.name + " is mounted on " + f[4]
			}
		}
	}
	return ""
}
