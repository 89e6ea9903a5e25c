package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/session"
)

// The names are those of systemd's path_id, which knows LUNs by their number as
// the kernel counts them.
func TestLinkName(t *testing.T) {
	const disk = "iqn.2009-06.com.example:disk"
	for _, tt := range []struct {
		address, port, target string
		lun                   uint64
		want                  string
	}{
		{"10.0.0.1", "3260", disk, 0, "ip-10.0.0.1:3260-iscsi-" + disk + "-lun-0"},
		{"10.0.0.1", "3260", disk, 255, "ip-10.0.0.1:3260-iscsi-" + disk + "-lun-255"},
		{"10.0.0.1", "3260", disk, 256, "ip-10.0.0.1:3260-iscsi-" + disk + "-lun-0x0100000000000000"},
		{"10.0.0.1", "3260", disk, 16385, "ip-10.0.0.1:3260-iscsi-" + disk + "-lun-0x4001000000000000"},
		{"10.0.0.1", "3260", disk, 0x0002c101, "ip-10.0.0.1:3260-iscsi-" + disk + "-lun-0xc101000200000000"},
		{"2001:db8::1", "860", disk, 1, "ip-2001:db8::1:860-iscsi-" + disk + "-lun-1"},
		{"fe80::1%eth0", "3260", disk, 1, "ip-fe80::1_eth0:3260-iscsi-" + disk + "-lun-1"},
		{"10.0.0.1", "3260", "../../../etc/passwd", 1, "ip-10.0.0.1:3260-iscsi-.._.._.._etc_passwd-lun-1"},
		{"..", "/", "a b\n$(x)\x00é", 1, "ip-..:_-iscsi-a_b___x__é-lun-1"},
	} {
		if got := linkName(tt.address, tt.port, tt.target, tt.lun); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// linkTree makes files and links below a folder; what starts with "->" is a link.
func linkTree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir() + "/"
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, name)
		} else {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// diskTree is a machine with session 1 to a target, whose LUN 1 is sda with two
// partitions.
func diskTree(target string) map[string]string {
	return map[string]string{
		"sys/class/iscsi_session/session1/targetname":                    target + "\n",
		"sys/class/iscsi_session/session1/state":                         "LOGGED_IN\n",
		"sys/class/iscsi_session/session1/device":                        "->../../../devices/host2/session1",
		"sys/class/iscsi_connection/connection1:0/persistent_address":    "10.0.0.1\n",
		"sys/class/iscsi_connection/connection1:0/persistent_port":       "3260\n",
		"sys/devices/host2/session1/target2:0:0/2:0:0:1/block/sda/size":  "8\n",
		"sys/devices/host2/session1/target2:0:0/2:0:0:0/type":            "12\n",
		"sys/class/scsi_device/2:0:0:1/device/block/sda/size":            "8\n",
		"sys/class/block/sda/dev":                                        "8:0\n",
		"sys/class/block/sda/sda1/partition":                             "1\n",
		"sys/class/block/sda/sda15/partition":                            "15\n",
		"sys/class/block/sda/queue/nr_requests":                          "1\n",
		"sys/class/block/sda1/dev":                                       "8:1\n",
		"sys/class/block/sda15/dev":                                      "8:15\n",
		"dev/sda":                                                        "",
		"dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x:a-lun-1-part1":    "->../../sdz1",
		"dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x:other-lun-1-part": "->../../sdy",
	}
}

func TestLinkDisk(t *testing.T) {
	links := func(root string) map[string]string {
		found := map[string]string{}
		names, _ := os.ReadDir(root + "dev/disk/by-path")
		for _, n := range names {
			found[n.Name()], _ = os.Readlink(root + "dev/disk/by-path/" + n.Name())
		}
		return found
	}
	disk := session.Disk{Name: "sda", LUN: 1}
	for name, tt := range map[string]struct {
		target string
		udev   bool
		want   map[string]string // beside what was there
	}{
		"no udev": {"iqn.x:a", false, map[string]string{
			"ip-10.0.0.1:3260-iscsi-iqn.x:a-lun-1":        "../../sda",
			"ip-10.0.0.1:3260-iscsi-iqn.x:a-lun-1-part1":  "../../sda1",
			"ip-10.0.0.1:3260-iscsi-iqn.x:a-lun-1-part15": "../../sda15",
		}},
		"udev": {"iqn.x:a", true, nil},
		"a name that climbs": {"../../../../../etc/x", false, map[string]string{
			"ip-10.0.0.1:3260-iscsi-.._.._.._.._.._etc_x-lun-1":        "../../sda",
			"ip-10.0.0.1:3260-iscsi-.._.._.._.._.._etc_x-lun-1-part1":  "../../sda1",
			"ip-10.0.0.1:3260-iscsi-.._.._.._.._.._etc_x-lun-1-part15": "../../sda15",
		}},
		"a session that is gone": {"", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tree := diskTree(tt.target)
			if tt.udev {
				tree["run/udev/control"] = ""
			}
			root := linkTree(t, tree)
			want := links(root)
			for k, v := range tt.want {
				want[k] = v
			}
			for range 2 { // again is no mistake
				if err := linkDisk(root, 1, disk); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, links(root)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
	root := linkTree(t, map[string]string{"sys/class/iscsi_session/session1/targetname": strings.Repeat("x", 300)})
	if err := linkDisk(root, 1, disk); err == nil {
		t.Error("a name that is too long for a file was linked")
	}
}
