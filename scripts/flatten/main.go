// Flatten writes each Go file of a program anew, with every function on the line
// on which it begins, and a file for go build -overlay that has these in place of
// the originals: flatten DIR PACKAGE...
//
// The tables that lead from an instruction to its line are a twentieth of a Go
// program, and nothing shrinks them but having fewer lines. What a panic prints
// names the function and the line where it begins; the rest is in the offset
// behind it, for addr2line and a program that was built without this.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("flatten: ")
	if len(os.Args) < 3 {
		log.Fatal("usage: flatten DIR PACKAGE...")
	}
	if err := overlay(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

// overlay writes dir/overlay.json and what it names.
func overlay(dir string, packages []string) error {
	list := exec.Command("go", append([]string{"list", "-deps", "-json=Dir,GoFiles,Module"}, packages...)...)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	replace := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir     string
			GoFiles []string
			Module  *struct{ Main bool }
		}
		if err := decoder.Decode(&pkg); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if pkg.Module != nil && !pkg.Module.Main { // go build refuses to replace those
			continue
		}
		for _, name := range pkg.GoFiles {
			original := filepath.Join(pkg.Dir, name)
			replace[original] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
			src, err := os.ReadFile(original)
			if err != nil {
				return err
			}
			if err := os.WriteFile(replace[original], flatten(src), 0o644); err != nil {
				return err
			}
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o644)
}

// flatten returns the tokens of a file, each declaration of its top level in one
// line, with the directives.
func flatten(src []byte) []byte {
	var (
		s    scanner.Scanner
		b    bytes.Buffer
		line = 1 // of the output
		deep int // in how many brackets
	)
	file := token.NewFileSet().AddFile("", -1, len(src))
	s.Init(file, src, nil, scanner.ScanComments)
	start := func(to int) { // a line of its own, the one that it was
		if to <= line && !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
			to = line + 1
		}
		b.WriteString(strings.Repeat("\n", max(0, to-line)))
		line = max(line, to)
	}
	for {
		pos, tok, text := s.Scan()
		at := file.Line(pos)
		switch tok {
		case token.EOF:
			b.WriteByte('\n')
			return b.Bytes()
		case token.COMMENT:
			if strings.HasPrefix(text, "//go:") {
				start(at)
				b.WriteString(text)
				start(at + 1)
			}
			continue
		case token.FUNC, token.TYPE, token.VAR, token.CONST, token.IMPORT, token.PACKAGE:
			if deep == 0 && at > line {
				start(at)
			}
		case token.LPAREN, token.LBRACE, token.LBRACK:
			deep++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			deep--
		}
		switch {
		case tok == token.SEMICOLON:
			text = ";"
		case text == "":
			text = tok.String()
		}
		b.WriteString(text)
		b.WriteByte(' ')
		line += strings.Count(text, "\n") // in a raw string
	}
}
