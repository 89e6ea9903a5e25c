package fw

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
)

const (
	acpi = acpiDir + "/iBFT"
	host = "iqn.2009-06.com.example:host"
)

// table is one that leaves nothing out.
func table() *ibft.Table {
	return &ibft.Table{
		Signature: "iBFT",
		Initiator: &ibft.Initiator{Valid: true, Boot: true, Name: host},
		NICs: []ibft.NIC{{
			Valid: true, Boot: true, Global: true,
			IP: netip.MustParseAddr("192.168.50.2"), PrefixLen: 24, Origin: ibft.OriginStatic,
			Gateway: netip.MustParseAddr("192.168.50.254"),
			DNS:     [2]netip.Addr{netip.MustParseAddr("192.168.50.3"), netip.MustParseAddr("192.168.50.4")},
			VLAN:    5, MAC: [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0xab}, PCI: 3 << 3, Hostname: "host.example.com",
		}},
		Targets: []ibft.Target{{
			Valid: true, Boot: true,
			IP: netip.MustParseAddr("192.168.50.1"), Port: 3260, LUN: lun(1), CHAPType: ibft.CHAPMutual,
			Name: "iqn.2009-06.com.example:disk", CHAPName: "user", CHAPSecret: "secret-of-user",
			ReverseCHAPName: "back", ReverseCHAPSecret: "secret-of-back",
		}},
	}
}

// plan is what comes of table.
func plan(from string) *Plan {
	return &Plan{
		Initiator: Initiator{host, from},
		NICs: []NIC{{
			MAC: "52:54:00:12:34:ab", PCI: "0000:00:03.0", VLAN: 5, Origin: "static",
			Address: pfx("192.168.50.2/24"), Gateway: netip.MustParseAddr("192.168.50.254"),
			DNS: adr("192.168.50.3", "192.168.50.4"), Hostname: "host.example.com",
			Valid: true, Boot: true, From: from, AddressFrom: from,
		}},
		Targets: []Target{{
			Name: "iqn.2009-06.com.example:disk", Host: "192.168.50.1", Port: 3260, LUN: lun(1),
			CHAP: &CHAP{"user", "secret-of-user", "back", "secret-of-back", from}, Valid: true, Boot: true, From: from,
		}},
		Root: Root{ReadOnly: true},
	}
}

// tree is a machine with that command line and that table in ACPI.
func tree(t testing.TB, line string, tab *ibft.Table) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{"proc/cmdline": {Data: []byte(line + "\n")}}
	if tab != nil {
		raw, err := tab.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		m[acpi] = &fstest.MapFile{Data: raw}
	}
	return m
}

// sysfs adds a table as the kernel shows it: what is empty is not there.
func sysfs(m fstest.MapFS, tab *ibft.Table) fstest.MapFS {
	put := func(dir, name, value string) {
		if value != "" {
			m[ibftDir+"/"+dir+"/"+name] = &fstest.MapFile{Data: []byte(value)}
		}
	}
	addr := func(dir, name string, a netip.Addr) {
		switch {
		case a.Is4():
			put(dir, name, a.String()+"\n")
		case a.IsValid():
			put(dir, name, a.StringExpanded()+"\n")
		}
	}
	flags := func(valid, boot bool) string {
		n := 0
		if valid {
			n |= 1
		}
		if boot {
			n |= 2
		}
		return fmt.Sprintf("%d\n", n)
	}
	text := func(dir, name, value string) {
		if value != "" {
			put(dir, name, value+"\n")
		}
	}
	put("acpi_header", "signature", "iBFT\n")
	if i := tab.Initiator; i != nil {
		put("initiator", "index", "0\n")
		put("initiator", "flags", flags(i.Valid, i.Boot))
		text("initiator", "initiator-name", i.Name)
	}
	for i, n := range tab.NICs {
		dir := fmt.Sprintf("ethernet%d", i)
		put(dir, "index", fmt.Sprintf("%d\n", n.Index))
		put(dir, "flags", flags(n.Valid, n.Boot))
		put(dir, "origin", fmt.Sprintf("%d\n", n.Origin))
		put(dir, "vlan", fmt.Sprintf("%d\n", n.VLAN))
		put(dir, "mac", fmt.Sprintf("%x:%02x:%02x:%02x:%02x:%02x\n", n.MAC[0], n.MAC[1], n.MAC[2], n.MAC[3], n.MAC[4], n.MAC[5]))
		if n.PrefixLen > 0 {
			put(dir, "prefix-len", fmt.Sprintf("%d\n", n.PrefixLen))
			put(dir, "subnet-mask", "255.255.255.0") // without a newline
		}
		addr(dir, "ip-addr", n.IP)
		addr(dir, "gateway", n.Gateway)
		addr(dir, "primary-dns", n.DNS[0])
		addr(dir, "secondary-dns", n.DNS[1])
		addr(dir, "dhcp", n.DHCP)
		text(dir, "hostname", n.Hostname)
		m[ibftDir+"/"+dir+"/device"] = &fstest.MapFile{
			Mode: fs.ModeSymlink, Data: []byte("../../../devices/pci0000:00/" + n.PCIAddress()),
		}
	}
	for i, g := range tab.Targets {
		dir := fmt.Sprintf("target%d", i)
		put(dir, "index", fmt.Sprintf("%d\n", g.Index))
		put(dir, "flags", flags(g.Valid, g.Boot))
		put(dir, "port", fmt.Sprintf("%d\n", g.Port))
		put(dir, "chap-type", fmt.Sprintf("%d\n", g.CHAPType))
		put(dir, "nic-assoc", fmt.Sprintf("%d\n", g.NIC))
		digits := ""
		for _, b := range g.LUN {
			digits += fmt.Sprintf("%x", b)
		}
		put(dir, "lun", digits+"\n")
		addr(dir, "ip-addr", g.IP)
		text(dir, "target-name", g.Name)
		text(dir, "chap-name", g.CHAPName)
		text(dir, "chap-secret", string(g.CHAPSecret))
		text(dir, "rev-chap-name", g.ReverseCHAPName)
		text(dir, "rev-chap-name-secret", string(g.ReverseCHAPSecret))
	}
	return m
}

func check(t *testing.T, m fstest.MapFS, want *Plan) {
	t.Helper()
	got, err := Read(Sources{FS: m})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, options()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlaces reads one table from each place in which it can be.
func TestPlaces(t *testing.T) {
	raw, err := table().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte(nil), raw...)
	bad[len(bad)-1]++
	for _, name := range []string{"iBFT", "IBFT", "BIFT", "iBFT1"} {
		t.Run(name, func(t *testing.T) {
			m := fstest.MapFS{acpiDir + "/" + name: {Data: raw}, acpiDir + "/FACP": {Data: []byte("FACP")}}
			check(t, m, plan("iBFT (ACPI)"))
		})
	}
	t.Run("sysfs", func(t *testing.T) {
		check(t, sysfs(fstest.MapFS{}, table()), plan("iBFT (sysfs)"))
	})
	t.Run("both", func(t *testing.T) {
		check(t, sysfs(tree(t, "", table()), table()), plan("iBFT (ACPI)"))
	})
	t.Run("bad, then good", func(t *testing.T) {
		m := sysfs(fstest.MapFS{acpi: {Data: bad}}, table())
		got, err := Read(Sources{FS: m})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "/"+acpi+": ") || !strings.Contains(got.Warnings[0], "checksum") {
			t.Errorf("warnings %q", got.Warnings)
		}
		got.Warnings = nil
		if diff := cmp.Diff(plan("iBFT (sysfs)"), got, options()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("bad, then good in ACPI", func(t *testing.T) {
		got, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: bad}, acpi + "1": {Data: raw}}})
		if err != nil || len(got.Targets) != 1 || len(got.Warnings) != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("without a target, then good", func(t *testing.T) {
		empty := table()
		empty.Targets = nil
		check(t, sysfs(tree(t, "", empty), table()), plan("iBFT (sysfs)"))
	})
	t.Run("bad", func(t *testing.T) {
		_, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: bad}}})
		if err == nil || errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "/"+acpi+": ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without a target", func(t *testing.T) {
		empty := table()
		empty.Targets = nil
		if _, err := Read(Sources{FS: tree(t, "", empty)}); !errors.Is(err, ErrNothing) {
			t.Errorf("got %v, want ErrNothing", err)
		}
		if _, err := Read(Sources{FS: tree(t, "rd.iscsi.firmware", empty)}); err == nil || !strings.Contains(err.Error(), "the firmware's table, iBFT (ACPI), has none") {
			t.Errorf("asked for: got %v", err)
		}
	})
}

func TestTargetInACPI(t *testing.T) {
	bad, err := table().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bad[len(bad)-1]++
	empty := table()
	empty.Targets = nil
	for _, c := range []struct {
		name string
		tree fstest.MapFS
		want bool
	}{
		{"a good one", tree(t, "", table()), true},
		{"none", sysfs(fstest.MapFS{}, table()), false},
		{"a bad one", fstest.MapFS{acpi: {Data: bad}}, false},
		{"no target", tree(t, "", empty), false},
		{"another signature", fstest.MapFS{acpiDir + "/BIFT": tree(t, "", table())[acpi]}, true},
	} {
		if got := TargetInACPI(c.tree); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

// TestTable: one quirk of a table a row.
func TestTable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		quirk   func(*ibft.Table)
		want    func(*Plan)
		warning string // in the only warning
	}{
		{"DHCP", func(t *ibft.Table) { t.NICs[0].Origin = ibft.OriginDHCP }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin = true, "dhcp"
		}, ""},
		{"DHCP server only", func(t *ibft.Table) { t.NICs[0].DHCP = netip.MustParseAddr("192.168.50.9") }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin, p.NICs[0].DHCPServer = true, "dhcp", netip.MustParseAddr("192.168.50.9")
		}, ""},
		{"no address", func(t *ibft.Table) { t.NICs[0].IP = netip.Addr{} }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Address = true, nil
		}, ""},
		{"prefix 0", func(t *ibft.Table) { t.NICs[0].PrefixLen = 0 }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Address = true, nil
		}, "no usable prefix length"},
		{"IPv6 by RA", func(t *ibft.Table) {
			t.NICs[0].IP, t.NICs[0].PrefixLen, t.NICs[0].Origin = netip.MustParseAddr("2001:db8::2"), 64, ibft.OriginRA
			t.NICs[0].Gateway = netip.MustParseAddr("fe80::1")
			t.Targets[0].IP = netip.MustParseAddr("2001:db8::1")
		}, func(p *Plan) {
			p.NICs[0].Origin, p.NICs[0].Address, p.NICs[0].Gateway = "ra", pfx("2001:db8::2/64"), netip.MustParseAddr("fe80::1")
			p.Targets[0].Host = "2001:db8::1"
		}, ""},
		{"IPv6 by DHCPv6", func(t *ibft.Table) {
			t.NICs[0].IP, t.NICs[0].PrefixLen, t.NICs[0].Origin = netip.MustParseAddr("2001:db8::2"), 64, ibft.OriginDHCP
		}, func(p *Plan) {
			p.NICs[0].Origin, p.NICs[0].Address = "dhcp", pfx("2001:db8::2/64")
		}, ""},
		{"VLAN with priority", func(t *ibft.Table) { t.NICs[0].VLAN = 0xa02a }, func(p *Plan) { p.NICs[0].VLAN = 42 }, ""},
		{"no MAC", func(t *ibft.Table) { t.NICs[0].MAC = [6]byte{} }, func(p *Plan) { p.NICs[0].MAC = "" }, ""},
		{"no PCI address", func(t *ibft.Table) { t.NICs[0].PCI = 0 }, func(p *Plan) { p.NICs[0].PCI = "" }, ""},
		{"host name for a shell", func(t *ibft.Table) { t.NICs[0].Hostname = "$(reboot)" }, func(p *Plan) {
			p.NICs[0].Hostname = ""
		}, `host name "$(reboot)"`},
		{"port 0", func(t *ibft.Table) { t.Targets[0].Port = 0 }, func(p *Plan) {}, ""},
		{"flat LUN", func(t *ibft.Table) { t.Targets[0].LUN = ibft.LUN{0x41, 0x2c} }, func(p *Plan) {
			p.Targets[0].LUN = ibft.LUN{0x41, 0x2c}
		}, ""},
		{"one-way CHAP", func(t *ibft.Table) {
			t.Targets[0].CHAPType = ibft.CHAPOneWay
			t.Targets[0].ReverseCHAPName, t.Targets[0].ReverseCHAPSecret = "", ""
		}, func(p *Plan) {
			p.Targets[0].CHAP = &CHAP{Username: "user", Password: "secret-of-user", From: "iBFT (ACPI)"}
		}, ""},
		{"more secrets than the type asks for", func(t *ibft.Table) { t.Targets[0].CHAPType = ibft.CHAPNone }, func(p *Plan) {
			p.Targets[0].CHAP = nil
		}, "type 0 leaves secrets unused"},
		{"odd target name", func(t *ibft.Table) { t.Targets[0].Name = "mytest" }, func(p *Plan) {
			p.Targets[0].Name = "mytest"
		}, `the name "mytest"`},
		{"odd initiator name", func(t *ibft.Table) { t.Initiator.Name = "NERF" }, func(p *Plan) {
			p.Initiator.Name = "NERF"
		}, `the initiator name "NERF"`},
		{"IPv6 address cut short", func(t *ibft.Table) { t.Targets[0].IP = netip.MustParseAddr("254.192.0.0") }, func(p *Plan) {
			p.Targets[0].Host = "254.192.0.0"
		}, "cut short"},
		{"NIC by index, not by place", func(t *ibft.Table) {
			t.NICs = append(t.NICs, t.NICs[0])
			t.NICs[0].Index, t.NICs[1].Index, t.Targets[0].NIC = 2, 1, 1
		}, func(p *Plan) {
			p.NICs = append(p.NICs, p.NICs[0])
			p.NICs[0].Index, p.NICs[1].Index, p.Targets[0].NIC = 2, 1, 1
		}, ""},
		{"NIC out of range, by subnet", func(t *ibft.Table) {
			t.NICs = append(t.NICs, t.NICs[0])
			t.NICs[0].IP, t.NICs[1].Index, t.Targets[0].NIC = netip.MustParseAddr("10.0.0.2"), 1, 0xff
		}, func(p *Plan) {
			p.NICs = append(p.NICs, p.NICs[0])
			p.NICs[0].Address, p.NICs[1].Index, p.Targets[0].NIC = pfx("10.0.0.2/24"), 1, 1
		}, ""},
		{"NIC out of range, the only one", func(t *ibft.Table) {
			t.Targets[0].NIC, t.NICs[0].IP = 9, netip.MustParseAddr("10.0.0.2")
		}, func(p *Plan) { p.NICs[0].Address = pfx("10.0.0.2/24") }, ""},
		{"boot-selected before valid before the rest", func(t *ibft.Table) {
			g := t.Targets[0]
			t.Targets = []ibft.Target{g, g, g}
			for i, flags := range [][2]bool{{false, false}, {true, false}, {true, true}} {
				t.Targets[i].Index, t.Targets[i].Valid, t.Targets[i].Boot = uint8(i), flags[0], flags[1]
				t.Targets[i].LUN = lun(uint64(i))
			}
		}, func(p *Plan) {
			g := p.Targets[0]
			p.Targets = []Target{g, g, g}
			for i, flags := range [][2]bool{{true, true}, {true, false}, {false, false}} {
				p.Targets[i].Index, p.Targets[i].Valid, p.Targets[i].Boot = 2-i, flags[0], flags[1]
				p.Targets[i].LUN = lun(uint64(2 - i))
			}
		}, ""},
		{"an empty slot", func(t *ibft.Table) { t.Targets = append(t.Targets, ibft.Target{Index: 1}) }, func(p *Plan) {}, ""},
		{"a target without a name beside a good one", func(t *ibft.Table) {
			g := t.Targets[0]
			g.Name, g.Index = "", 1
			t.Targets = append(t.Targets, g)
		}, func(p *Plan) {}, "no name"},
		{"mutual CHAP without a reverse secret beside a good one", func(t *ibft.Table) {
			g := t.Targets[0]
			g.ReverseCHAPSecret, g.Index = "", 1
			t.Targets = append(t.Targets, g)
		}, func(p *Plan) {}, "reverse CHAP secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tab := table()
			tt.quirk(tab)
			want := plan("iBFT (ACPI)")
			tt.want(want)
			got, err := Read(Sources{FS: tree(t, "", tab)})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(got.Warnings); tt.warning == "" && n > 0 || tt.warning != "" && (n != 1 || !strings.Contains(got.Warnings[0], tt.warning)) {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.warning)
			}
			got.Warnings = nil
			if diff := cmp.Diff(want, got, options()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFailsClosed: with no other target, one that cannot be used is an error.
func TestFailsClosed(t *testing.T) {
	for why, quirk := range map[string]func(*ibft.Target){
		"reverse CHAP secret":        func(g *ibft.Target) { g.ReverseCHAPSecret = "" },
		"a CHAP secret; the":         func(g *ibft.Target) { g.CHAPSecret = "" },
		"a CHAP name; the":           func(g *ibft.Target) { g.CHAPName = "" },
		"CHAP type: expected 0 to 2": func(g *ibft.Target) { g.CHAPType = 3 },
		"it has no name":             func(g *ibft.Target) { g.Name = "" },
		"it has no address":          func(g *ibft.Target) { g.IP = netip.Addr{} },
		"stands for both directions": func(g *ibft.Target) { g.ReverseCHAPSecret = g.CHAPSecret },
	} {
		tab := table()
		quirk(&tab.Targets[0])
		p, err := Read(Sources{FS: tree(t, "", tab)})
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(fmt.Sprint(err, p), "secret-of") {
			t.Errorf("%s: got %v", why, err)
		}
	}
}

func TestSysfsLUN(t *testing.T) {
	for in, want := range map[string]ibft.LUN{
		"":                 {},
		"00000000":         {},
		"05000000":         {0, 5},
		"010000000":        {0, 16},
		"0ff000000":        {0, 255},
		"405000000":        {0x40, 5},
		"412c000000":       {0x41, 0x2c},
		"00ff000000":       {0, 255},
		"0001000000000000": {0, 1},
		"412c000000000000": {0x41, 0x2c},
		"01020304":         {0, 1, 0, 2, 0, 3, 0, 4},
	} {
		if got, err := parseSysfsLUN(in); err != nil || got != want {
			t.Errorf("%q: got % x, %v, want % x", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "000000", "x0000000", "0102030405", "11000000000", "0001000000000g00", "+1 000000", "-100000000"} {
		if got, err := parseSysfsLUN(in); err == nil {
			t.Errorf("%q: got % x, want an error", in, got)
		}
	}
}

// TestSysfsQuirks: an attribute that is odd, and what becomes of it.
func TestSysfsQuirks(t *testing.T) {
	for _, tt := range []struct {
		file, text string
		want       func(*Plan)
		warning    string
	}{
		{"ethernet0/ip-addr", "0000:0000:0000:0000:0000:0000:c0a8:3202\n", func(p *Plan) {}, ""},
		{"ethernet0/prefix-len", "120\n", func(p *Plan) {}, ""},
		{"ethernet0/prefix-len", "33\n", func(p *Plan) { p.NICs[0].DHCP, p.NICs[0].Address = true, nil }, "prefix-len"},
		{"ethernet0/gateway", "255.255.255.255\n", func(p *Plan) { p.NICs[0].Gateway = netip.Addr{} }, ""},
		{"ethernet0/dhcp", "0.0.0.0\n", func(p *Plan) {}, ""},
		{"ethernet0/gateway", "here\n", func(p *Plan) { p.NICs[0].Gateway = netip.Addr{} }, "expected an address"},
		{"ethernet0/mac", "1\n", func(p *Plan) { p.NICs[0].MAC = "" }, "expected an Ethernet address"},
		{"ethernet0/mac", "ff:ff:ff:ff:ff:ff\n", func(p *Plan) { p.NICs[0].MAC = "" }, ""},
		{"ethernet0/vlan", "x\n", func(p *Plan) { p.NICs[0].VLAN = 0 }, "expected a number"},
		{"ethernet0/hostname", "a\x1bb\n", func(p *Plan) { p.NICs[0].Hostname = "" }, "control character"},
		{"target0/chap-secret", "secret with\nnewline\n", func(p *Plan) { p.Targets[0].CHAP.Password = "secret with\nnewline" }, ""},
		{"target0/chap-secret", " secret with blanks \n", func(p *Plan) { p.Targets[0].CHAP.Password = " secret with blanks " }, ""},
		{"target0/port", "0\n", func(p *Plan) {}, ""},
		{"target0/lun", "010000000\n", func(p *Plan) { p.Targets[0].LUN = lun(16) }, ""},
	} {
		m := sysfs(fstest.MapFS{}, table())
		m[ibftDir+"/"+tt.file] = &fstest.MapFile{Data: []byte(tt.text)}
		want := plan("iBFT (sysfs)")
		tt.want(want)
		got, err := Read(Sources{FS: m})
		if err != nil {
			t.Errorf("%s=%q: %v", tt.file, tt.text, err)
			continue
		}
		text := strings.Join(got.Warnings, "\n")
		if tt.warning == "" && text != "" || !strings.Contains(text, tt.warning) {
			t.Errorf("%s=%q: warnings %q, want %q", tt.file, tt.text, got.Warnings, tt.warning)
		}
		got.Warnings = nil
		if diff := cmp.Diff(want, got, options()); diff != "" {
			t.Errorf("%s=%q (-want +got):\n%s", tt.file, tt.text, diff)
		}
	}
	m := sysfs(fstest.MapFS{}, table())
	m[ibftDir+"/target0/lun"] = &fstest.MapFile{Data: []byte("11111111111\n")}
	if p, err := Read(Sources{FS: m}); err == nil {
		t.Errorf("a LUN that cannot be read: got %+v, want an error", p)
	}
}
