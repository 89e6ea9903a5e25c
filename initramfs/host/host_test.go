package host

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/boot/network"
)

// machine is a tree of a running system: files, and links, which begin with "-> ".
type machine map[string]string

// disk adds a disk of a session, as sysfs has it.
func (m machine) disk(n, lun, name, number, portal string) {
	dir := "sys/devices/platform/host" + n + "/session" + n
	disk := dir + "/target" + n + ":0:0/" + n + ":0:0:" + lun + "/block/" + name
	m[disk+"/dev"] = number + "\n"
	m["sys/dev/block/"+number] = "-> ../../../" + disk
	m["sys/class/block/"+name] = "-> ../../../" + disk
	m["sys/class/scsi_host/host"+n+"/proc_name"] = "iscsi_tcp\n"
	session, connection := "sys/class/iscsi_session/session"+n+"/", "sys/class/iscsi_connection/connection"+n+":0/"
	m[session+"targetname"] = "iqn.2026-01.net.example:root\n"
	m[session+"initiatorname"] = "iqn.2026-01.net.example:node\n"
	m[session+"username"], m[session+"password"] = "(null)\n", "(null)\n"
	m[connection+"persistent_address"], m[connection+"persistent_port"] = portal+"\n", "3260\n"
}

// over adds a virtual disk (dm, md) that is made of others.
func (m machine) over(name, number string, slaves ...string) {
	dir := "sys/devices/virtual/block/" + name
	m[dir+"/dev"] = number + "\n"
	m["sys/dev/block/"+number] = "-> ../../../" + dir
	m["sys/class/block/"+name] = "-> ../../../" + dir
	for _, s := range slaves {
		m[dir+"/slaves/"+s] = "-> ../../../../../class/block/" + s
	}
}

func (m machine) root(number, source string) {
	m["proc/self/mountinfo"] = "1 0 0:2 / / rw - rootfs rootfs rw\n22 1 " + number + " / / rw,relatime shared:1 - ext4 " + source + " rw\n" +
		"23 22 0:5 / /dev rw - devtmpfs udev rw\n"
}

func (m machine) lay(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range m {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if to, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(to, file)
		} else {
			err = os.WriteFile(file, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// read is Read where that NIC leads to every portal.
func (m machine) read(t *testing.T, nic, via string, addresses ...network.Address) (*Needs, error) {
	t.Helper()
	gateway, _ := netip.ParseAddr(via)
	return Machine{m.lay(t),
		func(netip.Addr) (string, netip.Addr, error) {
			if nic == "" {
				return "", gateway, errors.New("network is unreachable")
			}
			return nic, gateway, nil
		},
		func(string) ([]network.Address, error) { return addresses, nil },
	}.Read()
}

const netroot = "netroot=iscsi:192.168.50.1::3260:1:iqn.2026-01.net.example:root"

func simple() machine {
	m := machine{"sys/class/net/eth0/address": "52:54:00:00:00:01\n", "sys/class/net/eth0/mtu": "1500\n"}
	m.disk("1", "1", "sda", "8:0", "192.168.50.1")
	m.root("8:0", "/dev/sda")
	return m
}

func address(s string, dynamic bool) network.Address {
	return network.Address{Prefix: netip.MustParsePrefix(s), Dynamic: dynamic}
}

func TestUnits(t *testing.T) {
	for name, row := range map[string]struct {
		change func(machine)
		want   []unit
	}{
		"a disk": {func(machine) {}, []unit{{"host1", "session1", 1}}},
		"a partition": {func(m machine) {
			part := "sys/devices/platform/host1/session1/target1:0:0/1:0:0:1/block/sda/sda2"
			m[part+"/partition"], m["sys/dev/block/8:2"] = "2\n", "-> ../../../"+part
			m.root("8:2", "/dev/sda2")
		}, []unit{{"host1", "session1", 1}}},
		"LVM on LUKS on multipath": {func(m machine) {
			m.disk("2", "18446744073709551615", "sdb", "8:16", "192.168.51.1")
			m.over("dm-0", "253:0", "sda", "sdb")
			m.over("dm-1", "253:1", "dm-0")
			m.over("dm-2", "253:2", "dm-1")
			m.root("253:2", "/dev/mapper/vg-root")
		}, []unit{{"host1", "session1", 1}, {"host2", "session2", 18446744073709551615}}},
		"btrfs": {func(m machine) {
			m["dev/sda"] = ""
			m.root("0:25", "/dev/sda")
		}, []unit{{"host1", "session1", 1}}},
		"btrfs on LVM": {func(m machine) {
			m.over("dm-0", "253:0", "sda")
			m["dev/dm-0"], m["dev/mapper/vg-root"] = "", "-> ../dm-0"
			m.root("0:25", "/dev/mapper/vg-root")
		}, []unit{{"host1", "session1", 1}}},
		"a local disk": {func(m machine) {
			m["sys/devices/pci0000:00/0000:00:01.0/virtio0/block/vda/dev"] = "254:0\n"
			m["sys/dev/block/254:0"] = "-> ../../devices/pci0000:00/0000:00:01.0/virtio0/block/vda"
			m.root("254:0", "/dev/vda")
		}, nil},
		"NFS": {func(m machine) { m.root("0:30", "192.168.50.1:/root") }, nil},
		"itself": {func(m machine) { // no kernel has that
			m.over("dm-0", "253:0", "dm-0")
			m.root("253:0", "/dev/mapper/odd")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := simple()
			row.change(m)
			got, err := Machine{Root: m.lay(t)}.units()
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(unit{})); diff != "" {
				t.Error(diff)
			}
			if (len(row.want) == 0) != errors.Is(err, ErrLocal) {
				t.Error(err)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	const initiator = "rd.iscsi.initiator=iqn.2026-01.net.example:node"
	const told = "quiet netroot=iscsi:192.168.50.1::::iqn.2026-01.net.example:root " + initiator
	session := "sys/class/iscsi_session/session1/"
	chap := func(m machine) {
		m[session+"username"], m[session+"password"] = "node\n", "secret-of-the-node\n"
		m[session+"username_in"], m[session+"password_in"] = "target\n", "secret-of-the-target\n"
	}
	const section = "[iqn.2026-01.net.example:root]\nnode.session.auth.username = node\nnode.session.auth.password = secret-of-the-node\n" +
		"node.session.auth.username_in = target\nnode.session.auth.password_in = secret-of-the-target\n"
	for name, row := range map[string]struct {
		change      func(machine)
		cmdline     []string
		credentials string
	}{
		"nothing tells of it": {func(machine) {}, []string{netroot, "ifname=eth0:52:54:00:00:00:01 ip=192.168.50.9::192.168.50.254:24::eth0:none", initiator}, ""},
		"the command line does": {func(m machine) {
			m["proc/cmdline"] = "quiet " + netroot + " " + initiator + "\n"
		}, nil, ""},
		"the command line does, of another LUN": {func(m machine) {
			m["proc/cmdline"] = "quiet netroot=iscsi:192.168.50.1:::2:iqn.2026-01.net.example:root " + initiator + "\n"
		}, []string{netroot, "ifname=eth0:52:54:00:00:00:01 ip=192.168.50.9::192.168.50.254:24::eth0:none"}, ""},
		"the command line does, without a LUN": {func(m machine) { m["proc/cmdline"] = told + "\n" }, nil, ""},
		"DHCP does":                            {func(m machine) { m["proc/cmdline"] = "root=dhcp " + initiator + "\n" }, nil, ""},
		"our name is another":                  {func(m machine) { m["proc/cmdline"] = netroot + "\n" }, []string{initiator}, ""},
		"our name is in a file": {func(m machine) {
			m["proc/cmdline"], m["etc/iscsi/initiatorname.iscsi"] = netroot+"\n", "InitiatorName=iqn.2026-01.net.example:node\n"
		}, nil, ""},
		"an adapter's session": {func(m machine) { m["sys/class/scsi_host/host1/proc_name"] = "qla4xxx\n" }, nil, ""},
		"CHAP": {func(m machine) {
			chap(m)
			m["proc/cmdline"] = told + "\n"
		}, nil, section},
		"CHAP, and nothing tells of the target": {chap, []string{netroot, "ifname=eth0:52:54:00:00:00:01 ip=192.168.50.9::192.168.50.254:24::eth0:none", initiator}, section},
		"CHAP, of a file": {func(m machine) {
			chap(m)
			m["proc/cmdline"], m["etc/rootlun/credentials"] = told+"\n", section
		}, nil, ""},
		"CHAP, of the command line": {func(m machine) {
			chap(m)
			m["proc/cmdline"] = "quiet netroot=iscsi:node:secret-of-the-node:target:secret-of-the-target@192.168.50.1::::iqn.2026-01.net.example:root " + initiator + "\n"
		}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := simple()
			row.change(m)
			got, err := m.read(t, "eth0", "192.168.50.254", address("192.168.50.9/24", false))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.cmdline, got.Cmdline); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(row.credentials, got.Credentials); diff != "" {
				t.Error(diff)
			}
			for _, line := range append(got.Cmdline, got.Warnings...) {
				if strings.Contains(line, "secret-of") {
					t.Errorf("a secret shows in %q", line)
				}
			}
		})
	}
}

func TestNetwork(t *testing.T) {
	const eth = "ifname=eth0:52:54:00:00:00:01 "
	bond := func(m machine) {
		for name, mac := range map[string]string{"eth0": "52:54:00:00:00:01", "eth1": "52:54:00:00:00:02"} {
			m["sys/class/net/"+name+"/address"] = "52:54:00:00:00:01\n" // the bond's
			m["sys/class/net/"+name+"/bonding_slave/perm_hwaddr"] = mac + "\n"
		}
		at := "sys/class/net/bond0/bonding/"
		m[at+"slaves"], m[at+"mode"], m[at+"miimon"], m[at+"primary"], m[at+"lacp_rate"] = "eth0 eth1\n", "active-backup 1\n", "100\n", "\n", "slow 0\n"
	}
	const bonded = eth + "ifname=eth1:52:54:00:00:00:02 bond=bond0:eth0,eth1:mode=active-backup,miimon=100"
	vlan := func(m machine, name, id, below string) {
		m["proc/net/vlan/"+name] = name + "  VID: " + id + "\t REORDER_HDR: 1  dev->priv_flags: 1021\n   total frames received 0\nDevice: " + below + "\nINGRESS priority mappings: 0:0\n"
	}
	six := func(m machine) { m.disk("1", "1", "sda", "8:0", "2001:db8::1") }
	for name, row := range map[string]struct {
		nic, via string
		address  network.Address
		change   func(machine)
		want     string // empty: a warning
	}{
		"on the link":   {"eth0", "", address("192.168.50.9/24", false), nil, eth + "ip=192.168.50.9:::24::eth0:none"},
		"DHCP":          {"eth0", "", address("192.168.50.9/24", true), nil, eth + "ip=eth0:dhcp"},
		"IPv6":          {"eth0", "fe80::1", address("2001:db8::9/64", false), six, eth + "ip=[2001:db8::9]::[fe80::1]:64::eth0:none"},
		"IPv6, from RA": {"eth0", "fe80::1", address("2001:db8::9/64", true), six, eth + "ip=eth0:auto6"},
		"what rootlun was told": {"eth0", "", address("192.168.50.9/24", false), func(m machine) {
			m["run/rootlun/state.json"] = `{"nics":[{"name":"enp0s1","mac":"52:54:00:00:00:01","how":"dhcp"}]}`
		}, eth + "ip=eth0:dhcp"},
		"jumbo frames": {"eth0", "", address("192.168.50.9/24", true), func(m machine) { m["sys/class/net/eth0/mtu"] = "9000\n" }, eth + "ip=eth0:dhcp:9000"},
		"VLAN": {"eth0.5", "", address("192.168.50.9/24", false), func(m machine) { vlan(m, "eth0.5", "5", "eth0") },
			eth + "vlan=eth0.5:eth0 ip=192.168.50.9:::24::eth0.5:none"},
		"VLAN of another name": {"storage", "", address("192.168.50.9/24", false), func(m machine) { vlan(m, "storage", "5", "eth0") },
			eth + "vlan=vlan5:eth0 ip=192.168.50.9:::24::vlan5:none"},
		"bond": {"bond0", "", address("192.168.50.9/24", false), bond, bonded + " ip=192.168.50.9:::24::bond0:none"},
		"VLAN on a bond": {"bond0.7", "", address("192.168.50.9/24", true), func(m machine) {
			bond(m)
			vlan(m, "bond0.7", "7", "bond0")
		}, bonded + " vlan=bond0.7:bond0 ip=bond0.7:dhcp"},
		"bridge":    {"br0", "", address("192.168.50.9/24", false), func(m machine) { m["sys/class/net/br0/bridge/bridge_id"] = "8000.525400000001\n" }, ""},
		"no route":  {"", "", address("192.168.50.9/24", false), nil, ""},
		"no MAC":    {"tun0", "", address("192.168.50.9/24", false), nil, ""},
		"VLAN loop": {"a1", "", address("192.168.50.9/24", false), func(m machine) { vlan(m, "a1", "1", "a1") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := simple()
			if row.change != nil {
				row.change(m)
			}
			got, err := m.read(t, row.nic, row.via, row.address)
			if err != nil {
				t.Fatal(err)
			}
			words := ""
			for _, line := range got.Cmdline {
				if strings.Contains(line, "ip=") {
					words = line
				}
			}
			if words != row.want || (words == "") != (len(got.Warnings) > 0) {
				t.Errorf("%q, want %q; warnings: %q", words, row.want, got.Warnings)
			}
		})
	}
}

// What the words say is understood, and is what it was made of.
func TestWordsAreRead(t *testing.T) {
	m := simple()
	m.disk("1", "16640", "sda", "8:0", "2001:db8::1") // 4100 in the flat space
	got, err := m.read(t, "eth0", "", address("2001:db8::9/64", false))
	if err != nil {
		t.Fatal(err)
	}
	again := simple()
	again.disk("1", "16640", "sda", "8:0", "2001:db8::1")
	again["proc/cmdline"] = strings.Join(got.Cmdline, " ")
	if got, err := again.read(t, "eth0", "", address("2001:db8::9/64", false)); err != nil || got.Cmdline != nil || got.Warnings != nil {
		t.Errorf("%q: %+v, %v", again["proc/cmdline"], got, err)
	}
}

func TestHexLUN(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 1: "1", 16: "10", 16640: "4100", 1 << 16: "0-0001", 3<<48 | 5: "5-0000-0000-0003"} {
		if got := hexLUN(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
