package modules

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// writeTree writes files by path below a new folder.
func writeTree(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	dep = `kernel/iscsi_tcp.ko: kernel/libiscsi_tcp.ko.xz kernel/libiscsi.ko kernel/scsi_transport_iscsi.ko
kernel/libiscsi_tcp.ko.xz: kernel/libiscsi.ko kernel/scsi_transport_iscsi.ko
kernel/libiscsi.ko: kernel/scsi_transport_iscsi.ko
kernel/scsi_transport_iscsi.ko:
kernel/crc32c-intel.ko:
kernel/crc32c_generic.ko:
kernel/virtio_net.ko: kernel/failover.ko kernel/virtio.ko
kernel/failover.ko:
kernel/virtio.ko:
kernel/virtio_pci.ko: kernel/virtio.ko
kernel/mlx4_core.ko:
kernel/mlx4_en.ko: kernel/mlx4_core.ko
kernel/circle_a.ko:
kernel/circle_b.ko:
/extra/abs.ko:
`
	aliases = `# Aliases extracted from modules themselves.
alias crypto-crc32c crc32c_intel
alias crypto-crc32c crc32c_generic
alias virtio:d00000001v* virtio_net
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias pci:v000015B3d00001003sv*sd*bc*sc*i* mlx4_core
alias net-pf-16-proto-8 scsi_transport_iscsi
`
	soft = `softdep iscsi_tcp pre: crypto-crc32c
softdep mlx4_core post: mlx4_en
softdep circle_a pre: circle_b
softdep circle_b pre: circle_a
`
	builtin = "kernel/fs/ext4/ext4.ko\nkernel/net/af-packet.ko\n"
	modinfo = "ext4.license=GPL\x00ext4.alias=fs-ext4\x00crc.alias=crypto-sum\x00"
)

// recorder stands for the kernel: it notes what it is given, and refuses some.
type recorder struct {
	dir    string
	refuse map[string]error // by path below dir

	mu    sync.Mutex
	calls []string
}

func (r *recorder) insert(path, options string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	path = strings.TrimPrefix(path, r.dir+"/kernel/")
	r.calls = append(r.calls, strings.TrimSpace(path+" "+options))
	return r.refuse[path]
}

func testLoader(t *testing.T, cmdline string, refuse map[string]error) (*Loader, *recorder) {
	t.Helper()
	dir := writeTree(t, map[string]string{
		"modules.dep": dep, "modules.alias": aliases, "modules.softdep": soft,
		"modules.builtin": builtin, "modules.builtin.modinfo": modinfo,
	})
	l, err := newLoader(dir, writeTree(t, map[string]string{"cmdline": cmdline}), "/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{dir: dir, refuse: refuse}
	l.insert = r.insert
	l.sys = writeTree(t, map[string]string{"module/running/initstate": "live\n"})
	return l, r
}

func TestLoad(t *testing.T) {
	for _, test := range []struct {
		name    string
		load    []string
		cmdline string
		refuse  map[string]error
		calls   []string
		want    string // part of the last error; empty: success
	}{
		{name: "dependencies first, soft ones before",
			load: []string{"iscsi_tcp"},
			calls: []string{"crc32c_generic.ko", "crc32c-intel.ko", "scsi_transport_iscsi.ko", "libiscsi.ko",
				"libiscsi_tcp.ko.xz", "iscsi_tcp.ko"}},
		{name: "each once, whatever its spelling",
			load:  []string{"crc32c-intel", "crc32c_intel", "crypto-crc32c", "crypto_crc32c"},
			calls: []string{"crc32c-intel.ko", "crc32c_generic.ko"}},
		{name: "soft dependency after",
			load:  []string{"mlx4_core"},
			calls: []string{"mlx4_core.ko", "mlx4_en.ko"}},
		{name: "circle",
			load:  []string{"circle_a", "circle_b"},
			calls: []string{"circle_b.ko", "circle_a.ko"}},
		{name: "options",
			cmdline: `ro virtio_net.napi_tx=1 virtio-net.dyndbg="file a.c +p" failover.x virtio.y=2` + "\n",
			load:    []string{"virtio_net"},
			calls:   []string{"virtio.ko y=2", "failover.ko x", `virtio_net.ko napi_tx=1 dyndbg="file a.c +p"`}},
		{name: "loaded before",
			load:   []string{"virtio_net"},
			refuse: map[string]error{"failover.ko": unix.EEXIST, "virtio_net.ko": unix.EEXIST},
			calls:  []string{"virtio.ko", "failover.ko", "virtio_net.ko"}},
		{name: "built in", load: []string{"ext4", "af_packet", "fs-ext4", "crypto_sum"}},
		{name: "known to the kernel", load: []string{"running"}},
		{name: "nowhere", load: []string{"nosuch"}, want: "module nosuch: neither among the modules nor built in"},
		{name: "one of an alias is enough",
			load:   []string{"crypto-crc32c"},
			refuse: map[string]error{"crc32c-intel.ko": unix.ENODEV},
			calls:  []string{"crc32c_generic.ko", "crc32c-intel.ko"}},
		{name: "none of an alias",
			load:   []string{"crypto-crc32c"},
			refuse: map[string]error{"crc32c-intel.ko": unix.ENODEV, "crc32c_generic.ko": unix.ENOEXEC},
			calls:  []string{"crc32c_generic.ko", "crc32c-intel.ko"},
			want:   "built for another kernel"},
		{name: "soft dependency fails",
			load:   []string{"mlx4_core"},
			refuse: map[string]error{"mlx4_en.ko": unix.ENOENT},
			calls:  []string{"mlx4_core.ko", "mlx4_en.ko"}},
		{name: "dependency fails",
			load:   []string{"virtio_net"},
			refuse: map[string]error{"failover.ko": unix.EKEYREJECTED},
			calls:  []string{"virtio.ko", "failover.ko"},
			want:   "module virtio_net needs another: load module"},
		{name: "the kernel cannot uncompress",
			load:   []string{"libiscsi_tcp"},
			refuse: map[string]error{"libiscsi_tcp.ko.xz": unix.EOPNOTSUPP},
			calls:  []string{"scsi_transport_iscsi.ko", "libiscsi.ko", "libiscsi_tcp.ko.xz"},
			want:   "cannot uncompress"},
		{name: "a failure stays one",
			load:   []string{"failover", "failover"},
			refuse: map[string]error{"failover.ko": unix.ENOENT},
			calls:  []string{"failover.ko"},
			want:   "see the kernel's log"},
		{name: "absolute path", load: []string{"abs"}, calls: []string{"/extra/abs.ko"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, r := testLoader(t, test.cmdline, test.refuse)
			var err error
			for _, name := range test.load {
				err = l.Load(name)
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if diff := cmp.Diff(test.calls, r.calls); diff != "" {
				t.Errorf("loaded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadNowhere(t *testing.T) {
	l, err := newLoader("/nonexistent", "/nonexistent", "/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Load("nosuch_module"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want %v", err, fs.ErrNotExist)
	}
}

// However many load what overlaps, each module is given to the kernel once and
// nobody returns before what it needs is there.
func TestLoadConcurrently(t *testing.T) {
	l, r := testLoader(t, "", nil)
	insert := l.insert
	var mu sync.Mutex
	inserted := map[string]bool{}
	l.insert = func(path, options string) error {
		err := insert(path, options)
		mu.Lock()
		inserted[moduleName(path)] = true
		mu.Unlock()
		return err
	}
	var loads sync.WaitGroup
	for range 20 {
		for name := range l.index.modules {
			loads.Go(func() {
				if err := l.Load(name); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, need := range append(l.index.modules[name].depends, name) {
					if !inserted[need] {
						t.Errorf("%s returned before %s was there", name, need)
					}
				}
			})
		}
	}
	loads.Wait()
	calls := slices.Sorted(slices.Values(r.calls))
	if once := slices.Compact(slices.Clone(calls)); len(once) != len(calls) || len(once) != len(l.index.modules) {
		t.Errorf("loaded %q, want each of %d modules once", calls, len(l.index.modules))
	}
}

// The kernel gets a file and a flag; without rights it refuses both kinds.
func TestFinitModule(t *testing.T) {
	if err := finitModule("/nonexistent/x.ko", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want %v", err, fs.ErrNotExist)
	}
	file := filepath.Join(writeTree(t, map[string]string{"x.ko": "no module"}), "x.ko")
	if err := finitModule(file, ""); err == nil {
		t.Error("a text was accepted as a module")
	}
}

func TestParseCmdline(t *testing.T) {
	got := parseCmdline(`quiet root=LABEL=a.b m.a=1 M-x.b="two words" m.c modprobe.blacklist=e1000,r-8169 ` +
		`module_blacklist=x rd.driver.blacklist="y,z" modprobe.blacklist=w -- m.d=4`)
	want := cmdline{
		options:   map[string]string{"m": "a=1 c", "M_x": `b="two words"`},
		blacklist: map[string]bool{"e1000": true, "r_8169": true, "x": true, "y": true, "z": true, "w": true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(cmdline{})); diff != "" {
		t.Errorf("command line (-want +got):\n%s", diff)
	}
}

func FuzzParseCmdline(f *testing.F) {
	f.Add(`quiet m.a=1 x-y.b="two words" modprobe.blacklist=a,b "q.r=s t" -- m.d=4`)
	f.Fuzz(func(t *testing.T, line string) {
		for module := range parseCmdline(line).options {
			if strings.Contains(module, "-") {
				t.Errorf("module %q", module)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	root := writeTree(t, map[string]string{
		"etc/modprobe.d/nic.conf": "# of the administrator\noptions ixgbe allow_unsupported_sfp=1 \\\n  max_vfs=4\noptions ixgbe debug=1\n" +
			"options e1000e IntMode=1\nblacklist snd-hda\ninstall usb-storage /bin/false\ninstall bonding /sbin/modprobe --ignore-install bonding\noptions\ninstall x\n",
		"usr/lib/modprobe.d/nic.conf":   "blacklist hidden\n",
		"usr/lib/modprobe.d/other.conf": "blacklist other\r\n",
		"lib/modprobe.d/README":         "blacklist readme\n",
	})
	got := parseCmdline("e1000e.IntMode=2")
	got.addConfig(root)
	want := cmdline{
		options:   map[string]string{"ixgbe": "allow_unsupported_sfp=1 max_vfs=4 debug=1", "e1000e": "IntMode=1 IntMode=2"},
		blacklist: map[string]bool{"snd_hda": true, "usb_storage": true, "other": true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(cmdline{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
