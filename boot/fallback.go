package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/fw/stable"
)

// bootLocal boots the disk of this machine that rd.rootlun.fallback= names, as
// the target's is not there: cause says why. It says so where it is seen: on the
// console, in the kernel's log as an error, and in state.json. It returns when
// that fails too.
func bootLocal(ctx context.Context, c *Console, version string, plan *fw.Plan, drivers *drivers, cause error) error {
	sayFallback(c, plan, cause)
	local := *plan
	local.Root = fw.Root{Device: plan.Failure.Fallback, ReadOnly: plan.Root.ReadOnly, Init: plan.Root.Init}
	path := &Path{}
	init, err := openRoot(ctx, c, &local, path, drivers.loader)
	if err != nil {
		return errors.Join(cause, fmt.Errorf("and rd.rootlun.fallback=: %w", err))
	}
	drivers.stop()
	c.Step("handoff", "%s runs as PID 1", init)
	writeFallback(c, version, &local, path, init, cause)
	err = switchRoot(c, init, os.Args[1:], initEnvironment(os.Environ()))
	return &StepError{Step: "hand over to " + init, Err: err}
}

func sayFallback(c *Console, plan *fw.Plan, cause error) {
	instead := plan.Failure.Fallback + " of this machine is booted INSTEAD (rd.rootlun.fallback=)"
	Explain(c.out, cause, instead)
	if c.log != nil {
		fmt.Fprintf(c.log, "<3>rootlun: %s; %s\n", printable(cause.Error()), instead)
	}
}

func writeFallback(c *Console, version string, plan *fw.Plan, path *Path, init string, cause error) {
	s := handoff.State{
		Version: version, Initiator: plan.Initiator.Name, Fallback: cause.Error(), Warnings: append([]string{}, plan.Warnings...),
		Root: stateRoot(plan, path, init), Timeline: timeline(c),
	}
	if err := s.Write(handoff.StateFile); err != nil {
		c.Printf("warning: %v", err)
	}
}

// localDisks are the disks of this machine that may hold a root.
func localDisks(fsys fs.FS) (names []string) {
	entries, _ := stable.ReadDir(fsys, "sys/class/block")
	for _, e := range entries {
		device := "sys/class/block/" + e.Name()
		if exists(fsys, device+"/device") && !exists(fsys, device+"/partition") {
			names = append(names, e.Name())
		}
	}
	return names
}
