package boot

import (
	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/fw"
)

// handOver leaves below /run what the next system's iscsid and systemd need to
// take the sessions over, and shows it where they look. What fails is said, and
// is no reason not to boot.
func handOver(c *Console, plan *fw.Plan, all []*Path) {
	warn := func(err error) {
		if err != nil {
			c.Printf("warning: the next system may not keep the root's session as it is: %v", err)
		}
	}
	for _, p := range all {
		switch {
		case p.Target.Session != "": // whoever made it keeps it
		case p.Session != nil:
			warn(handoff.WriteRecord("/run", &p.Session.Config, p.Session.TargetPortalGroupTag))
		default: // what it would be logged in with
			cfg, err := sessionConfig(plan, p.Target)
			if err == nil {
				err = handoff.WriteRecord("/run", &cfg, 1)
			}
			warn(err)
		}
	}
	warn(handoff.WriteInitiatorName("/run", plan.Initiator.Name))
	warn(handoff.Lay(sysroot, "/run", false))
	if handoff.Systemd(sysroot) {
		warn(handoff.Install("/run"))
		warn(handoff.WriteUnits("/run"))
	}
}
