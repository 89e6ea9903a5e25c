package initramfs

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		writeFile(t, filepath.Join(dir, name), []byte(text))
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "password", 0o600)
	write("tree/tool", "code", 0o755|os.ModeSetuid)
	write("tree/empty", "", 0o644)
	if err := os.Symlink("tool", filepath.Join(dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tree/private"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, records, contents := build(t, Config{Init: fakeInit(t), Files: []File{
		{filepath.Join(dir, "secret"), ""},
		{filepath.Join(dir, "secret"), "/etc/rootlun//credentials"},
		{filepath.Join(dir, "tree"), "/opt/tree"},
		{filepath.Join(dir, "tree/link"), "/bin/link"},
		{filepath.Join(dir, "tree/private"), "/opt/tree/private"}, // a folder may come twice
	}})
	type entry struct {
		Mode    uint64
		Content string
	}
	want := map[string]entry{
		strings.TrimPrefix(filepath.Join(dir, "secret"), "/"): {cpio.S_IFREG | 0o600, "password"},
		"etc/rootlun":             {cpio.S_IFDIR | 0o755, ""},
		"etc/rootlun/credentials": {cpio.S_IFREG | 0o600, "password"},
		"opt":                     {cpio.S_IFDIR | 0o755, ""},
		"opt/tree":                {cpio.S_IFDIR | 0o755, ""},
		"opt/tree/tool":           {cpio.S_IFREG | 0o4755, "code"},
		"opt/tree/empty":          {cpio.S_IFREG | 0o644, ""},
		"opt/tree/link":           {cpio.S_IFLNK | 0o777, "tool"},
		"opt/tree/private":        {cpio.S_IFDIR | 0o700, ""},
		"bin/link":                {cpio.S_IFLNK | 0o777, "tool"},
	}
	got := map[string]entry{}
	for name := range want {
		got[name] = entry{records[name].Mode, contents[name]}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	writeFile(t, file, []byte("text"))
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		files []File
		want  string
	}{
		{[]File{{file, "/init"}}, "/init is rootlun's place"},
		{[]File{{file, "//./init"}}, "/init is rootlun's place"},
		{[]File{{file, "/init/x"}}, "/init is rootlun's place"},
		{[]File{{file, "etc/x"}}, "does not begin with a slash"},
		{[]File{{file, "/etc"}}, "/etc would be in the image twice"},
		{[]File{{file, "/x"}, {file, "/x"}}, "/x would be in the image twice"},
		{[]File{{file, "/x"}, {file, "/x/y"}}, "/x, which is not a folder"},
		{[]File{{file, "/x/y"}, {file, "/x"}}, "/x would be in the image twice"},
		{[]File{{fifo, ""}}, "neither a file, a folder nor a symlink"},
		{[]File{{filepath.Join(dir, "absent"), ""}}, "absent"},
	} {
		err := Build(io.Discard, Config{Init: fakeInit(t), Files: test.files, Compress: "none"})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v, want one with %q", test.files, err, test.want)
		}
	}
}

// A file that has changed its size since it was found must not spoil the rest.
func TestFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, []byte("text"))
	tr, err := collect(Config{Init: fakeInit(t), Files: []File{{file, "/file"}}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, []byte("longer text"))
	if err := tr.write(io.Discard, time.Time{}); err == nil || !strings.Contains(err.Error(), "/file") {
		t.Errorf("error %v, want one that names /file", err)
	}
}
