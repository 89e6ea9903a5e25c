package network

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

var (
	testXID    = [3]byte{1, 2, 3}
	testClient = client6{duid: []byte{0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 1}, iaid: 0x11223344}
	testServer = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
)

// goodReply is a reply of the library's making, with these options more.
func goodReply(kind dhcpv6.MessageType, xid [3]byte, client client6, more ...dhcpv6.Option) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: xid}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: client.duid})
	m.AddOption(dhcpv6.OptServerID(testServer))
	for _, o := range more {
		m.AddOption(o)
	}
	return m
}

// iana6 is an identity association with that address and these options more.
func iana6(iaid uint32, address string, more ...dhcpv6.Option) *dhcpv6.OptIANA {
	o := &dhcpv6.OptIANA{T1: time.Hour, T2: 2 * time.Hour}
	o.IaId = [4]byte{byte(iaid >> 24), byte(iaid >> 16), byte(iaid >> 8), byte(iaid)}
	if address != "" {
		o.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(address), PreferredLifetime: 3 * time.Hour, ValidLifetime: 4 * time.Hour})
	}
	for _, m := range more {
		o.Options.Add(m)
	}
	return o
}

func status6(code iana.StatusCode, text string) dhcpv6.Option {
	return &dhcpv6.OptStatusCode{StatusCode: code, StatusMessage: text}
}

// The library reads what we write as it is meant.
func TestDHCP6Marshal(t *testing.T) {
	for _, kind := range []byte{solicit6, request6, decline6, information6} {
		m := message6{kind: kind, xid: testXID, client: testClient}
		if kind == request6 || kind == decline6 {
			m.server, m.address = testServer.ToBytes(), addr("fd09::50")
		}
		b := m.marshal(1234 * time.Millisecond)
		got, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			t.Fatalf("message %d: %v", kind, err)
		}
		if !bytes.Equal(got.ToBytes(), b) {
			t.Errorf("message %d: the library writes it as %x, not %x", kind, got.ToBytes(), b)
		}
		if byte(got.MessageType) != kind || got.TransactionID != testXID || !bytes.Equal(got.Options.ClientID().ToBytes(), testClient.duid) ||
			got.Options.ElapsedTime() != 1230*time.Millisecond {
			t.Errorf("message %d: %v", kind, got.Summary())
		}
		ia := got.Options.OneIANA()
		switch {
		case kind == information6 && ia != nil:
			t.Errorf("an INFORMATION-REQUEST with %v", ia)
		case kind != information6 && (ia == nil || ia.IaId != [4]byte{0x11, 0x22, 0x33, 0x44}):
			t.Errorf("message %d: identity association %v", kind, ia)
		}
		if m.server != nil && (!got.Options.ServerID().Equal(testServer) || !ia.Options.OneAddress().IPv6Addr.Equal(net.ParseIP("fd09::50"))) {
			t.Errorf("message %d: %v", kind, got.Summary())
		}
		if rapid := got.GetOneOption(dhcpv6.OptionRapidCommit) != nil; rapid != (kind == solicit6) {
			t.Errorf("message %d: rapid commit %v", kind, rapid)
		}
		if want := kind != decline6; want != got.IsOptionRequested(dhcpv6.OptionBootfileURL) || want != got.IsOptionRequested(dhcpv6.OptionDNSRecursiveNameServer) {
			t.Errorf("message %d requests %v", kind, got.Options.RequestedOptions())
		}
	}
}

func TestDHCP6Parse(t *testing.T) {
	full := []dhcpv6.Option{
		iana6(testClient.iaid, "fd09::50", status6(iana.StatusSuccess, "")),
		dhcpv6.OptDNS(net.ParseIP("fd09::1"), net.ParseIP("ff02::1"), net.ParseIP("fe80::1")),
		dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{"example.org", "example.net"}}),
		dhcpv6.OptBootFileURL("iscsi:[fd09::1]::::iqn.2026-01.org.example:root"),
		&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit},
	}
	refusal := func(s dhcpv6.Option) error {
		return &statusError{uint16(s.(*dhcpv6.OptStatusCode).StatusCode), s.(*dhcpv6.OptStatusCode).StatusMessage}
	}
	noAddrs := status6(iana.StatusNoAddrsAvail, "come back later")
	server := testServer.ToBytes()
	for name, test := range map[string]struct {
		options []dhcpv6.Option
		want    answer6
		refused error
	}{
		"all that there is": {full, answer6{rapid: true, address: addr("fd09::50"), preferred: 3 * time.Hour, valid: 4 * time.Hour,
			dns: []netip.Addr{addr("fd09::1"), addr("fe80::1")}, domain: "example.org", bootFile: "iscsi:[fd09::1]::::iqn.2026-01.org.example:root"}, nil},
		"no address":             {nil, answer6{}, nil},
		"refused as a whole":     {[]dhcpv6.Option{iana6(testClient.iaid, "fd09::50"), noAddrs}, answer6{preferred: 3 * time.Hour, valid: 4 * time.Hour}, refusal(noAddrs)},
		"refused in the IA":      {[]dhcpv6.Option{iana6(testClient.iaid, "", noAddrs)}, answer6{}, refusal(noAddrs)},
		"another IA":             {[]dhcpv6.Option{iana6(7, "fd09::50")}, answer6{}, nil},
		"a multicast address":    {[]dhcpv6.Option{iana6(testClient.iaid, "ff02::1")}, answer6{}, nil},
		"a link-local address":   {[]dhcpv6.Option{iana6(testClient.iaid, "fe80::1")}, answer6{}, nil},
		"the address of nobody":  {[]dhcpv6.Option{iana6(testClient.iaid, "::")}, answer6{}, nil},
		"an IPv4 address":        {[]dhcpv6.Option{iana6(testClient.iaid, "::ffff:10.0.0.1")}, answer6{}, nil},
		"a control character":    {[]dhcpv6.Option{dhcpv6.OptBootFileURL("iscsi:\x1b[2J")}, answer6{}, nil},
		"labels that do not end": {[]dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionDomainSearchList, OptionData: []byte("\x07example")}}, answer6{}, nil},
	} {
		test.want.kind, test.want.server = reply6, server
		got, ours, err := parseAnswer6(goodReply(dhcpv6.MessageTypeReply, testXID, testClient, test.options...).ToBytes(), testXID, testClient)
		if err != nil || !ours {
			t.Errorf("%s: ours %v, error %v", name, ours, err)
			continue
		}
		status := got.status
		got.status = nil
		if d := cmp.Diff(&test.want, got, compareAddr, cmp.AllowUnexported(answer6{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if (status == nil) != (test.refused == nil) || status != nil && status.Error() != test.refused.Error() {
			t.Errorf("%s: status %v, want %v", name, status, test.refused)
		}
	}
}

// What is not for us is nobody's mistake; what is for us and broken is one.
func TestDHCP6ParseRefuses(t *testing.T) {
	good := goodReply(dhcpv6.MessageTypeReply, testXID, testClient, iana6(testClient.iaid, "fd09::50")).ToBytes()
	if _, ours, err := parseAnswer6(good, [3]byte{9, 9, 9}, testClient); ours || err != nil {
		t.Errorf("another transaction: ours %v, error %v", ours, err)
	}
	if _, ours, err := parseAnswer6(good, testXID, client6{duid: []byte{0, 4, 1}}); ours || err != nil {
		t.Errorf("another client: ours %v, error %v", ours, err)
	}
	if _, ours, _ := parseAnswer6(goodReply(dhcpv6.MessageTypeSolicit, testXID, testClient).ToBytes(), testXID, testClient); ours {
		t.Error("a SOLICIT is ours")
	}
	for i := range good {
		if a, ours, err := parseAnswer6(good[:i], testXID, testClient); ours && err == nil && a.address.IsValid() {
			t.Errorf("cut off after %d bytes: %+v", i, a)
		}
	}
	nameless := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: testXID}
	nameless.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: testClient.duid})
	if _, ours, err := parseAnswer6(nameless.ToBytes(), testXID, testClient); !ours || err == nil {
		t.Errorf("no server: ours %v, error %v", ours, err)
	}
}

// Whatever we take of a message, the library takes too.
func FuzzDHCP6(f *testing.F) {
	for _, m := range []*dhcpv6.Message{
		goodReply(dhcpv6.MessageTypeReply, testXID, testClient, iana6(testClient.iaid, "fd09::50"), dhcpv6.OptDNS(net.ParseIP("fd09::1")),
			dhcpv6.OptBootFileURL("iscsi:[fd09::1]::::iqn.x"), dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{"example.org"}})),
		goodReply(dhcpv6.MessageTypeAdvertise, testXID, testClient, iana6(testClient.iaid, "", status6(iana.StatusNoAddrsAvail, "none left"))),
		goodReply(dhcpv6.MessageTypeReply, testXID, testClient, status6(iana.StatusUnspecFail, "")),
	} {
		f.Add(m.ToBytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ours, err := parseAnswer6(b, testXID, testClient)
		if err != nil || !ours {
			return
		}
		if a.address.IsValid() && (!isHost6(a.address) || a.valid == 0 || a.preferred > a.valid || a.status != nil) {
			t.Errorf("address %s for %s, %s, status %v", a.address, a.preferred, a.valid, a.status)
		}
		if a.bootFile != text([]byte(a.bootFile)) || a.domain != text([]byte(a.domain)) || len(a.server) == 0 {
			t.Errorf("%+v", a)
		}
		m, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			return // it is stricter with options that are not asked for here
		}
		if !bytes.Equal(m.Options.ClientID().ToBytes(), testClient.duid) && len(m.GetOption(dhcpv6.OptionClientID)) == 1 {
			t.Errorf("for the client %x to the library", m.Options.ClientID().ToBytes())
		}
		if !a.address.IsValid() {
			return
		}
		for _, ia := range m.Options.IANA() {
			for _, o := range ia.Options.Addresses() {
				if got, _ := netip.AddrFromSlice(o.IPv6Addr); got == a.address {
					return
				}
			}
		}
		t.Errorf("the library does not see %s in %s", a.address, m.Summary())
	})
}

func TestAdvertised(t *testing.T) {
	with := func(edit func(b []byte)) []byte {
		b := advertisement(0, 1800, "fd09::/64")
		b = append(b, 25, 3, 0, 0, 0, 0, 0, 60)
		b = append(b, addr("fd09::53").AsSlice()...)
		edit(b)
		return b
	}
	dns := []netip.Addr{addr("fd09::53")}
	for name, test := range map[string]struct {
		message []byte
		want    advertised
	}{
		"a prefix and a server":           {with(func([]byte) {}), advertised{true, dns}},
		"on the link only":                {with(func(b []byte) { b[19] = 0x80 }), advertised{false, dns}},
		"a prefix that is over":           {with(func(b []byte) { copy(b[20:], make([]byte, 4)) }), advertised{false, dns}},
		"a server that is over":           {with(func(b []byte) { b[55] = 0 }), advertised{true, nil}},
		"a server for all":                {with(func(b []byte) { b[56] = 0xff }), advertised{true, nil}},
		"an option of no length":          {with(func(b []byte) { b[17] = 0 }), advertised{}},
		"an option longer than the rest":  {with(func(b []byte) { b[49] = 4 }), advertised{true, nil}},
		"a prefix of another length":      {with(func(b []byte) { b[17] = 3 }), advertised{}},
		"neither":                         {with(func([]byte) {})[:16], advertised{}},
		"a solicitation":                  {with(func(b []byte) { b[0] = 133 }), advertised{}},
		"less than an advertisement's":    {with(func([]byte) {})[:15], advertised{}},
		"a server's address that is half": {with(func([]byte) {})[:64], advertised{true, nil}},
	} {
		var got advertised
		got.add(test.message)
		if d := cmp.Diff(test.want, got, compareAddr, cmp.AllowUnexported(advertised{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	full := with(func([]byte) {})
	for i := range full {
		var got advertised
		if got.add(full[:i]); got.dns != nil || got.prefix != (i >= 48) {
			t.Errorf("cut off after %d bytes: %+v", i, got)
		}
	}
}

// Any message is read, and no server is one that can't be.
func FuzzAdvertised(f *testing.F) {
	f.Add(advertisement(0x80, 1800, "fd09::/64", "2001:db8::/64"))
	f.Add(append(append(advertisement(0, 0), 25, 3, 0, 0, 0, 0, 0, 60), addr("fd09::53").AsSlice()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got advertised
		got.add(b)
		for _, a := range got.dns {
			if a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() || a.Is4In6() {
				t.Errorf("server %s", a)
			}
		}
		if len(got.dns)*16 > len(b) || got.prefix && len(b) < 48 {
			t.Errorf("%+v of %d bytes", got, len(b))
		}
	})
}

// iPXE's identifiers: the UUID in the order of its text, and the checksum of the
// MAC.
func TestClient6(t *testing.T) {
	h := host{sysfs: t.TempDir()}
	mac := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	if got := h.client6(mac); !bytes.Equal(got.duid, append([]byte{0, 3, 0, 1}, mac...)) {
		t.Errorf("without a UUID: %x", got.duid)
	}
	dir := filepath.Join(h.sysfs, "class/dmi/id")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for uuid, want := range map[string][]byte{
		"00112233-4455-6677-8899-AABBCCDDEEFF\n": {0, 4, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
		"00000000-0000-0000-0000-000000000000\n": append([]byte{0, 3, 0, 1}, mac...),
		"Not Settable\n":                         append([]byte{0, 3, 0, 1}, mac...),
	} {
		if err := os.WriteFile(filepath.Join(dir, "product_uuid"), []byte(uuid), 0o444); err != nil {
			t.Fatal(err)
		}
		if got := h.client6(mac); !bytes.Equal(got.duid, want) {
			t.Errorf("%q: %x, want %x", uuid, got.duid, want)
		}
	}
	// The check value of CRC-32/JAMCRC is that of the same polynomial from all ones on;
	// from 0 on, the CRC of one byte 1 is the table's second entry.
	if got := checksum32([]byte{1}); got != 0x77073096 {
		t.Errorf("checksum %#x", got)
	}
}

func TestStatusError(t *testing.T) {
	for want, err := range map[string]error{
		"NoAddrsAvail: none left": &statusError{2, "none left"}, "status 77": &statusError{code: 77},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	if err := parseStatus6([]byte{0, 0, 'o', 'k'}); err != nil {
		t.Errorf("success: %v", err)
	}
	if err := parseStatus6([]byte{0, 4}); !errors.As(err, new(*statusError)) {
		t.Errorf("NotOnLink: %v", err)
	}
}
