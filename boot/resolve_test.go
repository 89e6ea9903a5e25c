package boot

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
)

func etc(hosts, resolvConf string) fstest.MapFS {
	return fstest.MapFS{"etc/hosts": {Data: []byte(hosts)}, "etc/resolv.conf": {Data: []byte(resolvConf)}}
}

func addrList(list ...string) (addrs []netip.Addr) {
	for _, s := range list {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}

func TestNameServers(t *testing.T) {
	conf := etc("", "# comment\nnameserver 192.0.2.7 # here\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\nsearch lan example\ndomain lan\n")
	nics := []*network.Result{
		{DNS: addrList("192.0.2.3", "192.0.2.1"), Lease: &network.Lease{Domain: "dhcp.example  more.example"}},
		{DNS: addrList("fe80::2%eth1"), Lease6: &network.Lease6{Domain: "six.example"}},
		{},
	}
	all := func() *fw.Plan {
		return &fw.Plan{DNS: addrList("192.0.2.1"), NICs: []fw.NIC{{DNS: addrList("192.0.2.2", "192.0.2.1")}, {DNS: []netip.Addr{{}}}}}
	}
	noPeer := all()
	noPeer.NoPeerDNS = true
	many := make([]netip.Addr, 20)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	for _, tt := range []struct {
		name    string
		root    fstest.MapFS
		plan    *fw.Plan
		nics    []*network.Result
		servers []netip.Addr
		search  []string
	}{
		{"all", conf, all(), nics, addrList("192.0.2.1", "192.0.2.2", "192.0.2.3", "fe80::2%eth1"), []string{"dhcp.example", "more.example", "six.example", "lan", "example"}},
		{"rd.peerdns=0", conf, noPeer, nics, addrList("192.0.2.1", "192.0.2.2"), []string{"lan", "example"}},
		{"the image's", conf, &fw.Plan{}, nics[2:], addrList("192.0.2.7", "fe80::1%eth0"), []string{"lan", "example"}},
		{"none", fstest.MapFS{}, &fw.Plan{}, nil, nil, nil},
		{"too many", etc("", "search a b c d e f g h"), &fw.Plan{DNS: many}, nil, many[:maxServers], []string{"a", "b", "c", "d", "e", "f"}},
	} {
		servers, search := nameServers(tt.root, tt.plan, tt.nics)
		if d := cmp.Diff(tt.servers, servers, cmpopts.EquateComparable(netip.Addr{})) + cmp.Diff(tt.search, search); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestResolve(t *testing.T) {
	root := etc("# addresses\n127.0.0.1 localhost storage.example storage # ours\n::1\tlocalhost\nnonsense storage.example\n192.0.2.1\n", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		host string
		dns  []netip.Addr
		want []netip.Addr
		says string
	}{
		{host: "192.0.2.9", want: addrList("192.0.2.9")},
		{host: "fe80::1%eth0", want: addrList("fe80::1%eth0")},
		{host: "Storage.example.", want: addrList("127.0.0.1")},
		{host: "storage", want: addrList("127.0.0.1")},
		{host: "orage.example", says: "orage.example: no name server is known"},
		{host: "other.example", dns: addrList("127.0.0.9"), says: "other.example: no address within 0 s; 127.0.0.9"},
	} {
		addrs, err := resolve(ctx, root, &fw.Plan{DNS: tt.dns}, nil, tt.host)
		if d := cmp.Diff(tt.want, addrs, cmpopts.EquateComparable(netip.Addr{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.host, d)
		}
		if (err != nil) != (tt.says != "") || err != nil && (!strings.Contains(err.Error(), tt.says) || pace(err) != session.Normally) {
			t.Errorf("%s: error %v", tt.host, err)
		}
	}
}

func TestReachableFirst(t *testing.T) {
	got := reachableFirst(addrList("192.0.2.1", "fd07::1", "192.0.2.2", "fd07::2"), netip.Addr.Is6)
	if d := cmp.Diff(addrList("fd07::1", "fd07::2", "192.0.2.1", "192.0.2.2"), got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
