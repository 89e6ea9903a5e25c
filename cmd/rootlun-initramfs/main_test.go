package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/initramfs"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "rootlun")
	if err := os.WriteFile(program, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out", "image")
	if err := os.Mkdir(filepath.Dir(out), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args           string
		code           int
		stdout, stderr string // parts
	}{
		{"--help", 0, "Example:", ""},
		{"-h", 0, "Example:", ""},
		{"--version", 0, "rootlun-initramfs ", ""},
		{"", 2, "", "--output is missing"},
		{"--nonsense", 2, "", "nonsense"},
		{"--output x y", 2, "", `unexpected argument "y"`},
		{"--output x --compress lzma", 2, "", "--compress lzma"},
		{"--output x --file :/y", 2, "", "want SRC or SRC:/DST"},
		{"--list --init " + program, 0, " /init\n", ""},
		{"--output x --no-init --init " + program, 2, "", "exclude each other"},
		{"--list --init /nonexistent/rootlun", 1, "", "/nonexistent/rootlun"},
		{"--output " + out + " --init " + program, 0, "", ""},
		{"--output " + out + " --init " + program + " --driver igb", 1, "", "igb"},
		{"--output " + dir + " --init " + program, 1, "", dir},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), strings.Fields(test.args), &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%q: code %d, want %d; stdout %q, want %q in it; stderr %q, want %q in it",
				test.args, code, test.code, stdout.String(), test.stdout, stderr.String(), test.stderr)
		}
		if code == 2 && !strings.Contains(stderr.String(), "Usage:") {
			t.Errorf("%q: no usage on stderr", test.args)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(out))
	if err != nil || len(entries) != 1 {
		t.Errorf("the output's folder holds %v (error %v), want the image alone", entries, err)
	}
}

func TestParse(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "42")
	got, err := parse(strings.Fields("--output o --modules m --driver a -driver=b " +
		"--file /x --file /y:z:/w --file rel:/d --compress gzip --init i"))
	if err != nil {
		t.Fatal(err)
	}
	want := options{output: "o", Config: initramfs.Config{
		Init: "i", Modules: "m", Drivers: []string{"a", "b"}, Compress: "gzip", ModTime: time.Unix(42, 0),
		Files: []initramfs.File{{Source: "/x"}, {Source: "/y:z", Destination: "/w"}, {Source: "rel", Destination: "/d"}},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := parse([]string{"--output", "o"}); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH=yesterday") {
		t.Errorf("error %v, want one that names SOURCE_DATE_EPOCH", err)
	}
}

// A failed or interrupted build leaves the old file and nothing else.
func TestReplace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	content := func(text string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}
	}
	check := func(want string) {
		t.Helper()
		entries, _ := os.ReadDir(filepath.Dir(name))
		if got, err := os.ReadFile(name); err != nil || string(got) != want || len(entries) != 1 {
			t.Errorf("content %q (error %v), files %v; want %q alone", got, err, entries, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := replace(ctx, name, content("old")); err != nil {
		t.Fatal(err)
	}
	check("old")
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (error %v), want 0600", info.Mode(), err)
	}
	failure := errors.New("disk on fire")
	err := replace(ctx, name, func(w io.Writer) error {
		if err := content("half")(w); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
	check("old")
	cancel()
	if err := replace(ctx, name, content("new")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	check("old")
	if err := replace(context.Background(), name, content("new")); err != nil {
		t.Fatal(err)
	}
	check("new")
}

// TestManual: the help and rootlun-initramfs(8) have the same options, and each is
// one that is read.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/rootlun-initramfs.8")
	if err != nil {
		t.Fatal(err)
	}
	list := func(text, pattern string) (options []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			options = append(options, strings.ReplaceAll(m[1], `\-`, "-"))
		}
		return options
	}
	options := list(usage, `(?m)^  --([\w-]+) `)
	told := append(slices.Clone(options), append(list(hostUsage, `(?m)^  --([\w-]+) `), "help")...)
	if diff := cmp.Diff(told, list(string(page), `(?m)^\.TP\n\.BI? \\-\\-([\w\\-]+)`)); diff != "" {
		t.Errorf("the page has other options than --help, or in another order (-want +got):\n%s", diff)
	}
	for _, o := range options {
		if _, err := parse([]string{"--" + o + "=x"}); err != nil && strings.Contains(err.Error(), "not defined") {
			t.Errorf("--%s is documented, and not read", o)
		}
	}
}
