package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/boot/json"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

const discoverUsage = `usage: rootlun discover PORTAL [--initiator NAME] [--credentials FILE] [--json]

Asks a portal which targets it has (SendTargets), and prints a line for each of
their portals as "iscsiadm -m discovery -t st" does. The NIC has to be up.

The exit code is 0 when there is a target, 1 when the portal can't be asked, 21
when it lists none.

  rootlun discover 192.0.2.10

`

// runDiscover is rootlun discover.
func runDiscover(args []string, stdout, stderr io.Writer) int {
	var c caller
	asJSON := false
	cmd := command{name: "discover", usage: discoverUsage, arg: c.setPortal, options: []option{{"json", "", "for programs", toBool(&asJSON)}}}
	if code, ok := c.read(&cmd, args, stdout, stderr); !ok {
		return code
	}
	c.cfg.InitiatorName = cmp.Or(c.cfg.InitiatorName, fw.InitiatorName(os.DirFS("/")))
	c.cfg.Timers.Login = c.timeout
	records, err := boot.Discover(context.Background(), session.Discover, &c.cfg, &c.discovery)
	switch {
	case !c.cfg.Portal.IsValid():
		return cmd.fail(stderr, 2, err)
	case err != nil:
		return cmd.fail(stderr, 1, err)
	case asJSON:
		stdout.Write(json.Marshal(records))
	}
	for _, r := range records {
		for _, p := range r.Portals {
			if !asJSON {
				fmt.Fprintf(stdout, "%s,%d %s\n", net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))), p.Tag, r.Name)
			}
		}
	}
	if records == nil {
		return cmd.fail(stderr, exitNothing, errors.New("the portal lists no target to us"))
	}
	return 0
}
