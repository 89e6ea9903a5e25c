package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A real server gives more time: the one that gave the address, and any.
func TestRenew(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-option=option:T1,60", "--dhcp-option=option:T2,90", "--dhcp-authoritative")
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		before := w.state()
		address := res.Address[0].Addr()
		for _, server := range []netip.Addr{res.Lease.Server, AnyServer} {
			lease, err := Renew(t.Context(), w.log, res.Index, address, server)
			if err != nil {
				t.Fatal(err)
			}
			if lease.Server != res.Lease.Server || lease.Duration != time.Hour ||
				lease.Renew > time.Minute || lease.Rebind > 90*time.Second || // dnsmasq makes them differ a little
				!lease.Acquired.After(res.Lease.Acquired) {
				t.Errorf("lease %+v", lease)
			}
		}
		// Of another address it says no.
		if _, err := Renew(t.Context(), w.log, res.Index, addr("10.9.1.200"), AnyServer); err == nil || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("an address of another network: %v", err)
		}
		w.farDown()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := Renew(ctx, w.log, res.Index, address, AnyServer); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a server: %v", err)
		}
		if after := w.state(); len(after.Addresses) != 1 || after.Addresses[0] != before.Addresses[0] {
			t.Errorf("addresses %v, before %v", after.Addresses, before.Addresses)
		}
		if name := Name(res.Index); name != "near0" || Name(4711) != "" {
			t.Errorf("the interface is %q", name)
		}
	})
}
