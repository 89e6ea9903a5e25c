package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A real server gives more time: the one that gave the address, and any.
func TestRenew(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq(dhcpRange, "--dhcp-option=option:T1,60", "--dhcp-option=option:T2,90")
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

// The request has the address as its own, and names no server (RFC 2131, 4.3.2); a
// refusal is heard, another address is not taken, nor is nonsense.
func TestRenewRefused(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.server(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			good := reply(m)
			if m.MessageType() != dhcpv4.MessageTypeRequest || m.ClientIPAddr.IsUnspecified() {
				return []*dhcpv4.DHCPv4{good}
			}
			if m.ServerIdentifier() != nil || m.RequestedIPAddress() != nil || !m.ClientIPAddr.Equal(net.IP{10, 9, 0, 50}) {
				t.Errorf("the request: %v", m)
			}
			other, short, nak := reply(m), reply(m), reply(m)
			other.YourIPAddr = net.IP{10, 9, 0, 51}
			short.Options.Del(dhcpv4.OptionIPAddressLeaseTime)
			nak.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
			return []*dhcpv4.DHCPv4{other, short, nak}
		})
		res := w.mustUp(Config{Name: "near0", DHCP: true})
		_, err := Renew(t.Context(), w.log, res.Index, res.Address[0].Addr(), res.Lease.Server)
		if err == nil || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("error %v", err)
		}
	})
}
