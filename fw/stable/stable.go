// Package stable sorts short lists. What package slices has for it weighs 7 KB
// in the boot binary for each type of element; this weighs 0.4 KB.
package stable

// Sort sorts list by compare, which returns a number below, at or above 0 as
// cmp.Compare does, and keeps the order of equal elements. Its time grows with
// the square of the length, unless the list is nearly in order: it is meant for
// tens of elements.
func Sort[T any](list []T, compare func(a, b T) int) {
	for end := 1; end < len(list); end++ {
		for i := end; i > 0 && compare(list[i], list[i-1]) < 0; i-- {
			list[i], list[i-1] = list[i-1], list[i]
		}
	}
}
