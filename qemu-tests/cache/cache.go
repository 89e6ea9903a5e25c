// Package cache is the folder in which scripts/setup keeps what it downloads:
// kernels, and packages that are unpacked there.
package cache

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder: $ROOTLUN_CACHE, else rootlun in the user's own.
func Dir() (string, error) {
	if dir := os.Getenv("ROOTLUN_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "rootlun"), err
}

// Path returns the name of a file or folder in it. When it is not there the test
// is skipped, or fails where all tools are required.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	dir, err := Dir()
	name := filepath.Join(append([]string{dir}, elem...)...)
	if err == nil {
		_, err = os.Stat(name)
	}
	switch {
	case err == nil:
	case os.Getenv("ROOTLUN_REQUIRE_TOOLS") != "":
		t.Fatalf("%v; `scripts/setup test` puts it there", err)
	default:
		t.Skipf("run `scripts/setup test` first: %v", err)
	}
	return name
}
