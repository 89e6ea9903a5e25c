package boot

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

// sayPaths says which paths the next system has to make.
func sayPaths(c *Console, all []*Path) {
	for _, p := range all {
		if p.Session == nil {
			c.Printf("warning: target %s at %s is not there; the next system has to log in", p.Target.Title(), p.Target.Portal())
		} else { // once more, as partitions may have come since
			link(c, p.Session.SID, p.Disk)
		}
	}
}

// tellNext leaves below /run what the next system needs to know, and starts the
// keeper. It does all that it can. init is what will run there, if that is known;
// systemd is handoff.WriteNetwork's.
func tellNext(ctx context.Context, c *Console, version string, plan *fw.Plan, path *Path, all []*Path, ways *paths, init string, systemd bool) {
	nics := ways.nics.up(path.NIC)
	if err := writeState(c, version, plan, path, all, nics, init); err != nil {
		c.Printf("warning: %v", err)
	}
	if err := handoff.WriteNetwork("/run", systemd, interfaces(plan, nics)); err != nil {
		c.Printf("warning: the next system's network manager may take the root's NIC down: %v", err)
	}
	if err := writeRecords(plan, all); err != nil {
		c.Printf("warning: the next system's iscsid may change the root's session: %v", err)
	}
	if !plan.NoKeep {
		startKeeper(ctx, c, all, ways, nics)
	}
}

// writeRecords leaves below /run what the next system's iscsid needs to take the
// sessions over. It does all that it can.
func writeRecords(plan *fw.Plan, all []*Path) error {
	var errs []error
	for _, p := range all {
		var err error
		switch {
		case p.Target.Session != "": // whoever made it keeps it
		case p.Session != nil:
			err = handoff.WriteRecord("/run", &p.Session.Config, p.Session.TargetPortalGroupTag)
		default: // what it would be logged in with
			var cfg *session.Config
			if cfg, err = sessionConfig(plan, &p.Target); err == nil {
				err = handoff.WriteRecord("/run", cfg, 1)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, handoff.WriteInitiatorName("/run", plan.Initiator.Name))...)
}

// ErrNotAttached says that nothing below /run is for the next system.
var ErrNotAttached = errors.New("nothing was attached")

// HandOver shows what lies below /run to the system whose root is mounted on root,
// where its open-iscsi and its systemd look. It does all that it can. errors.Is
// finds ErrNotAttached.
func HandOver(root string) error {
	if !handoff.Attached("/run") {
		return ErrNotAttached
	}
	return handOver(root)
}

func handOver(root string) error {
	var errs []error
	if err := handoff.Lay(root, "/run", false); err != nil {
		errs = append(errs, fmt.Errorf("the next system's iscsid may change the root's session: %w", err))
	}
	if handoff.Systemd(root) {
		if err := errors.Join(handoff.Install("/run"), handoff.WriteUnits("/run")); err != nil {
			errs = append(errs, fmt.Errorf("the next system may not end the root's session: %w", err))
		}
	}
	return errors.Join(errs...)
}
