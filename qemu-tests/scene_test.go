package qemutests

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/initramfs"
)

const (
	targetName    = "iqn.2025-01.test.rootlun:target"
	initiatorName = "iqn.2025-01.test.rootlun:initiator"
	// limit bounds one machine from power-on to its end; an emulated one is slow
	// on a busy host.
	limit = 4 * time.Minute
)

// product is what every test boots.
type product struct {
	*Lab
	image string
	init  string // the program in it
}

// loadProduct prepares the lab and builds the product's image, once.
var loadProduct func() (product, error)

func TestMain(m *testing.M) {
	FarMain()
	dir, err := os.MkdirTemp("", "rootlun-image-")
	if err != nil {
		log.Fatal(err)
	}
	loadProduct = sync.OnceValues(func() (product, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		lab, err := NewLab(ctx)
		if err != nil {
			return product{}, err
		}
		image, err := lab.MakeImage(ctx, dir)
		return product{lab, image, filepath.Join(dir, "rootlun")}, err
	})
	loadPackages = sync.OnceValues(func() (string, error) {
		p, err := loadProduct()
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		packages := filepath.Join(dir, "packages")
		return packages, run(ctx, filepath.Join(p.Repo, "scripts", "packages"), packages, "amd64/deb")
	})
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// scene is the folder, the targets and the machines of one test.
type scene struct {
	product
	t   *testing.T
	ctx context.Context
	dir string
}

// newScene is for a test that `make test` runs; see newSystem.
func newScene(t *testing.T) *scene {
	t.Helper()
	if os.Getenv("ROOTLUN_SYSTEMS") != "" {
		t.Skip("make test runs it, without ROOTLUN_SYSTEMS")
	}
	return makeScene(t, limit)
}

// makeScene makes the scene of a test that may take that long.
func makeScene(t *testing.T, limit time.Duration) *scene {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		t.Skip("boots a machine")
	}
	p, err := loadProduct()
	if errors.Is(err, ErrTools) && os.Getenv("ROOTLUN_REQUIRE_TOOLS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "rootlun-"+strings.ReplaceAll(t.Name(), "/", "-")+"-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(func() {
		cancel()
		if !t.Failed() {
			_ = os.RemoveAll(dir)
			return
		}
		t.Logf("console log: %s", filepath.Join(dir, "console.log"))
		t.Logf("repeat with: go test ./qemu-tests -count=1 -run '^%s$'", strings.ReplaceAll(t.Name(), "/", "$/^"))
	})
	return &scene{product: p, t: t, ctx: ctx, dir: dir}
}

// extend gives the test that long from now on, in place of limit.
func (s *scene) extend(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	s.t.Cleanup(cancel)
	s.ctx = ctx
}

// root makes the root file system; its name is that of the test. It has these
// files, too.
func (s *scene) root(files ...initramfs.File) string {
	s.t.Helper()
	image, err := s.MakeRoot(s.ctx, s.dir, s.t.Name(), files...)
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

// target is what most tests' target serves: the root as LUN 1.
func (s *scene) target(files ...initramfs.File) Target {
	return Target{Name: targetName, Image: s.root(files...), LUN: 1}
}

// tgt serves a target from the host and returns its port.
func (s *scene) tgt(target Target) uint16 { return s.tgts(target) }

// tgts is tgt for some targets behind one portal.
func (s *scene) tgts(targets ...Target) uint16 { return uint16(s.startTGT(targets...).Port) }

// startTGT is tgts, and returns the target.
func (s *scene) startTGT(targets ...Target) *TGT {
	s.t.Helper()
	tgt, err := StartTGT(s.ctx, s.dir, targets...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(tgt.Close)
	return tgt
}

// lio serves a target from a machine of its own and returns its port on the
// host's loopback.
func (s *scene) lio(target Target) uint16 { return s.lios(target) }

// lios is lio for some targets behind one portal.
func (s *scene) lios(targets ...Target) uint16 {
	s.t.Helper()
	dir := filepath.Join(s.dir, "lio")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	lio, err := s.StartLIO(s.ctx, dir, targets...)
	if err != nil {
		s.t.Fatalf("%v; its console log: %s", err, filepath.Join(dir, "console.log"))
	}
	s.t.Cleanup(lio.Machine.Kill)
	return uint16(lio.Port)
}

// netroot is dracut's parameter for a target on the host; credentials, if any,
// end in "@".
func netroot(credentials string, port uint16, target Target) string {
	return fmt.Sprintf("netroot=iscsi:%s%s::%d:%d:%s", credentials, HostAddress, port, target.LUN, target.Name)
}

// acpi writes a table for Machine.ACPI.
func (s *scene) acpi(table ibft.Table) string {
	s.t.Helper()
	file, err := WriteTable(s.dir, table)
	if err != nil {
		s.t.Fatal(err)
	}
	return file
}

// machine returns a machine that boots the product's image by the lab's kernel.
func (s *scene) machine(parameters ...string) Machine {
	return Machine{
		Dir: s.dir, Kernel: s.Kernel, Initrd: s.image,
		Cmdline: append([]string{"rd.emergency=poweroff"}, parameters...),
	}
}

// ipxe returns a machine whose iPXE runs the commands, which leave an iBFT in low
// memory, and boots the product's image from the network.
func (s *scene) ipxe(commands []string, parameters ...string) Machine {
	s.t.Helper()
	net, err := s.MakeIPXE(s.dir, s.image, commands, append([]string{"rd.iscsi.firmware", "rd.emergency=poweroff"}, parameters...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return Machine{Dir: s.dir, Net: net}
}

// ipxeDHCP is ipxe where iPXE asks DHCP and hooks one target.
func (s *scene) ipxeDHCP(port uint16, target Target) Machine {
	s.t.Helper()
	return s.ipxe(append([]string{"dhcp"}, IPXEHook(initiatorName, port, target)...))
}

// run runs a machine to its own end and returns what its console showed.
func (s *scene) run(m Machine) (*Running, string) {
	s.t.Helper()
	r, err := s.Start(s.ctx, m)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		s.t.Fatalf("%v; the last lines of its console:\n%s", err, tail(r.Console.String(), 30))
	}
	return r, r.Console.String()
}

// boot runs a machine that is to reach its root, and returns the root's report.
func (s *scene) boot(m Machine) (Report, string) {
	s.t.Helper()
	r, console := s.run(m)
	report, err := r.Report()
	if err != nil {
		s.t.Fatalf("%v; the last lines of the console:\n%s", err, tail(console, 30))
	}
	return report, console
}

// fail runs a machine that is not to reach its root, and returns its console.
func (s *scene) fail(m Machine) string {
	s.t.Helper()
	r, console := s.run(m)
	if report, err := r.Report(); err == nil {
		s.t.Fatalf("the root's init ran, from %q", report.Text("/etc/root-name"))
	}
	return console
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
