package network

import (
	"testing"
)

func TestSLAAC(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--enable-ra", "--dhcp-range=fd09::,ra-stateless,64", "--dhcp-option=option6:dns-server,[fd09::1]")
		res := w.mustUp(Config{Name: "near0", RA: true})
		t.Logf("%+v %+v", res, w.state())
		ping(t, "fd09::1")
	})
}
func TestManaged(t *testing.T) {
	inNamespace(t, func(t *testing.T, w *world) {
		w.dnsmasq("--enable-ra", "--dhcp-range=fd09::50,fd09::59,64", "--dhcp-option=option6:dns-server,[fd09::1]", "--dhcp-option=option6:59,iscsi:[fd09::1]::::iqn.x", "--dhcp-option=option6:domain-search,example.org")
		res := w.mustUp(Config{Name: "near0", RA: true})
		t.Logf("%+v %+v %+v", res, w.state(), res.Lease6)
		ping(t, "fd09::1")
	})
}
