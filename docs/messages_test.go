package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestMessages: each message in a table of trouble-shooting.md is one that the
// program has; and each message that says what to check, or warns, or is a problem
// of rootlun status, is in a table.
func TestMessages(t *testing.T) {
	page, err := os.ReadFile("trouble-shooting.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1])
	}
	var all, must []string
	for _, folder := range []string{"boot", "session", "fw", "ibft", "initramfs", "cmd"} {
		err := filepath.WalkDir("../"+folder, func(file string, d fs.DirEntry, err error) error {
			switch ext := filepath.Ext(file); {
			case err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go"):
			case ext == ".go":
				texts, important := messages(t, file)
				all, must = append(all, texts...), append(must, important...)
			case folder == "initramfs" && ext != ".md": // a script
				var text []byte
				text, err = os.ReadFile(file)
				all = append(all, string(text))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 133 { // what the kernel's errors say
		all = append(all, syscall.Errno(n).Error())
	}
	if len(told) < 100 || len(must) < 50 {
		t.Fatalf("%d messages in the page, %d that have to be there: does this test still read them?", len(told), len(must))
	}
	for _, phrase := range told {
		if !slices.ContainsFunc(all, func(text string) bool { return says(text, phrase) }) {
			t.Errorf("the program does not say %q", phrase)
		}
	}
	for _, text := range must {
		if !slices.ContainsFunc(told, func(phrase string) bool { return says(text, phrase) }) {
			t.Errorf("trouble-shooting.md does not have %q", text)
		}
	}
}

// says tells whether a text has the parts of a phrase, in their order; between
// them, where the phrase has …, may be anything.
func says(text, phrase string) bool {
	for part := range strings.SplitSeq(phrase, "…") {
		_, rest, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

var format = regexp.MustCompile(`%[-+# 0]*[0-9.]*[a-z]`)

// messages returns the texts in a source file, and those that a user has to find
// explained. What is not known before it runs is … in them.
func messages(t *testing.T, file string) (texts, important []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var text func(ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
				return format.ReplaceAllString(s, "…")
			}
		case *ast.BinaryExpr:
			if e.Op == token.ADD {
				return text(e.X) + text(e.Y)
			}
		}
		return "…"
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch e := n.(type) {
		case *ast.CallExpr:
			joined := "" // warn puts its arguments together
			for _, arg := range e.Args {
				joined += text(arg)
			}
			texts = append(texts, joined)
			if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "check" && len(e.Args) == 3 { // SessionStatus's
				important = append(important, text(e.Args[1]))
			}
		case *ast.BasicLit, *ast.BinaryExpr:
			s := text(n.(ast.Expr))
			texts = append(texts, s)
			if len(s) > len("warning: …") && (strings.Contains(s, "; check ") || strings.HasPrefix(s, "warning: ")) {
				important = append(important, s)
			}
			sum, ok := n.(*ast.BinaryExpr)
			return !ok || sum.Op != token.ADD // the whole is what is said
		}
		return true
	})
	return texts, important
}
