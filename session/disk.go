package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/rootlun/rootlun/session/kernel"
)

// diskTimeout bounds the wait for a disk when the context has no end.
const diskTimeout = 60 * time.Second

// Disk is the block device of a logical unit.
type Disk struct {
	Name   string // "sda": the kernel's name
	LUN    uint64
	Size   uint64 // bytes
	Vendor string
	Model  string
}

// Disk scans exactly one LUN, as the kernel counts it, and waits until its
// block device is there with its partitions, or ctx ends, or a minute has
// passed. ErrNoLUN says that the target has no such unit. Errors are *OpError.
func (s *Session) Disk(ctx context.Context, lun uint64) (Disk, error) {
	a := &attempt{Session: s, start: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, diskTimeout)
	defer cancel()
	ctx, lost := s.whileConnected(ctx)
	disk, err := s.disk(ctx, lun)
	if err = lost(err); err != nil {
		return Disk{}, a.failed(fmt.Sprintf("find LUN %d", lun), err)
	}
	return disk, nil
}

// Disks scans all LUNs that the target reports and returns those that are
// disks, in the order of their numbers, when their block devices are there, at
// the latest when ctx ends or after a minute. ErrNoLUN says that there is none.
// Errors are *OpError.
func (s *Session) Disks(ctx context.Context) ([]Disk, error) {
	a := &attempt{Session: s, start: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, diskTimeout)
	defer cancel()
	ctx, lost := s.whileConnected(ctx)
	disks, err := s.disks(ctx)
	if err = lost(err); err != nil {
		return nil, a.failed("find a LUN that is a disk", err)
	}
	return disks, nil
}

func (s *Session) disks(ctx context.Context) ([]Disk, error) {
	if err := s.scan(ctx, kernel.AllLUNs); err != nil {
		return nil, err
	}
	luns, err := s.in.sys.LUNs(s.SID, s.HostNo, s.target)
	if err != nil {
		return nil, err
	}
	var disks []Disk
	for _, lun := range luns {
		// Of one that was there its size may be new. That it has none is no matter.
		_ = s.answered(ctx, func() error { return s.in.sys.Rescan(kernel.UnitDir(s.HostNo, s.target, lun)) })
		disk, err := s.disk(ctx, lun)
		switch {
		case err == nil:
			disks = append(disks, disk)
		case !errors.Is(err, ErrNoLUN):
			return nil, err
		}
	}
	if disks == nil {
		return nil, ErrNoLUN
	}
	return disks, nil
}

func (s *Session) disk(ctx context.Context, lun uint64) (Disk, error) {
	events, err := kernel.ListenUevents() // before the scan: nothing is missed
	if err != nil {
		return Disk{}, err
	}
	defer events.Close()

	unit, name, err := s.unit(lun)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.scan(ctx, lun); err != nil {
			return Disk{}, err
		}
		// What is in sysfs already may still lack its partitions and its node
		// in /dev; its event comes last.
		if unit, _, err = s.unit(lun); err == nil {
			name, err = s.awaitBlock(ctx, events, lun)
		}
	} else if err == nil && name == "" {
		name, err = s.awaitBlock(ctx, events, lun)
	}
	if err != nil {
		return Disk{}, err
	}
	size, err := s.in.sys.BlockSize(name)
	if err != nil {
		return Disk{}, err
	}
	return Disk{Name: name, LUN: lun, Size: size, Vendor: unit.Vendor, Model: unit.Model}, nil
}

// unit returns what the kernel knows of a LUN now: the unit, and its block
// device or "". A unit that will never have one is an error.
func (s *Session) unit(lun uint64) (kernel.Unit, string, error) {
	unit, err := s.in.sys.Unit(s.SID, s.HostNo, s.target, lun)
	if err != nil {
		return unit, "", err
	}
	switch {
	case unit.Qualifier != 0: // SPC-4, table 142: nothing is connected there
		return unit, "", fmt.Errorf("%w: it answers with peripheral qualifier %d", ErrNoLUN, unit.Qualifier)
	case unit.Type != 0 && unit.Type != 7 && unit.Type != 14 && unit.Type != 20: // what sd drives
		return unit, "", fmt.Errorf("%w that is a disk: its peripheral device type is %d", ErrNoLUN, unit.Type)
	}
	name, err := unit.Block()
	return unit, name, err
}

// scan has the kernel look for a LUN.
func (s *Session) scan(ctx context.Context, lun uint64) error {
	if err := s.answered(ctx, func() error { return s.in.sys.Scan(s.HostNo, s.target, lun) }); err != nil {
		return err
	}

	// The kernel passes over a session that is not logged in without a word.
	state, err := s.in.sys.SessionAttr(s.SID, "state")
	if err != nil {
		return err
	}
	if state != "LOGGED_IN" {
		return fmt.Errorf("the session was lost: it is %s", state)
	}
	if lun == kernel.AllLUNs {
		return nil
	}
	_, err = s.in.sys.Unit(s.SID, s.HostNo, s.target, lun)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoLUN // not only a missing file
	}
	return err
}

// answered waits for a write to sysfs that ends when the target has answered. No
// context can hasten it, so it is left behind when ctx ends: for minutes, or
// until Logout.
func (s *Session) answered(ctx context.Context, write func() error) error {
	written := make(chan error, 1)
	s.scans.Add(1)
	go func() { // ends at the latest with the session
		written <- write()
		s.scans.Done()
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		s.mute.Store(true)
		return &awaited{"the target did not answer the scan", ctx.Err()}
	}
}

// awaitBlock waits for the event that says that a unit's disk is complete.
func (s *Session) awaitBlock(ctx context.Context, events *kernel.Uevents, lun uint64) (string, error) {
	below := "/" + kernel.UnitPath(s.SID, s.HostNo, s.target, lun) + "/block/"
	for {
		ev, lost, err := events.Next(ctx)
		if err != nil {
			s.mute.Store(true)
			return "", &awaited{"the unit answered, but its block device did not come (check that the target still answers, and that the module sd_mod is loaded)", err}
		}
		if lost {
			if _, name, err := s.unit(lun); err != nil || name != "" {
				return name, err
			}
		}
		if ev.Action == "add" && ev.Env["DEVTYPE"] == "disk" && strings.Contains(ev.DevPath, below) {
			return path.Base(ev.DevPath), nil
		}
	}
}

// whileConnected returns a context that ends also with the session's connection:
// nothing would end the commands of a scan, or of the reading of a partition
// table, for minutes. lost ends it, and turns the error of what was cut short
// into that of the connection.
func (s *Session) whileConnected(ctx context.Context) (_ context.Context, lost func(error) error) {
	conn := s.in.netlink.Listen(s.SID, cid)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with ctx
		for ctx.Err() == nil {
			if ev, err := conn.Receive(ctx); err == nil && ev.Kind == kernel.ConnFailed {
				s.mute.Store(true)
				cancel(fmt.Errorf("the session was lost: %w", ev.Code))
			} else if err != nil && !errors.Is(err, kernel.ErrLost) {
				return
			}
		}
	}()
	return ctx, func(err error) error {
		conn.Close()
		if cause := context.Cause(ctx); err != nil && cause != nil && cause != ctx.Err() {
			err = cause
		}
		cancel(nil)
		return err
	}
}
