package boot

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session/kernel"
)

// safeSystem is a system whose root is on sda2 of session 1, beside session 2;
// "->" is a link.
func safeSystem() map[string]string {
	files := map[string]string{
		"proc/self/mountinfo":                            "24 1 0:21 / /proc rw - proc proc rw\n25 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n",
		"proc/90/cmdline":                                "/sbin/iscsid\x00",
		"dev/sda2":                                       "",
		"sys/class/block/sda2":                           "-> ../../devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sda/sda2",
		"sys/class/net/eth0/ifindex":                     "2\n",
		"run/systemd/netif/links/2":                      "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/05-rootlun-eth0.network\n",
		"run/systemd/network/05-rootlun-eth0.network":    "[Network]\nKeepConfiguration=yes\n",
		"etc/iscsi/iscsid.conf":                          "node.startup = manual\n",
		"etc/iscsi/nodes/iqn.a/192.0.2.1,3260,1/default": "node.startup = onboot\nnode.conn[0].timeo.noop_out_interval = 0\n",
		"sys/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sda/sda2/partition": "2\n",
	}
	for _, sid := range []string{"1", "2"} {
		session, conn := "sys/class/iscsi_session/session"+sid+"/", "sys/class/iscsi_connection/connection"+sid+":0/"
		for name, text := range map[string]string{
			session + "targetname": "iqn.a", session + "tpgt": "1", session + "state": "LOGGED_IN", session + "recovery_tmo": "86400",
			conn + "persistent_address": "192.0.2." + sid, conn + "persistent_port": "3260", conn + "recv_tmo": "0", conn + "ping_tmo": "0",
		} {
			files[name] = text + "\n"
		}
	}
	return files
}

// TestStatus changes one thing of a system that is safe.
func TestStatus(t *testing.T) {
	const session1, record = "sys/class/iscsi_session/session1/", "etc/iscsi/nodes/iqn.a/192.0.2.1,3260,1/default"
	multipath := map[string]string{
		"proc/self/mountinfo": "25 1 254:0 / / rw - ext4 /dev/mapper/mpatha rw\n", "dev/mapper/mpatha": "-> ../dm-0", "dev/dm-0": "",
		"sys/class/block/dm-0": "-> ../../devices/virtual/block/dm-0", "sys/devices/virtual/block/dm-0/dm/uuid": "mpath-3600\n",
		"sys/devices/virtual/block/dm-0/slaves/sda2/partition": "2\n",
		session1 + "recovery_tmo":                              "5\n", "sys/class/iscsi_connection/connection1:0/recv_tmo": "5\n", record: "node.startup = onboot\n",
	}
	with := func(m map[string]string, name, text string) map[string]string {
		all := map[string]string{name: text}
		for k, v := range m {
			if k != name {
				all[k] = v
			}
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		change  map[string]string // "-": it is not there
		manager string
		want    []string // what is not safe, or begins so
	}{
		{"safe", nil, "iscsid", nil},
		{"keeper", map[string]string{"proc/90/cmdline": "@rootlun\x00keep\x00"}, "rootlun keep", nil},
		{"nobody", map[string]string{"proc/90/cmdline": "iscsidx\x00iscsid\x00"}, "nobody", []string{"nobody logs in again"}},
		{"lost", map[string]string{session1 + "state": "FAILED\n"}, "iscsid", []string{"the session is not logged in"}},
		{"120 s", map[string]string{session1 + "recovery_tmo": "120\n"}, "iscsid", []string{"I/O fails too soon"}},
		{"for ever", map[string]string{session1 + "recovery_tmo": "off\n"}, "iscsid", nil},
		{"NOPs", map[string]string{"sys/class/iscsi_connection/connection1:0/recv_tmo": "5\n"}, "iscsid", []string{"NOPs end"}},
		{"NOPs of another session", map[string]string{"sys/class/iscsi_connection/connection2:0/recv_tmo": "5\n"}, "iscsid", nil},
		{"NOPs later", map[string]string{record: "node.startup = onboot\nnode.conn[0].timeo.noop_out_interval = 5\n"}, "iscsid", []string{"NOPs end"}},
		{"no record", map[string]string{record: "-"}, "iscsid", []string{"there is no node record"}},
		{"no open-iscsi", map[string]string{record: "-", "etc/iscsi/iscsid.conf": "-", "proc/90/cmdline": "@rootlun\x00"}, "rootlun keep", nil},
		{"Debian 13", map[string]string{record: "-", "var/lib/iscsi/nodes/iqn.a/192.0.2.1,3260,1/default": "node.startup = onboot\n"}, "iscsid", nil},
		{"automatic", map[string]string{record: "node.startup = automatic\n"}, "iscsid", []string{"by node.startup"}},
		{"networkd", map[string]string{"run/systemd/network/05-rootlun-eth0.network": "[Network]\nDHCP=yes\n"}, "iscsid", []string{"systemd-networkd takes the addresses of eth0 away"}},
		{"multipath", multipath, "iscsid", nil},
		{"multipath without NOPs", with(multipath, "sys/class/iscsi_connection/connection1:0/recv_tmo", "0\n"), "iscsid", []string{"without NOPs"}},
		{"multipath for a day", with(multipath, session1+"recovery_tmo", "86400\n"), "iscsid", []string{"I/O waits long"}},
		{"local root", map[string]string{"proc/self/mountinfo": "25 1 8:2 / / rw - ext4 /dev/vda rw\n", "dev/vda": "", session1 + "recovery_tmo": "5\n"}, "iscsid", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, files := range []map[string]string{safeSystem(), tt.change} {
				for name, text := range files {
					if path := filepath.Join(root, name); text != "-" {
						writeTree(t, path, text)
					} else if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			l := statusLooker{root: root, fsys: os.DirFS(root), sys: kernel.Sysfs(filepath.Join(root, "sys")), route: func(a netip.Addr) (string, netip.Addr, error) {
				if a != netip.MustParseAddr("192.0.2.1") {
					return "", a, errors.New("unreachable")
				}
				return "eth0", a, nil
			}}
			st := l.look()
			if len(st.Sessions) != 2 || st.Manager != tt.manager || st.Safe != (tt.want == nil) || len(st.Sessions[1].Problems) > 0 {
				t.Fatalf("%+v", st)
			}
			problems := st.Sessions[0].Problems
			for i, p := range problems {
				if i >= len(tt.want) || !strings.HasPrefix(p.What, tt.want[i]) || p.Mend == "" {
					t.Errorf("%+v", p)
				}
			}
			if len(problems) != len(tt.want) {
				t.Errorf("%d problems, want %d", len(problems), len(tt.want))
			}
		})
	}
}

func writeTree(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if link, ok := strings.CutPrefix(text, "-> "); ok {
		err = errors.Join(err, os.Symlink(link, path))
	} else {
		err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMounts(t *testing.T) {
	got := mounts("36 35 98:0 /mnt1 /oldroot/a\\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n\n37 35 0:5 / /x - tmpfs\nnonsense\n38 35 0:6 / /y rw - tmpfs none rw\n")
	want := []mount{{"/oldroot/a b", "/dev/root"}, {"/y", "none"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); diff != "" {
		t.Error(diff)
	}
}

// TestMultipathTimers: who decides nothing gets dm-multipath's timers only where
// that is sure to be there.
func TestMultipathTimers(t *testing.T) {
	a, b := fw.Target{Name: "iqn.a", Host: "192.0.2.1", Port: 3260}, fw.Target{Name: "iqn.a", Host: "192.0.2.2", Port: 3260}
	otherUnit, otherTarget := b, b
	otherUnit.LUN[1], otherTarget.Name = 1, "iqn.b"
	plain, multipathd := fstest.MapFS{}, fstest.MapFS{"usr/sbin/multipathd": {Mode: 0o755}}
	for _, tt := range []struct {
		timers  string
		targets []fw.Target
		image   fstest.MapFS
		want    bool
	}{
		{"", []fw.Target{a, b}, multipathd, true},
		{"auto", []fw.Target{a, b}, fstest.MapFS{"sbin/multipathd": {}}, true},
		{"auto", []fw.Target{a, b}, fstest.MapFS{"usr/sbin/multipath": {}}, true},
		{"auto", []fw.Target{a, b}, plain, false},
		{"auto", []fw.Target{a}, multipathd, false},
		{"auto", []fw.Target{a, otherUnit}, multipathd, false},
		{"auto", []fw.Target{a, otherTarget}, multipathd, false},
		{"root", []fw.Target{a, b}, multipathd, false},
		{"multipath", []fw.Target{a}, plain, true},
	} {
		if got := multipath(&fw.Plan{Timers: tt.timers, Targets: tt.targets}, &a, tt.image); got != tt.want {
			t.Errorf("%q, %d targets, %v: %t", tt.timers, len(tt.targets), tt.image, got)
		}
	}
	plan := &fw.Plan{Timers: "multipath", Params: []fw.Param{{Name: "node.conn[0].timeo.noop_out_timeout", Value: "7"}}}
	cfg, err := sessionConfig(plan, &a)
	if err != nil || cfg.Timers.Replacement.Seconds() != 5 || cfg.Timers.NoopInterval.Seconds() != 5 || cfg.Timers.NoopTimeout.Seconds() != 7 {
		t.Errorf("%+v, %v", cfg.Timers, err)
	}
}
