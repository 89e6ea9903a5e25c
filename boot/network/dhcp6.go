package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/timer"
)

const client6Port, server6Port = 546, 547

// client6 is who this machine is to DHCPv6 servers: as to iPXE, so that they
// give the same address again, a DUID-UUID of the machine's UUID in the order of
// its text (RFC 6355) and the MAC's checksum as the identity association. (EDK2
// has the UUID as SMBIOS stores it, and an identity association by chance.)
// Without a UUID it is a DUID-LL.
func (h *host) client6(mac net.HardwareAddr) client6 {
	c := client6{iaid: checksum32(mac)}
	b, _ := os.ReadFile(path.Join(h.sysfs, "class/dmi/id/product_uuid")) // a machine without DMI has none
	text := strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
	uuid, err := hex.DecodeString(text)
	if err != nil || len(uuid) != 16 || strings.Trim(text, "0") == "" || strings.Trim(strings.ToLower(text), "f") == "" {
		c.duid = append([]byte{0, 3, 0, unix.ARPHRD_ETHER}, mac...)
	} else {
		c.duid = append([]byte{0, 4}, uuid...)
	}
	return c
}

// checksum32 is the CRC of IEEE 802.3, but from 0 on and not inverted.
func checksum32(b []byte) (crc uint32) {
	for _, octet := range b {
		crc ^= uint32(octet)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xedb88320
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// dhcp6 is the client's side of DHCPv6, RFC 8415, 18.2. It waits for no random
// time before its first message and takes the first server that offers an
// address; the delays between retransmissions are those of DHCPv4 here, shorter
// than in 7.6: a switch port or a server that comes up late is asked again soon.
type dhcp6 struct {
	*nic
	conn       *socket
	client     client6
	retransmit time.Duration // the first delay
	start      time.Time
	content    bool  // there is an address already: a refusal is an answer
	refused    error // the last server that has no address for us
	ignored    int
}

func (h *host) dhcp6(n *nic) (*dhcp6, error) {
	conn, err := newSocket6(n.link, unix.SOCK_DGRAM, unix.IPPROTO_UDP, client6Port)
	if err != nil {
		return nil, n.fail(err, "cannot open port %d for DHCPv6; check that no other DHCPv6 client runs", client6Port)
	}
	return &dhcp6{nic: n, conn: conn, client: h.client6(n.mac), retransmit: h.retransmit, start: time.Now()}, nil
}

// Close closes the socket.
func (d *dhcp6) Close() { d.conn.Close() }

// address gets an address within limit.
func (d *dhcp6) address(ctx context.Context, limit time.Duration) (*answer6, error) {
	defer d.p.Wait("DHCPv6 on "+d.name, limit)()
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a, err := d.lease(bound)
	heard := "no server answered"
	switch {
	case d.refused != nil:
		heard = d.refused.Error()
	case d.ignored > 0:
		heard = fmt.Sprintf("%d messages ignored", d.ignored)
	}
	hint := "; check that a DHCPv6 server serves this network, and the client " + net.HardwareAddr(d.client.duid).String()
	switch {
	case err == nil:
		return a, nil
	case bound.Err() != nil && ctx.Err() == nil:
		return nil, d.fail(err, "no address by DHCPv6 within %s (%s)%s", seconds(limit), heard, hint)
	case ctx.Err() != nil:
		return nil, d.fail(err, "no address by DHCPv6 after %s (%s)%s", seconds(time.Since(d.start)), heard, hint)
	default:
		return nil, d.fail(err, "no address by DHCPv6")
	}
}

// lease goes from SOLICIT to REPLY, and starts again where a server takes its
// word back or is not heard of any more.
func (d *dhcp6) lease(ctx context.Context) (*answer6, error) {
	for failures := 0; ; failures++ {
		offer, err := d.exchange(ctx, d.message(solicit6), 0, "advertisement", func(a *answer6) bool {
			if a.kind == reply6 && !a.rapid || !d.sane(a) {
				return false
			}
			if a.status != nil {
				d.refuse(a)
			}
			return a.status == nil || d.content
		})
		switch {
		case err != nil:
			return nil, err
		case offer.status != nil:
			return nil, d.refused
		case offer.kind == reply6:
			return offer, nil
		}
		m := d.message(request6)
		m.server, m.address = offer.server, offer.address
		reply, err := d.exchange(ctx, m, 3, "reply", func(a *answer6) bool {
			return a.kind == reply6 && bytes.Equal(a.server, offer.server) && d.sane(a)
		})
		switch {
		case errors.Is(err, errNoAnswer):
			d.p.Printf("%s: the DHCPv6 server does not answer any more, starting again", d.name)
			continue
		case err != nil:
			return nil, err
		case reply.status == nil:
			return reply, nil
		}
		if d.refuse(reply); d.content {
			return nil, d.refused
		}
		if err := timer.Wait(ctx, d.delay(failures)); err != nil {
			return nil, err
		}
	}
}

// decline tells the server that another machine has the address (RFC 8415,
// 18.2.8), once: it matters to the next client more than to this one.
func (d *dhcp6) decline(a *answer6) {
	m := d.message(decline6)
	m.server, m.address = a.server, a.address
	if err := d.send(m); err != nil {
		d.p.Printf("%s: DHCPv6 message not sent: %v", d.name, err)
	}
}

// information asks for what is no address (RFC 8415, 18.2.6), tries times.
func (d *dhcp6) information(ctx context.Context, tries int) (*answer6, error) {
	return d.exchange(ctx, d.message(information6), tries, "reply", func(a *answer6) bool { return a.kind == reply6 })
}

// refuse notes that a server gives no address.
func (d *dhcp6) refuse(a *answer6) {
	if d.refused == nil {
		d.refused = fmt.Errorf("the server says %w", a.status)
		d.p.Printf("%s: DHCPv6: %v", d.name, d.refused)
	}
}

// sane says whether an answer gives an address or says why not.
func (d *dhcp6) sane(a *answer6) bool {
	if a.address.IsValid() || a.status != nil {
		return true
	}
	d.ignore(errors.New("it gives no address that can be used"))
	return false
}

// message makes one of a new transaction. Its number needs to differ, not to be
// secret.
func (d *dhcp6) message(kind byte) message6 {
	m := message6{kind: kind, client: d.client}
	var xid [4]byte
	binary.BigEndian.PutUint32(xid[:], rand.Uint32())
	copy(m.xid[:], xid[:])
	return m
}

func (d *dhcp6) send(m message6) error {
	servers := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 13: 1, 15: 2}) // ff02::1:2, RFC 8415, 7.1
	return d.conn.send(m.marshal(time.Since(d.start)), linkAddr(d.link, servers, server6Port))
}

// exchange sends m until an answer comes that accept takes, at most tries
// times, or without an end when tries is 0.
func (d *dhcp6) exchange(ctx context.Context, m message6, tries int, what string, accept func(*answer6) bool) (answer *answer6, err error) {
	for try := 0; tries == 0 || try < tries; try++ {
		delay := d.delay(try)
		attempt, cancel := context.WithTimeout(ctx, delay)
		if err := d.send(m); err != nil {
			d.p.Printf("%s: DHCPv6 message not sent: %v", d.name, err) // the link is down
		}
		err := d.conn.receive(attempt, func(b []byte) bool {
			a, ours, err := parseAnswer6(b, m.xid, m.client)
			if err != nil {
				d.ignore(err)
			}
			if !ours || err != nil || !accept(a) {
				return false
			}
			answer = a
			return true
		})
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
		d.p.Printf("%s: no DHCPv6 %s in %s (try %d)", d.name, what, delay.Round(10*time.Millisecond), try+1)
	}
	return nil, errNoAnswer
}

// ignore says why a message is passed over.
func (d *dhcp6) ignore(err error) {
	d.ignored++
	if d.ignored <= 10 { // a hostile one must not flood the console
		d.p.Printf("%s: DHCPv6 message ignored: %v", d.name, err)
	}
}

// delay returns how long to wait for an answer to a message that was sent try
// times before: 1, 2, 4, 8, 8, … s, give or take a tenth, the first never less
// (RFC 8415, 15 and 18.2.1).
func (d *dhcp6) delay(try int) time.Duration {
	delay := d.retransmit << min(try, 3)
	if try == 0 {
		return delay + 1 + rand.N(delay/10)
	}
	return delay - delay/10 + rand.N(delay/5)
}
