package ibft

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzParse reads anything: nothing panics, and a table that was read is the
// same after it was written and read once more.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	for _, t := range []*Table{sample(), plain(), {}, {Signature: "BIFT", NICs: sample().NICs}, {Targets: sample().Targets}} {
		f.Add(marshal(f, t))
	}
	for _, q := range quirks {
		f.Add(fix(q.mutate(marshal(f, plain()))))
	}
	for _, bad := range formatErrors {
		f.Add(bad.mutate(marshal(f, plain())))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		Find(b)
		strict, strictErr := Parse(b)
		got, err := ParseLenient(b)
		var fe *FormatError
		if strictErr == nil && (err != nil || !cmp.Equal(strict, got, cmpopts.EquateComparable(netip.Addr{}))) {
			t.Fatalf("Parse reads what ParseLenient does not: %v", err)
		}
		if strictErr != nil && (!errors.As(strictErr, &fe) || err == nil && !fe.Tolerable) {
			t.Fatalf("Parse: %v; ParseLenient: %v", strictErr, err)
		}
		if err != nil {
			return
		}
		for _, p := range got.Problems {
			if p.Offset < 0 || p.Offset >= len(b) || p.Reason == "" {
				t.Fatalf("problem %+v in %d bytes", p, len(b))
			}
		}
		for i := range got.NICs {
			n := &got.NICs[i]
			_, _, _ = n.VLANID(), n.PCIAddress(), n.UseDHCP()
		}
		for i := range got.Targets {
			g := &got.Targets[i]
			if typ, err := g.Auth(); err == nil && typ != g.CHAPType {
				t.Fatalf("CHAP type %d became %d", g.CHAPType, typ)
			}
			if k := got.NICOf(g); k >= len(got.NICs) || len(got.NICs) == 1 && k != 0 {
				t.Fatalf("NIC %d of %d", k, len(got.NICs))
			}
			_ = g.Portal()
		}
		out, err := got.Marshal()
		if errors.Is(err, errTooLong) { // strings and structures may share bytes
			return
		}
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		got.Problems = nil
		equal(t, again, got)
	})
}
