package fw

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestRecorded reads real firmware's tables (see package ibft's TestRecorded)
// by their bytes and as the kernel shows them: the plan is the same.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sysfs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no trees below testdata: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sysfs")
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("..", "ibft", "testdata", name+".ibft"))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tree := listed(string(text), ibftDir+"/")
			want, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: raw}}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Read(Sources{FS: tree})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Targets) == 0 || got.Targets[0].From != "iBFT (sysfs)" {
				t.Fatalf("the targets are %+v", got.Targets)
			}
			from := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.Last().String(), "From") }, cmp.Ignore())
			if diff := cmp.Diff(want, got, options(), from); diff != "" {
				t.Errorf("(-bytes +sysfs):\n%s", diff)
			}
		})
	}
}

// listed makes a tree of lines, NAME TEXT each; the text of a link is where it
// leads.
func listed(text, below string) fstest.MapFS {
	tree := fstest.MapFS{}
	for line := range strings.Lines(text) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		entry := &fstest.MapFile{Data: []byte(text + "\n")}
		if strings.HasSuffix(name, "/device") {
			entry = &fstest.MapFile{Data: []byte(text), Mode: fs.ModeSymlink}
		}
		tree[below+name] = entry
	}
	return tree
}
