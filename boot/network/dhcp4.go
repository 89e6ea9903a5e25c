package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/rootlun/rootlun/boot/timer"
)

// dhcp4 gets an address as RFC 2131, 4.4.1 has it. The delays between
// retransmissions are shorter than there: a switch port or a server that comes
// up late is asked again soon. The address is not probed by ARP first (4.4.1,
// "SHOULD"), which would cost every boot seconds.
func (n *nic) dhcp4(ctx context.Context, retransmit time.Duration, cfg Config) (*answer, error) {
	limit, cancel := context.WithTimeout(ctx, cfg.DHCPTimeout)
	defer cancel()
	defer n.p.Wait("DHCP on "+n.name, cfg.DHCPTimeout)()

	conn, err := openPacket(n.index, n.mac)
	if err != nil {
		return nil, n.fail(err, "cannot open a packet socket for DHCP; check that the kernel has af_packet")
	}
	defer conn.Close()

	d := dhcp4{nic: n, conn: conn, retransmit: retransmit, start: time.Now()}
	a, err := d.lease(limit, &cfg)
	switch {
	case err == nil:
		return a, nil
	case limit.Err() != nil && ctx.Err() == nil:
		return nil, n.fail(err, "no address by DHCP within %s (%s)%s", seconds(cfg.DHCPTimeout), d.heard(), d.hint())
	case ctx.Err() != nil:
		return nil, n.fail(err, "no address by DHCP after %s (%s)%s", seconds(time.Since(d.start)), d.heard(), d.hint())
	default:
		return nil, n.fail(err, "cannot ask for an address by DHCP")
	}
}

// dhcp4 is the client's side of getting one lease.
type dhcp4 struct {
	*nic
	conn       *packetConn
	retransmit time.Duration // the first delay
	start      time.Time
	offers     int
	ignored    int
	naks       int
}

// heard says for a person what came from servers.
func (d *dhcp4) heard() string {
	if d.offers+d.ignored+d.naks == 0 {
		return "no server answered"
	}
	return fmt.Sprintf("%d offers taken up, %d requests refused by the server, %d messages ignored", d.offers, d.naks, d.ignored)
}

// hint says what to check when there is no address.
func (d *dhcp4) hint() string {
	switch {
	case d.naks > 0:
		return "; check the server's log for why it refuses"
	case d.offers+d.ignored > 0:
		return "; check what the server gives, which the lines above tell"
	}
	return "; check that a DHCP server serves this network and MAC " + d.mac.String()
}

// lease goes from DISCOVER to ACK, and starts again where a server refuses its
// own offer (DHCPNAK) or is not heard of any more. An address that is known is
// asked for first.
func (d *dhcp4) lease(ctx context.Context, cfg *Config) (*answer, error) {
	if cfg.Requested.Is4() {
		ack, err := d.reboot(ctx, cfg)
		if ack != nil || err != nil {
			return ack, err
		}
	}
	discover := d.message(cfg, discover4)
	if cfg.Requested.Is4() && d.naks == 0 {
		discover.requested = cfg.Requested
	}
	for {
		offer, err := d.exchange(ctx, discover, 0, "offer", func(m *reply4) bool {
			return m.kind() == offer4 && d.sane(m, "offer")
		})
		if err != nil {
			return nil, err
		}
		d.offers++
		server := offer.options[option4Server]
		request := discover
		request.kind, request.requested, request.server = request4, offer.your, server
		ack, err := d.exchange(ctx, request, 3, "acknowledgement", func(m *reply4) bool {
			return bytes.Equal(m.options[option4Server], server) &&
				(m.kind() == nak4 || m.kind() == ack4 && d.sane(m, "acknowledgement"))
		})
		switch {
		case errors.Is(err, errNoAnswer):
			d.p.Printf("%s: DHCP server %s does not answer any more, starting again", d.name, net.IP(server))
			continue
		case err != nil:
			return nil, err
		case ack.kind() == ack4:
			return d.acquired(ack)
		}
		d.naks++
		d.p.Printf("%s: DHCP server %s refused the address that it offered, starting again", d.name, net.IP(server))
		if d.naks > 1 {
			if err := timer.Wait(ctx, d.delay(d.naks-2)); err != nil {
				return nil, err
			}
		}
	}
}

// reboot asks for the address that firmware had: INIT-REBOOT (RFC 2131, 3.2). It
// returns nil when no server says yes, as one does that does not know of it.
func (d *dhcp4) reboot(ctx context.Context, cfg *Config) (*answer, error) {
	request := d.message(cfg, request4)
	request.requested = cfg.Requested
	ack, err := d.exchange(ctx, request, 2, "acknowledgement", func(m *reply4) bool {
		return m.kind() == nak4 || m.kind() == ack4 && d.sane(m, "acknowledgement")
	})
	switch {
	case errors.Is(err, errNoAnswer):
		d.p.Printf("%s: no DHCP server says that it may keep %s, so any address is asked for", d.name, cfg.Requested)
		return nil, nil
	case err != nil:
		return nil, err
	case ack.kind() == nak4:
		d.naks++
		d.p.Printf("%s: the DHCP server does not let it keep %s, so any address is asked for", d.name, cfg.Requested)
		return nil, nil
	}
	return d.acquired(ack)
}

// acquired reads an ACK.
func (d *dhcp4) acquired(ack *reply4) (*answer, error) {
	a, err := parseAnswer(ack)
	if err == nil {
		a.lease.Acquired, a.lease.ClientID = time.Now(), (&message4{mac: d.mac}).clientID()
	}
	return a, err
}

// message makes what all messages have. The transaction ID needs to differ, not
// to be secret: the kernel's random numbers may not be ready this early.
func (d *dhcp4) message(cfg *Config, kind byte) message4 {
	return message4{kind: kind, xid: rand.Uint32(), mac: d.mac, hostname: cfg.Hostname, vendorClass: cfg.VendorClass}
}

// errNoAnswer says that nobody answered as many messages as were to be sent.
var errNoAnswer = errors.New("no answer")

// exchange sends m until an answer comes that accept takes, at most tries
// times, or without an end when tries is 0.
func (d *dhcp4) exchange(ctx context.Context, m message4, tries int, what string, accept func(*reply4) bool) (*reply4, error) {
	for try := 0; tries == 0 || try < tries; try++ {
		delay := d.delay(try)
		attempt, cancel := context.WithTimeout(ctx, delay)
		// Not every bridge and relay brings an answer to an address that nobody has yet.
		broadcast := try%2 == 1
		if err := d.conn.send(m.marshal(time.Since(d.start), broadcast)); err != nil {
			d.p.Printf("%s: DHCP message not sent: %v", d.name, err) // the link is down
		}
		answer, err := d.conn.receive(attempt, m.xid, accept)
		ended := attempt.Err() != nil
		cancel()
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !ended:
			return nil, err
		}
		d.p.Printf("%s: no DHCP %s in %s (try %d)", d.name, what, delay.Round(10*time.Millisecond), try+1)
	}
	return nil, errNoAnswer
}

// delay returns how long to wait for an answer to a message that was sent try
// times before: 1, 2, 4, 8, 8, … s, give or take an eighth, so that machines
// that start together do not ask together (RFC 2131, 4.1).
func (d *dhcp4) delay(try int) time.Duration {
	delay := d.retransmit << min(try, 3)
	return delay - delay/8 + rand.N(delay/4)
}

// sane says whether a server's message gives what an address needs, and prints
// why when it does not.
func (d *dhcp4) sane(m *reply4, what string) bool {
	_, err := parseAnswer(m)
	if err == nil {
		return true
	}
	d.ignored++
	if d.ignored <= 10 { // a hostile one must not flood the console
		d.p.Printf("%s: DHCP %s ignored: %v", d.name, what, err)
	}
	return false
}
