package main

import (
	"context"
	"errors"
	"io"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/json"
	"github.com/rootlun/rootlun/fw"
)

const networkUsage = `usage: rootlun network [--json]

Reads this machine's plan as a boot does, brings up the NICs that its targets
need, all at once, and writes below /run what the next system's network manager
needs to keep them. It does what "iscsistart -N" does, and more: VLAN, bond,
DHCP, router advertisements. What it does it says on the standard error, a line
a NIC. A NIC that fails is left as it was found, and the others stay up.

The exit code is 0 when all of them are up, 1 when one is not, 21 when nothing
asks for iSCSI.

  rootlun network --json

`

// networkJSON is the output of network --json.
type networkJSON struct {
	NICs []handoff.NIC `json:"nics"`
}

// runNetwork is rootlun network.
func runNetwork(args []string, stdout, stderr io.Writer) int {
	asJSON := false
	cmd := command{name: "network", usage: networkUsage, options: []option{
		{"json", "", "print the NICs that are up, in the form of state.json's nics", toBool(&asJSON)},
	}}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	console := boot.NewConsole(stderr, start)
	plan, err := boot.MachinePlan(console)
	if errors.Is(err, fw.ErrNothing) {
		return cmd.fail(stderr, exitNothing, err)
	} else if err != nil {
		return cmd.fail(stderr, 1, err)
	}
	nics, err := boot.Network(context.Background(), console, plan)
	if asJSON {
		stdout.Write(json.Marshal(networkJSON{boot.StateNICs(nics)}))
	}
	if err != nil {
		return cmd.fail(stderr, 1, err)
	}
	return 0
}
