package qemutests

import (
	"bytes"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/rootlun/rootlun/qemu-tests/cache"
)

//go:embed in-builder
var inBuilder string

// builder is a Debian tree of scripts/systems in which a test installs packages
// and makes images, as an administrator does. What the test changes lies in a
// folder of its own over the tree, which is everybody's.
type builder struct {
	s   *scene
	dir string // has lower (a link to the tree), upper and work, and merged to mount on
}

// builder returns a tree as scripts/systems made it: "debian12-builder".
func (s *scene) builder(name string) *builder {
	s.t.Helper()
	cached, err := cache.Dir()
	if err != nil {
		s.t.Fatal(err)
	}
	tree := filepath.Join(cached, "systems", name)
	if _, err := os.Stat(tree); err != nil {
		s.t.Fatalf("%v; run scripts/systems first", err)
	}
	b := &builder{s, filepath.Join(s.dir, name)}
	for _, dir := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(b.dir, dir), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Symlink(tree, filepath.Join(b.dir, "lower")); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { // overlayfs's own files are root's alone
		if !s.t.Failed() {
			_ = asRoot("rm", "-rf", b.dir).Run()
		}
	})
	return b
}

// try runs a command line of sh in the tree, by root, without a network, and
// returns what it printed.
func (b *builder) try(command string) (out []byte, err error) {
	cmd := asRoot("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", inBuilder, "sh", b.dir, command)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	if testing.Verbose() || err != nil {
		text := string(out)
		if !utf8.Valid(out) {
			text = "(a file)\n"
		}
		b.s.t.Logf("%s\n%s%s", command, tail(text, 30), tail(stderr.String(), 30))
	}
	return out, err
}

// run is try, of what must not fail.
func (b *builder) run(command string) []byte {
	b.s.t.Helper()
	out, err := b.try(command)
	if err != nil {
		b.s.t.Fatalf("%s: %v", command, err)
	}
	return out
}

// put copies a file of the host into the tree, with its mode.
func (b *builder) put(source, destination string) {
	b.s.t.Helper()
	to := filepath.Join(b.dir, "upper", destination)
	if err := run(b.s.ctx, "env", append(root(), "install", "-D", "-m", "755", source, to)...); err != nil {
		b.s.t.Fatal(err)
	}
}

// get copies a file of the tree into the test's folder, as name.
func (b *builder) get(source, name string) (file string) {
	b.s.t.Helper()
	file = filepath.Join(b.s.dir, name)
	if err := os.WriteFile(file, b.run("cat "+source), 0o600); err != nil {
		b.s.t.Fatal(err)
	}
	return file
}

// root is what stands before a command that needs root.
func root() []string {
	if os.Getuid() == 0 {
		return nil
	}
	return []string{"sudo"}
}

func asRoot(args ...string) *exec.Cmd {
	args = append(root(), args...)
	return exec.Command(args[0], args[1:]...)
}
