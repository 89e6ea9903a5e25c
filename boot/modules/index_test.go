package modules

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	l, _ := testLoader(t, "", nil)
	for _, test := range []struct {
		name string
		want []string
	}{
		{"virtio-net", []string{"virtio_net"}},
		{"virtio:d00000001v00001AF4", []string{"virtio_net"}},
		{"virtio:d00000002v00001AF4", nil},
		{"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", []string{"virtio_pci"}},
		{"pci:v000015B3d00001003sv1sd1bc1sc1i1", []string{"mlx4_core"}},
		{"net-pf-16-proto-8", []string{"scsi_transport_iscsi"}},
		{"crypto-crc32c", []string{"crc32c_generic", "crc32c_intel"}},
		{"", nil},
	} {
		var got []string
		for _, m := range l.index.find(test.name) {
			got = append(got, m.name)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// Whatever the files hold, a load order ends with each module once.
func FuzzIndex(f *testing.F) {
	f.Add(dep, aliases, soft, builtin, modinfo, "iscsi_tcp")
	f.Add("a.ko: b.ko\nb.ko: a.ko\n", "alias * a\nalias [ b\n", "softdep a pre: * post: b", "", "", "x")
	f.Fuzz(func(t *testing.T, dep, alias, soft, builtin, modinfo, name string) {
		ix := newIndex()
		ix.parseDep(dep, "/lib/modules/6.1")
		ix.parseSoftdep(soft)
		ix.parseAlias(alias)
		ix.parseBuiltin(builtin)
		ix.parseBuiltinModinfo(modinfo)
		for _, m := range ix.find(name) {
			order := ix.loadOrder(m)
			seen := map[*module]bool{}
			for _, m := range order {
				if m == nil || seen[m] {
					t.Fatalf("load order %v", order)
				}
				seen[m] = true
			}
			if !seen[m] {
				t.Fatalf("%s is not in its own load order", m.name)
			}
		}
	})
}
