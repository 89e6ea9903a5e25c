package keep

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/boot/timer"
)

// lease is an address that DHCPv4 gave.
type lease struct {
	nic                     int
	address, server         netip.Addr
	duration, renew, rebind time.Duration // from given on; RFC 2131, 4.4.5
	given                   time.Time
}

// leastRetry is the least time between two requests for more time (RFC 2131, 4.4.5).
const leastRetry = time.Minute

// renew keeps a lease from running out as long as no network manager does. The
// address stays whatever comes of it: the root needs it.
func (k *keeper) renew(ctx context.Context, l *lease) {
	for next := l.renew; ; {
		if timer.Wait(ctx, time.Until(l.given.Add(next))) != nil {
			return
		}
		if l.hasClient() {
			// It renews in its own time. Should it leave, half of that is soon enough.
			l.given, next = time.Now(), l.renew/2
			continue
		}
		age, server := time.Since(l.given), l.server
		until := l.rebind
		if age >= l.rebind {
			server, until = network.AnyServer, l.duration
		}
		got, err := network.Renew(ctx, k, l.nic, l.address, server)
		if err == nil {
			l.given, l.server, l.duration, l.renew, l.rebind = got.Acquired, got.Server, got.Duration, got.Renew, got.Rebind
			next = l.renew
			continue
		}
		next = age + max((until-age)/2, leastRetry)
		k.Printf("the lease of %v ends in %.0f s, and the address stays all the same: %v; check that DHCP server %v can be reached",
			l.address, (l.duration - age).Seconds(), err, l.server)
	}
}

// hasClient says whether a program has a socket by which it renews the lease:
// UDP's port 68 of its address or of all, or a packet socket for IPv4 on its NIC.
func (l *lease) hasClient() bool {
	udp, _ := os.ReadFile("/proc/net/udp")
	packet, _ := os.ReadFile("/proc/net/packet")
	return l.clientIn(udp, packet)
}

func (l *lease) clientIn(udp, packet []byte) bool {
	own := fmt.Sprintf("%08X:0044", binary.NativeEndian.Uint32(l.address.AsSlice()))
	nic := fmt.Sprint(l.nic)
	return row(udp, func(f []string) bool { return f[1] == own || f[1] == "00000000:0044" }) || // sl local_address …
		row(packet, func(f []string) bool { return f[3] == "0800" && f[4] == nic }) // sk RefCnt Type Proto Iface …
}

// row says whether a line of a table of procfs is such a one.
func row(table []byte, is func(fields []string) bool) bool {
	for _, line := range strings.Split(string(table), "\n") {
		if f := strings.Fields(line); len(f) > 4 && is(f) {
			return true
		}
	}
	return false
}
