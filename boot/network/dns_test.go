package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/net/dns/dnsmessage"
)

// dnsReply is what a test's server answers to the n-th question about that name
// and type, from 0 on; each []byte is a datagram.
type dnsReply func(n int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte

// dnsServers starts a server for each reply, at 127.0.0.1, 127.0.0.2, … and one
// port; nil: nothing is at that address.
func dnsServers(t *testing.T, replies ...dnsReply) (servers []netip.Addr, port int) {
	for i, reply := range replies {
		at := netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)})
		servers = append(servers, at)
		if reply == nil {
			continue
		}
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, uint16(port))))
		if err != nil {
			t.Fatal(err)
		}
		port = c.LocalAddr().(*net.UDPAddr).Port
		var ended sync.WaitGroup
		ended.Go(func() { serveDNS(t, c, reply) })
		t.Cleanup(func() { c.Close(); ended.Wait() })
	}
	return servers, port
}

func serveDNS(t *testing.T, c *net.UDPConn, reply dnsReply) {
	asked := map[dnsmessage.Question]int{}
	buf := make([]byte, 2000)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if err := query.Unpack(buf[:n]); err != nil || len(query.Questions) != 1 || !query.RecursionDesired {
			t.Errorf("query %x: %v", buf[:n], err)
			return
		}
		q := query.Questions[0]
		for _, b := range reply(asked[q], q, &query) {
			if _, err := c.WriteToUDPAddrPort(b, from); err != nil {
				t.Error(err)
			}
		}
		asked[q]++
	}
}

// answerTo packs an answer of a recursive server to a query.
func answerTo(query *dnsmessage.Message, rcode dnsmessage.RCode, records ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: rcode},
		Questions: query.Questions, Answers: records,
	}
	return packed(m)
}

func packed(m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// dnsHost is an A or an AAAA record.
func dnsHost(name, addr string) dnsmessage.Resource {
	a := netip.MustParseAddr(addr)
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 60}
	if a.Is4() {
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}}
	}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}}
}

func dnsAlias(name, target string) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 60}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target)}}
}

// zone answers from records: those of the type that is asked for, and the
// aliases. A name that has none does not exist.
func zone(records ...dnsmessage.Resource) dnsReply {
	return func(_ int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte {
		known := false
		var list []dnsmessage.Resource
		for _, r := range records {
			known = known || strings.EqualFold(r.Header.Name.String(), q.Name.String())
			_, isA := r.Body.(*dnsmessage.AResource)
			_, isAAAA := r.Body.(*dnsmessage.AAAAResource)
			if isA && q.Type == dnsmessage.TypeA || isAAAA && q.Type == dnsmessage.TypeAAAA || !isA && !isAAAA {
				list = append(list, r)
			}
		}
		if !known {
			return [][]byte{answerTo(query, dnsmessage.RCodeNameError)}
		}
		return [][]byte{answerTo(query, dnsmessage.RCodeSuccess, list...)}
	}
}

func silent(int, dnsmessage.Question, *dnsmessage.Message) [][]byte { return nil }

// fails answers with an error code the first n times.
func fails(n int, rcode dnsmessage.RCode, then dnsReply) dnsReply {
	return func(i int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte {
		if i < n {
			return [][]byte{answerTo(query, rcode)}
		}
		return then(i, q, query)
	}
}

func TestLookup(t *testing.T) {
	const name = "storage.example"
	storage := zone(dnsHost(name+".", "fd07::1"), dnsHost(name+".", "192.0.2.1"))
	both := []string{"192.0.2.1", "fd07::1"}
	var many []dnsmessage.Resource
	for i := range 20 {
		many = append(many, dnsHost(name+".", netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String()))
	}
	for what, tt := range map[string]struct {
		replies []dnsReply
		search  []string
		name    string // else name above
		want    []string
		fails   []string // parts of the error
		final   bool     // it comes before time is up
	}{
		"both":                  {replies: []dnsReply{storage}, want: both},
		"IPv4 alone":            {replies: []dnsReply{zone(dnsHost(name+".", "192.0.2.1"))}, want: both[:1]},
		"IPv6 alone":            {replies: []dnsReply{zone(dnsHost(name+".", "fd07::1"))}, want: both[1:]},
		"a literal":             {name: "2001:db8::9", want: []string{"2001:db8::9"}},
		"a dot at the end":      {replies: []dnsReply{storage}, name: name + ".", want: both},
		"capitals":              {replies: []dnsReply{zone(dnsHost("STORAGE.example.", "192.0.2.1"))}, name: "Storage.Example", want: both[:1]},
		"no answer, next":       {replies: []dnsReply{silent, storage}, want: both},
		"nobody there, next":    {replies: []dnsReply{nil, storage}, want: both},
		"refused, next":         {replies: []dnsReply{fails(9, dnsmessage.RCodeRefused, nil), storage}, want: both},
		"not known, next":       {replies: []dnsReply{zone(), storage}, want: both},
		"failed, again":         {replies: []dnsReply{fails(2, dnsmessage.RCodeServerFailure, storage)}, want: both},
		"a few of many":         {replies: []dnsReply{zone(many...)}, want: names(many[:16])},
		"found by search":       {replies: []dnsReply{zone(dnsHost("storage.lan.", "192.0.2.1"))}, search: []string{"example", "lan"}, name: "storage", want: both[:1]},
		"found without domain":  {replies: []dnsReply{zone(dnsHost("storage.", "192.0.2.1"))}, search: []string{"no..name"}, name: "storage", want: both[:1]},
		"a dot: no search":      {replies: []dnsReply{zone(dnsHost(name+".lan.", "192.0.2.1"))}, search: []string{"lan"}, fails: []string{name + ": the name has no address"}, final: true},
		"alias":                 {replies: []dnsReply{zone(dnsAlias(name+".", "A.example."), dnsAlias("a.example.", "b.example."), dnsHost("b.EXAMPLE.", "192.0.2.1"))}, want: both[:1]},
		"aliases out of order":  {replies: []dnsReply{zone(dnsHost("b.example.", "192.0.2.1"), dnsAlias("a.example.", "b.example."), dnsAlias(name+".", "a.example."))}, want: both[:1]},
		"alias of itself":       {replies: []dnsReply{zone(dnsAlias(name+".", name+"."))}, fails: []string{"no address"}, final: true},
		"another name's":        {replies: []dnsReply{zone(dnsAlias(name+".", "a.example."), dnsHost("other.example.", "192.0.2.1"))}, fails: []string{"no address"}, final: true},
		"no host's address":     {replies: []dnsReply{zone(dnsHost(name+".", "0.0.0.0"), dnsHost(name+".", "224.0.0.1"), dnsHost(name+".", "::"))}, fails: []string{"no address"}, final: true},
		"all say no":            {replies: []dnsReply{zone(), zone()}, fails: []string{name + ": the name has no address", "check the name"}, final: true},
		"one says no":           {replies: []dnsReply{zone(), silent}, fails: []string{"within", "127.0.0.2: no answer"}},
		"no name at all":        {replies: []dnsReply{storage}, name: strings.Repeat("x", 64) + ".example", fails: []string{"no address"}, final: true},
		"no server":             {fails: []string{name + ": no name server is known", "nameserver="}, final: true},
		"server not reached":    {replies: []dnsReply{fails(99, dnsmessage.RCodeServerFailure, nil), nil}, fails: []string{"127.0.0.1: SERVFAIL; 127.0.0.2: connection refused"}},
		"only A is answered":    {replies: []dnsReply{unanswered(dnsmessage.TypeAAAA, storage)}, want: both[:1]},
		"only AAAA is answered": {replies: []dnsReply{unanswered(dnsmessage.TypeA, storage)}, want: both[1:]},
		"half a no is none":     {replies: []dnsReply{unanswered(dnsmessage.TypeA, zone())}, fails: []string{"127.0.0.1: no answer"}},
		"spoofed":               {replies: []dnsReply{spoofed(storage)}, want: both},
		"does not recurse": {replies: []dnsReply{func(_ int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte {
			return [][]byte{packed(dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true}, Questions: query.Questions})}
		}, storage}, want: both},
		"too long for 512 bytes": {replies: []dnsReply{func(n int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte {
			if len(query.Additionals) == 1 && query.Additionals[0].Header.Type == dnsmessage.TypeOPT && query.Additionals[0].Header.Class == 1232 {
				return storage(n, q, query)
			}
			return [][]byte{packed(dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true, Truncated: true}, Questions: query.Questions})}
		}}, want: both},
		"truncated with addresses": {replies: []dnsReply{func(n int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte {
			b := storage(n, q, query)[0]
			b[2] |= 2 // TC
			b[7]++    // a record that is not there
			return [][]byte{b}
		}}, want: both},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if tt.fails != nil && !tt.final {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			servers, port := dnsServers(t, tt.replies...)
			if tt.name == "" {
				tt.name = name
			}
			addrs, err := resolver{port, 100 * time.Millisecond}.lookup(ctx, servers, tt.search, tt.name)
			var want []netip.Addr
			for _, a := range tt.want {
				want = append(want, netip.MustParseAddr(a))
			}
			if d := cmp.Diff(want, addrs, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if tt.fails == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var failed *Error
			if !errors.As(err, &failed) || errors.Is(err, context.DeadlineExceeded) == tt.final {
				t.Fatalf("error %v", err)
			}
			for _, part := range tt.fails {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not have %q", err, part)
				}
			}
		})
	}
}

func names(records []dnsmessage.Resource) (list []string) {
	for _, r := range records {
		list = append(list, netip.AddrFrom4(r.Body.(*dnsmessage.AResource).A).String())
	}
	return list
}

// unanswered leaves questions for a type unanswered.
func unanswered(kind dnsmessage.Type, reply dnsReply) dnsReply {
	return func(n int, q dnsmessage.Question, query *dnsmessage.Message) [][]byte {
		if q.Type == kind {
			return nil
		}
		return reply(n, q, query)
	}
}

// spoofed sends what is no answer to the query before the one that is.
func spoofed(reply dnsReply) dnsReply {
	return func(n int, q dnsmessage.Question, query *dnsmessage.Message) (list [][]byte) {
		evil := dnsHost(q.Name.String(), "203.0.113.66")
		for _, change := range []func(m *dnsmessage.Message){
			func(m *dnsmessage.Message) { m.ID += 7 },
			func(m *dnsmessage.Message) { m.Response = false },
			func(m *dnsmessage.Message) { m.OpCode = 4 },
			func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("storagf.example.") },
			func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX },
			func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS },
			func(m *dnsmessage.Message) { m.Questions = nil },
			func(m *dnsmessage.Message) { m.Questions = append(m.Questions, q) },
		} {
			m := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q}, Answers: []dnsmessage.Resource{evil}}
			change(&m)
			list = append(list, packed(m))
		}
		return append(append(list, nil, []byte{1, 2, 3}), reply(n, q, query)...)
	}
}

// A link-local server needs an interface, and one that there is.
func TestLookupZone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	servers := []netip.Addr{netip.MustParseAddr("fe80::1%nosuch"), netip.MustParseAddr("fe80::2")}
	_, err := resolver{9, 20 * time.Millisecond}.lookup(ctx, servers, nil, "storage.example")
	if err == nil || !strings.Contains(err.Error(), "fe80::1%nosuch: no such device; fe80::2: invalid argument") {
		t.Error(err)
	}
}

func FuzzDNSAnswer(f *testing.F) {
	wire := dnsName("storage.example")
	query := dnsQuery(0x1234, wire, typeA, false)
	var asked dnsmessage.Message
	if err := asked.Unpack(query); err != nil {
		f.Fatal(err)
	}
	q := asked.Questions[0]
	name := q.Name.String()
	f.Add(query)
	f.Add(answerTo(&asked, dnsmessage.RCodeNameError))
	f.Add(answerTo(&asked, dnsmessage.RCodeServerFailure))
	for _, reply := range []dnsReply{
		zone(dnsHost(name, "192.0.2.1"), dnsHost(name, "192.0.2.2")),
		zone(dnsAlias(name, "a.example."), dnsAlias("a.example.", "b.other."), dnsHost("b.other.", "192.0.2.1")),
		spoofed(zone(dnsHost(name, "192.0.2.1"))),
	} {
		for _, b := range reply(0, q, &asked) {
			f.Add(b)
		}
	}
	good := answerTo(&asked, dnsmessage.RCodeSuccess, dnsHost(name, "192.0.2.1"))
	for _, pointer := range []string{"\xc0\x0c", "\xc0\x21", "\xc0\xff", "\xff\xff", "\xc0"} { // to the name, itself, beyond, …
		b := append([]byte(nil), good...)
		copy(b[len(query):], pointer)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		addrs, ok, err := parseDNSAnswer(b, query)
		switch {
		case string(b) != before:
			t.Error("the answer is changed")
		case !ok && (addrs != nil || err != nil), err != nil && addrs != nil, len(addrs) > maxAddresses:
			t.Errorf("%v, %v, %v", addrs, ok, err)
		case ok && (len(b) < len(query) || string(b[:2]) != string(query[:2]) || b[2]&0x80 == 0):
			t.Errorf("that is no answer: % x", b)
		}
		for _, a := range addrs {
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || !strings.Contains(before, string(a.AsSlice())) {
				t.Errorf("address %v", a)
			}
		}
		for at := range b { // any offset
			if name, next, ok := parseDNSName(b, at); ok && (next <= at || next > len(b) || len(name) > maxWireName || dnsText(name) == "" && name != "\x00") {
				t.Errorf("name %q at %d to %d", name, at, next)
			}
		}
	})
}

// dnsText returns a name's labels, or "" where they do not fill it.
func dnsText(wire string) (text string) {
	for len(wire) > 1 && len(wire) > int(wire[0])+1 {
		text += wire[1:1+wire[0]] + "."
		wire = wire[1+wire[0]:]
	}
	if wire != "\x00" {
		return ""
	}
	return text
}
