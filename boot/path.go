package boot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/session"
)

// Path is a way to a disk.
type Path struct {
	Target  fw.Target
	NIC     *network.Result // nil: the session was there before, and has its own way
	NICFrom string          // what described it
	Session *session.Session
	Disk    session.Disk
	Root    string // the device that is mounted
	FSType  string
}

// tryTarget makes one attempt, and calls wait when the network is up. A session
// that has no disk is logged out again. One that an offload adapter or another
// program has already is taken as it is, and stays whatever comes of it.
func tryTarget(ctx context.Context, c *Console, t fw.Target, nics *nicSet, drivers *drivers, wait func()) (*Path, error) {
	var nic *network.Result
	var err error
	hosts := []netip.Addr{{}}
	if t.Session == "" {
		portal, _ := netip.ParseAddr(t.Host)
		if nic, err = nics.leading(ctx, t, portal); err != nil {
			return nil, err
		}
		if hosts, err = nics.resolve(ctx, t.Host); err != nil {
			return nil, err
		}
	}
	wait()
	initiator, err := drivers.initiator()
	if err != nil {
		return nil, &configError{err}
	}
	if t.Session != "" {
		cfg, root, err := nics.sessionConfig(&t)
		if err != nil {
			return nil, err
		}
		s, disk, err := attach(ctx, c, initiator, cfg, &t, root)
		if err != nil {
			return nil, err
		}
		return &Path{Target: t, Session: s, Disk: disk}, nil
	}
	var errs []error
	for _, host := range hosts {
		if host.Is6() && host.IsLinkLocalUnicast() && host.Zone() == "" { // a table has no room for the zone
			host = host.WithZone(nic.Name)
		}
		at := t
		at.Host = host.String()
		cfg, root, err := nics.sessionConfig(&at)
		if err != nil {
			return nil, err
		}
		cfg.Interface = nics.bound(t, nic)
		found := t
		if t.Name == "" {
			if err := nics.name(ctx, session.Discover, &found, cfg); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		s, disk, err := logIn(ctx, c, initiator, cfg, &found, root)
		if err == nil {
			return &Path{Target: found, NIC: nic, NICFrom: nics.from(nic), Session: s, Disk: disk}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Login loads the initiator's drivers where they are missing, logs in once and
// returns the LUN's disk: the part of a boot that rootlun login does alone.
func Login(ctx context.Context, c *Console, cfg *session.Config, lun uint64) (session.Disk, error) {
	initiator, err := loadInitiator(c)
	if err != nil {
		return session.Disk{}, err
	}
	defer initiator.Close()
	cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return resolve(ctx, os.DirFS("/"), &fw.Plan{}, nil, host)
	}
	_, disk, err := logIn(ctx, c, initiator, cfg, &fw.Target{LUN: ibft.LUNFromUint64(lun)}, &fw.Root{})
	return disk, err
}

// logIn logs in and finds the disk. A session that has no disk is logged out
// again.
func logIn(ctx context.Context, c *Console, initiator *session.Initiator, cfg *session.Config, t *fw.Target, root *fw.Root) (*session.Session, session.Disk, error) {
	s, err := initiator.Login(ctx, *cfg)
	if err != nil {
		return nil, session.Disk{}, err
	}
	c.Step("login", "session %d: %s at %s, %s", s.SID, cfg.TargetName, cfg.Portal, authentication(s))
	disk, err := findDisk(ctx, c, s, t, root)
	if err != nil {
		if out := s.Logout(context.Background()); out != nil {
			c.Printf("warning: %v", out)
		}
		return nil, session.Disk{}, err
	}
	return s, disk, nil
}

// findDisk returns the disk of the target's LUN, and makes links to it. Where no
// source names the LUN and 0 is no disk (tgt's is a controller), it is the one
// that holds the root, or the first.
func findDisk(ctx context.Context, c *Console, s *session.Session, t *fw.Target, root *fw.Root) (session.Disk, error) {
	disk, err := s.Disk(ctx, t.LUN.Uint64())
	if t.AnyLUN && errors.Is(err, session.ErrNoLUN) {
		disk, err = anyDisk(ctx, c, s, root)
	}
	if err == nil {
		c.Step("disk", "%s", describeDisk(disk))
		link(c, s.SID, disk)
	}
	return disk, err
}

func anyDisk(ctx context.Context, c *Console, s *session.Session, root *fw.Root) (session.Disk, error) {
	disks, err := s.Disks(ctx)
	if err != nil {
		return session.Disk{}, err
	}
	disk := disks[0]
	for _, d := range disks {
		if _, err := lookForRoot(os.DirFS("/"), *root, d.Name); err == nil {
			disk = d
			break
		}
	}
	c.Printf("no LUN is named and LUN 0 is no disk: LUN %d is taken, of %d disks", disk.LUN, len(disks))
	return disk, nil
}

// attach finds the disk of a session that is there already.
func attach(ctx context.Context, c *Console, initiator *session.Initiator, cfg *session.Config, t *fw.Target, root *fw.Root) (*session.Session, session.Disk, error) {
	sid, err := strconv.ParseUint(strings.TrimPrefix(t.Session, "session"), 10, 32)
	if err != nil {
		return nil, session.Disk{}, &configError{err}
	}
	s, err := initiator.Attach(uint32(sid), *cfg)
	if err != nil {
		return nil, session.Disk{}, err
	}
	c.Step("login", "session %d is there already: %s at %s", s.SID, cfg.TargetName, cfg.Portal)
	disk, err := findDisk(ctx, c, s, t, root)
	if err != nil {
		return nil, session.Disk{}, err
	}
	return s, disk, nil
}

// configError is a failure that only a change on this machine can mend.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

func authentication(s *session.Session) string {
	switch {
	case s.Config.CHAP == nil, s.Algorithm == 0: // the second: it was optional
		return "no authentication"
	case s.Config.CHAP.SecretIn != "":
		return "mutual CHAP, " + s.Algorithm.String()
	}
	return "CHAP, " + s.Algorithm.String()
}

// bytesText is a size for a person: "64 MiB".
func bytesText(n uint64) string {
	for _, u := range [...]struct {
		name string
		size uint64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if n >= u.size {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
