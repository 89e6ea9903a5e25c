// Package docs holds the documentation to the program: each message of
// trouble-shooting.md is one that the sources have, each command has been run, and
// each link leads somewhere.
package docs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/qemu-tests/cache"
)

// pages are the repository's texts in Markdown, by their names from this folder.
func pages(t *testing.T) map[string]string {
	texts := map[string]string{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".md" {
			return err
		}
		text, err := os.ReadFile(name)
		texts[strings.TrimPrefix(filepath.Clean(name), "../docs/")] = string(text)
		return err
	})
	if err != nil || texts["../README.md"] == "" {
		t.Fatalf("%d pages, error %v", len(texts), err)
	}
	return texts
}

// block is one between ```sh, or ```bash, and ```: what stands behind that, and its
// lines.
type block struct {
	page string
	line int
	info string
	text string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d: ```sh %s", b.page, b.line, b.info) }

// shellBlocks returns the blocks of commands, in a stable order.
func shellBlocks(t *testing.T) (blocks []*block) {
	for page, text := range pages(t) {
		var b *block
		inside := false
		for i, line := range strings.Split(text, "\n") {
			fence := strings.HasPrefix(strings.TrimSpace(line), "```")
			switch {
			case fence && !inside:
				language, info, _ := strings.Cut(strings.TrimSpace(line), " ")
				if language == "```sh" || language == "```bash" {
					b = &block{page: page, line: i + 1, info: info}
					blocks = append(blocks, b)
				}
			case fence:
				b = nil
			case b != nil:
				b.text += line + "\n"
			}
			inside = inside != fence
		}
	}
	slices.SortFunc(blocks, func(a, b *block) int { return strings.Compare(a.String(), b.String()) })
	return blocks
}

// TestCommands: each block of commands says behind ```sh or ```bash who runs it:
//
//	run          this test, in a folder that has table.bin, secrets and the programs
//	TestName     that test does (several are parted by blanks)
//	by hand      a person has, as its commands need a machine, or change it
//	untested     nobody has, and the page says so
//
// A target of make that is named there is in the Makefile.
func TestCommands(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	tests, texts := testNames(t), pages(t)
	var run []*block
	for _, b := range shellBlocks(t) {
		switch words := strings.Fields(b.info); {
		case b.info == "run":
			run = append(run, b)
		case b.info == "by hand":
		case b.info == "untested":
			if !strings.Contains(texts[b.page], "(untested)") {
				t.Errorf("%v: the page does not say that it is untested", b)
			}
		case len(words) == 0:
			t.Errorf("%v: who runs this? See TestCommands", b)
		default:
			for _, name := range words {
				if !tests[name] {
					t.Errorf("%v: there is no test %s", b, name)
				}
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^make (?:\w+=\S+ )*([a-z-]+)`).FindAllStringSubmatch(b.text, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%v: the Makefile has no %s", b, m[1])
			}
		}
	}
	if len(run) < 3 {
		t.Errorf("only %v are run", run)
	}
	dir := sandbox(t)
	for _, b := range run {
		cmd := exec.Command("sh", "-euc", b.text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s\n%s", b, err, b.text, out)
		}
	}
}

// testNames are the tests of the repository.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	name := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		for _, m := range name.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// sandbox is a folder with the programs in bin, and the files that the texts speak
// of. The kernel that seems to run there is the one of which setup has the modules.
func sandbox(t *testing.T) string {
	modules, err := filepath.Glob(cache.Path(t, "linux-image-cloud-amd64", "lib", "modules") + "/*")
	if err != nil || len(modules) == 0 {
		t.Fatalf("no modules, error %v", err)
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	table, err := os.ReadFile("../ibft/testdata/ipxe-chap.ibft")
	uname := "#!/bin/sh\necho ../.." + modules[0] + "\n" // of /lib/modules/$(uname -r)
	for name, text := range map[string]string{
		"table.bin":   string(table),
		"credentials": "node.session.auth.username = host\nnode.session.auth.password = SECRET-of-host\n",
		"bin/uname":   uname,
	} {
		mode := fs.FileMode(0o600)
		if strings.HasPrefix(name, "bin/") {
			mode = 0o700
		}
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLinks: each link of a page to another file, and to a heading, leads there.
func TestLinks(t *testing.T) {
	texts := pages(t)
	for page, text := range texts {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			to := page
			if file != "" {
				to = filepath.Join(filepath.Dir(page), file)
				if _, err := os.Stat(to); err != nil {
					t.Errorf("%s: %s: %v", page, m[1], err)
				}
			}
			if anchor != "" && !slices.Contains(anchors(texts[to]), anchor) {
				t.Errorf("%s: %s: there is no such heading", page, m[1])
			}
		}
	}
}

// anchors are the headings of a page, as the forges name them in links.
func anchors(text string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
