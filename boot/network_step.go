package boot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

// MachinePlan reads the boot configuration of the machine as a boot does, and
// says on c what it found. errors.Is finds fw.ErrNothing where nothing asks for
// iSCSI. Unlike a boot it waits for no driver of an offload adapter.
func MachinePlan(c *Console) (*fw.Plan, error) {
	return readPlan(c, sources(), loadModule, nil)
}

// FirmwarePlan is MachinePlan of what the firmware says alone.
func FirmwarePlan(c *Console) (*fw.Plan, error) {
	return readPlan(c, fw.FirmwareOnly(sources()), loadModule, nil)
}

// loadModule loads one module for a command that is no boot.
func loadModule(name string) error {
	loader, _, err := newLoader()
	if err != nil {
		return err
	}
	return loader.Load(name)
}

// Network brings up the NICs that the plan's targets need, all at once, and
// leaves for the next system what WriteNetwork writes: the part of a boot that
// rootlun network does alone. A NIC that fails is left as it was found; the
// others stay up, and are returned with the errors.
func Network(ctx context.Context, c *Console, plan *fw.Plan) ([]*network.Result, error) {
	limit := DefaultTimeout
	if plan.Failure.Timeout > 0 {
		limit = time.Duration(plan.Failure.Timeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if !exists(os.DirFS("/proc"), "net/packet") {
		if err := loadModule("af_packet"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	nics := newNICSet(c, plan, nil, loadModule)
	nics.keep = false
	nics.start(ctx)
	errs := nics.all(ctx)
	cancel()
	nics.running.Wait()
	if targets, _, lack, _ := nics.targets(); len(targets) == 0 {
		for _, err := range lack {
			if err != nil {
				c.Printf("warning: %v", err)
			}
		}
	}
	up := nics.up(nil)
	if up != nil {
		errs = append(errs, handoff.WriteNetwork("/run", exists(os.DirFS("/run"), "systemd/system"), interfaces(plan, up)))
	}
	return up, errors.Join(errs...)
}

// StateNICs describes NICs as state.json does.
func StateNICs(nics []*network.Result) (list []handoff.NIC) {
	for _, r := range nics {
		list = append(list, stateNIC(r))
	}
	return list
}
