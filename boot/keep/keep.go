// Package keep is the keeper: the process that repairs the root's sessions from
// the switch to the root on, whenever no other manager (open-iscsi's iscsid)
// does. The kernel reports a connection that broke, and reconnects nothing by
// itself. The keeper also logs in to what was not there while the machine booted,
// and renews the leases of DHCP while no network manager does.
//
// Start runs it as a process of its own, which outlives the initramfs and holds
// nothing of the root; Run is what that process does. It reads sysfs, procfs and
// the kernel's NETLINK_ISCSI, and writes to the kernel's log alone.
//
// What to keep is a text: paragraphs, parted by empty lines, that begin with
//
//	session SID NIC
//	path LUN NIC ANY
//	lease NIC ADDRESS SERVER DURATION T1 T2 AGE
//
// NIC is the index of the interface that a connection has to leave by, as its
// name may change, 0 where the routes decide. After a path's line its node record
// follows, which has the address before the port; ANY is 1 where another of the
// target's units is as good. The times of a lease are in nanoseconds.
package keep

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session"
)

// timing says when things are done.
type timing struct {
	// Attempts begin first apart at first, and that doubles up to most; where
	// somebody has to act before one can succeed it is slow.
	first, most, slow time.Duration
	// While another manager is there it is looked after that often; the kernel
	// tells nobody that it has gone.
	often time.Duration
	// Else the kernel's word is waited for, and this is for what it should not
	// have kept to itself.
	seldom time.Duration
}

var usual = timing{100 * time.Millisecond, 5 * time.Second, 30 * time.Second, 2 * time.Second, time.Minute}

// keeper is what all that is kept shares.
type keeper struct {
	timing
	in    *session.Initiator
	other func() bool // whether another manager is there
	log   io.Writer   // the kernel's log
	run   sync.WaitGroup
}

// Printf writes a line to the kernel's log, as a warning.
func (k *keeper) Printf(format string, args ...any) {
	line := fmt.Appendf(nil, "<4>rootlun keep: "+format, args...)
	for i, b := range line {
		if b < ' ' || b == 0x7f { // errors of several lines; names from outside
			line[i] = ' '
		}
	}
	k.log.Write(append(line, '\n'))
}

// Wait makes the keeper a network.Progress: what is waited for is no news.
func (k *keeper) Wait(string, time.Duration) (done func()) { return func() {} }

// start keeps what list says. It returns when nothing that happens from then on is
// missed.
func (k *keeper) start(ctx context.Context, list string) {
	for _, item := range strings.Split(list, "\n\n") {
		line, record, _ := strings.Cut(strings.Trim(item, "\n"), "\n")
		words := strings.Fields(line)
		n := make([]uint64, 8)
		for i := range min(len(words), len(n)) {
			n[i], _ = strconv.ParseUint(words[i], 10, 64)
		}
		w := &ward{nic: int(n[2])}
		switch {
		case len(words) == 3 && words[0] == "session":
			var err error
			if w.Session, err = k.in.Adopt(uint32(n[1])); err != nil {
				k.Printf("session %d is not kept: %v", n[1], err)
				continue
			}
			w.Watch()
			k.run.Go(func() { k.keep(ctx, w) })
		case len(words) == 4 && words[0] == "path":
			w.lun, w.any = n[1], n[3] == 1
			parseRecord(&w.config, record)
			k.run.Go(func() { k.keep(ctx, w) })
		case len(words) == 8 && words[0] == "lease":
			l := &lease{nic: int(n[1]), duration: time.Duration(n[4]), renew: time.Duration(n[5]), rebind: time.Duration(n[6]), given: time.Now().Add(-time.Duration(n[7]))}
			l.address, _ = netip.ParseAddr(words[2])
			l.server, _ = netip.ParseAddr(words[3])
			go k.renew(ctx, l) // ends with ctx; a lease alone is no reason to stay
		case item != "": // no word of it: it may be a secret's
			k.Printf("a paragraph of what to keep is not understood")
		}
	}
}

// parseRecord reads a node record. What only iscsid has a use for is passed over.
func parseRecord(c *session.Config, text string) {
	*c = session.Default()
	address := ""
	for _, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(line, " = ")
		switch name {
		case "node.name":
			c.TargetName = value
		case "iface.initiatorname":
			c.InitiatorName = value
		case "node.conn[0].address":
			address = value
		case "node.conn[0].port":
			c.Portal, _ = netip.ParseAddrPort(net.JoinHostPort(address, value)) // Login checks it
		default:
			_ = c.Set(name, value)
		}
	}
}

// jitter is d, give or take a quarter: machines that lost the same target must
// not ask for it in step.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/2) - d/4 }

// otherManager says whether the kernel has another listener to iSCSI's events
// than the one of port: iscsid, iscsistart, or rootlun while it boots or logs
// in. That iscsid's own socket is there says little: systemd opens it for an
// iscsid that it has yet to start. netlink is the text of /proc/net/netlink;
// keeper says whether the process with that number is a keeper, which has
// sessions of its own to look after.
func otherManager(netlink string, port uint32, keeper func(pid string) bool) bool {
	own, protocol := strconv.Itoa(int(port)), strconv.Itoa(unix.NETLINK_ISCSI)
	for _, line := range strings.Split(netlink, "\n") {
		f := strings.Fields(line) // sk Eth Pid Groups …
		// The last digit has the first group, iscsid's; the second is iscsiuio's.
		if len(f) > 3 && f[1] == protocol && f[2] != own && strings.ContainsAny(f[3][len(f[3])-1:], "13579bdf") && !keeper(f[2]) {
			return true
		}
	}
	return false
}
