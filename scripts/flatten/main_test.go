package main

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFlatten: the program stays the same, and each function begins where it
// did, in what this repository and Go's own runtime are made of.
func TestFlatten(t *testing.T) {
	files, err := filepath.Glob("../../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"runtime", "time", "os", "fmt"} {
		more, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", dir, "*.go"))
		if err != nil || more == nil {
			t.Fatal(dir, err)
		}
		files = append(files, more...)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		flat := flatten(src)
		text, lines := describe(t, src)
		flatText, flatLines := describe(t, flat)
		if text != flatText {
			t.Errorf("%s is another program", name)
		}
		for f, line := range lines {
			if flatLines[f] != line {
				t.Errorf("%s: %s begins on line %d, not %d", name, f, flatLines[f], line)
				break
			}
		}
		if n := strings.Count(string(src), "\n//go:"); n != strings.Count(string(flat), "\n//go:") {
			t.Errorf("%s: %d directives, and of them are left %d", name, n, strings.Count(string(flat), "\n//go:"))
		}
	}
}

// describe returns a file without its lines, and on which line each function
// begins.
func describe(t *testing.T, src []byte) (string, map[string]int) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for i, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			lines[fn.Name.Name+" "+string(rune('0'+i))] = set.Position(fn.Pos()).Line
		}
	}
	var b strings.Builder
	if err := (&printer.Config{Mode: printer.RawFormat}).Fprint(&b, token.NewFileSet(), f); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(b.String()), " "), lines
}
