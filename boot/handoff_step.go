package boot

import (
	"errors"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

// handOver leaves below /run what the next system's iscsid and systemd need to
// take the sessions over, and shows it where they look. It does all that it can.
func handOver(plan *fw.Plan, all []*Path) error {
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
	errs = append(errs, handoff.WriteInitiatorName("/run", plan.Initiator.Name), handoff.Lay(sysroot, "/run", false))
	if handoff.Systemd(sysroot) {
		errs = append(errs, handoff.Install("/run"), handoff.WriteUnits("/run"))
	}
	return errors.Join(errs...)
}
