package stable

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// Every list of up to six bytes of four values, sorted by their upper bit, comes
// out as package slices sorts it.
func TestSort(t *testing.T) {
	byHighBit := func(a, b byte) int { return cmp.Compare(a>>1, b>>1) }
	for length := range 7 {
		for n := range 1 << (2 * length) {
			list := make([]byte, length)
			for i := range list {
				list[i] = byte(n>>(2*i)) & 3
			}
			want := slices.Clone(list)
			slices.SortStableFunc(want, byHighBit)
			got := slices.Clone(list)
			Sort(got, byHighBit)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("%v (-want +got):\n%s", list, diff)
			}
		}
	}
}
