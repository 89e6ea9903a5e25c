package stable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// A folder is read as io/fs reads it.
func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a10", "a2", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	texts := func(list []fs.DirEntry, err error) (texts []string) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			texts = append(texts, fs.FormatDirEntry(e))
		}
		return texts
	}
	fsys := os.DirFS(dir)
	if diff := gocmp.Diff(texts(fs.ReadDir(fsys, ".")), texts(ReadDir(fsys, "."))); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
	if _, err := ReadDir(fsys, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a folder that is not there: %v", err)
	}
	if _, err := ReadDir(fsys, "b"); err == nil {
		t.Error("a file was read as a folder")
	}
}
