package fw

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
)

func marshal(t testing.TB, tab *ibft.Table) []byte {
	t.Helper()
	raw, err := tab.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// broken is a table with a wrong checksum.
func broken(raw []byte) []byte {
	bad := bytes.Clone(raw)
	bad[9]++
	return bad
}

// memory is a dev/mem with tables at those addresses. Pages at unreadable
// cannot be read.
type memory struct {
	fstest.MapFS
	low        []byte
	unreadable map[int64]bool
}

func (m memory) Open(name string) (fs.File, error) {
	f, err := m.MapFS.Open(name)
	if err == nil && name == "dev/mem" {
		return memoryFile{f, m}, nil
	}
	return f, err
}

type memoryFile struct {
	fs.File
	m memory
}

func (f memoryFile) ReadAt(b []byte, off int64) (int, error) {
	if f.m.unreadable[off] || len(b) != pageSize || off < lowStart || off+int64(len(b)) > lowEnd ||
		off >= vgaStart && off < vgaEnd {
		return 0, fs.ErrPermission
	}
	return copy(b, f.m.low[off-lowStart:]), nil
}

func newMemory(tables map[int][]byte) memory {
	m := memory{fstest.MapFS{"dev/mem": {}}, make([]byte, lowEnd-lowStart), map[int64]bool{}}
	for at, raw := range tables {
		copy(m.low[at-lowStart:], raw)
	}
	return m
}

func TestLowMemory(t *testing.T) {
	raw := marshal(t, table())
	from := plan("iBFT (low memory)")
	checkMemory := func(t *testing.T, m fs.FS, want *Plan, warning string) {
		t.Helper()
		got, err := Read(Sources{FS: m})
		if want == nil {
			if err == nil || errors.Is(err, ErrNothing) != (warning == "") || !strings.Contains(err.Error(), warning) {
				t.Errorf("got %v, want %q", err, warning)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, warning) || warning == "" && text != "" {
			t.Errorf("warnings %q, want %q", got.Warnings, warning)
		}
		got.Warnings = nil
		if diff := cmp.Diff(want, got, options()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for name, at := range map[string]int{
		"first": lowStart, "on 16": lowStart + 0x1230, "over a page's end": 0x9cff0,
		"before the adapter": vgaStart - len(raw)&^15 - 16, "after it": vgaEnd, "last": lowEnd - len(raw)&^15 - 16,
	} {
		t.Run(name, func(t *testing.T) { checkMemory(t, newMemory(map[int][]byte{at: raw}), from, "") })
	}
	t.Run("a regular file", func(t *testing.T) {
		checkMemory(t, fstest.MapFS{"dev/mem": {Data: append(make([]byte, 0x90000), raw...)}}, from, "")
	})
	for name, m := range map[string]fs.FS{
		"not on 16":               newMemory(map[int][]byte{0x90008: raw}),
		"in the adapter":          newMemory(map[int][]byte{vgaStart + 0x1000: raw}),
		"below":                   fstest.MapFS{"dev/mem": {Data: append(make([]byte, 0x70000), raw...)}},
		"a signature in code":     newMemory(map[int][]byte{0x90000: []byte("iBFT\x00\x02\x00\x00 and a program")}),
		"an empty file":           fstest.MapFS{"dev/mem": {}},
		"a folder":                fstest.MapFS{"dev/mem/x": {}},
		"a machine without":       fstest.MapFS{},
		"its page is not to read": func() fs.FS { m := newMemory(map[int][]byte{0x90000: raw}); m.unreadable[0x90000] = true; return m }(),
	} {
		t.Run(name, func(t *testing.T) { checkMemory(t, m, nil, "") })
	}
	t.Run("other pages are not to read", func(t *testing.T) {
		m := newMemory(map[int][]byte{0x90000: raw})
		for at := int64(lowStart); at < lowEnd; at += pageSize {
			m.unreadable[at] = at != 0x90000
		}
		checkMemory(t, m, from, "")
	})
	t.Run("EFI", func(t *testing.T) {
		m := newMemory(map[int][]byte{0x90000: raw})
		m.MapFS["sys/firmware/efi/x"] = &fstest.MapFile{}
		checkMemory(t, m, nil, "")
	})
	t.Run("a bad one before", func(t *testing.T) { // the kernel stops there
		checkMemory(t, newMemory(map[int][]byte{0x90000: broken(raw), 0x98000: raw}), from, "/dev/mem at 0x90000: ")
	})
	t.Run("a bad one alone", func(t *testing.T) {
		checkMemory(t, newMemory(map[int][]byte{0x90000: broken(raw)}), nil, "rd.rootlun.ibft=lenient takes the table")
	})
	t.Run("after ACPI", func(t *testing.T) {
		m := newMemory(map[int][]byte{0x90000: raw})
		m.MapFS[acpi] = &fstest.MapFile{Data: broken(raw)}
		checkMemory(t, m, from, "/"+acpi+": ")
		m.MapFS[acpi] = &fstest.MapFile{Data: raw}
		checkMemory(t, m, plan("iBFT (ACPI)"), "")
	})
}

// TestLenient: what the parameter takes, and what not.
func TestLenient(t *testing.T) {
	raw := marshal(t, table())
	revision, control := bytes.Clone(raw), bytes.Clone(raw)
	revision[8], revision[9] = 2, revision[9]-1
	control[48], control[9] = 9, control[9]-8
	for _, tt := range []struct {
		name string
		raw  []byte
		take bool
	}{{"checksum", broken(raw), true}, {"revision", revision, true}, {"id of the control structure", control, false}} {
		for where, s := range map[string]Sources{
			"iBFT (ACPI)":       {FS: fstest.MapFS{acpi: {Data: tt.raw}}},
			"iBFT (low memory)": {FS: newMemory(map[int][]byte{0x90000: tt.raw})},
			"iBFT (/a/file)":    {FS: fstest.MapFS{}, Table: tt.raw, TableFrom: "/a/file"},
		} {
			if where == "iBFT (low memory)" && !tt.take {
				continue // no table at all
			}
			strict := "ro"
			s.Cmdline = &strict
			_, err := Read(s)
			if err == nil || !strings.Contains(err.Error(), tt.name) || strings.Contains(err.Error(), "rd.rootlun.ibft=lenient") != tt.take {
				t.Errorf("%s, %s: %v", tt.name, where, err)
			}
			lenient := "rd.rootlun.ibft=lenient"
			s.Cmdline = &lenient
			got, err := Read(s)
			if !tt.take {
				if err == nil {
					t.Errorf("%s, %s: it is taken", tt.name, where)
				}
				continue
			}
			if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], tt.name) {
				t.Errorf("%s, %s: %v, warnings %q", tt.name, where, err, got.Warnings)
			}
			got.Warnings = nil
			if diff := cmp.Diff(plan(where), got, options()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	}
	for _, line := range []string{"rd.rootlun.ibft", "rd.rootlun.ibft=strict"} {
		if _, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: raw}}, Cmdline: &line}); err == nil || !strings.Contains(err.Error(), "rd.rootlun.ibft=lenient") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestGivenTable reads a file: a table, or a copy of memory that holds one.
func TestGivenTable(t *testing.T) {
	raw := marshal(t, table())
	dump := append(append(make([]byte, 0x230), broken(raw)...), make([]byte, 32)...)
	dump = append(dump[:len(dump)&^15], raw...)
	for name, tt := range map[string]struct {
		raw     []byte
		warning string
	}{
		"a table":           {raw, ""},
		"a table and more":  {append(bytes.Clone(raw), "more"...), ""},
		"a copy of memory":  {append(make([]byte, 0x230), raw...), ""},
		"a bad one, a good": {dump, "/a/file at 0x230: "},
	} {
		got, err := Read(Sources{FS: fstest.MapFS{acpi: {Data: broken(raw)}}, Table: tt.raw, TableFrom: "/a/file"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := strings.Join(got.Warnings, "\n"); !strings.HasPrefix(text, tt.warning) || tt.warning == "" && text != "" {
			t.Errorf("%s: warnings %q", name, got.Warnings)
		}
		got.Warnings = nil
		if diff := cmp.Diff(plan("iBFT (/a/file)"), got, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, tt := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing": {[]byte{}, "at least 66 bytes, found 0"},
		"text":    {bytes.Repeat([]byte("text"), 100), `found "text"`},
		"cut off": {raw[:len(raw)-1], "length: expected at most"},
	} {
		_, err := Read(Sources{FS: fstest.MapFS{}, Table: tt.raw, TableFrom: "/a/file"})
		if err == nil || !strings.HasPrefix(err.Error(), "/a/file: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// adapter adds what the driver of an offload adapter shows.
func adapter(m fstest.MapFS, host int, files map[string]string) {
	for name, text := range files {
		m[fmt.Sprintf("sys/firmware/iscsi_boot%d/%s", host, name)] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
}

// TestAdapters: three adapters, each with its NIC 0 and its targets.
func TestAdapters(t *testing.T) {
	m := fstest.MapFS{"sys/firmware/iscsi_boot": {}, "sys/firmware/iscsi_bootx/target0/flags": {}, "sys/firmware/iscsi_boot03/target0/flags": {}}
	adapter(m, 10, map[string]string{
		"initiator/initiator-name": "iqn.2009-06.com.example:other",
		"ethernet0/index":          "0", "ethernet0/mac": "52:54:00:12:34:10", "ethernet0/flags": "3",
		"target0/index": "0", "target0/flags": "3", "target0/target-name": "iqn.2009-06.com.example:ten", "target0/ip-addr": "192.168.50.10",
		"target0/port": "3260", "target0/nic-assoc": "0",
	})
	adapter(m, 3, map[string]string{
		"initiator/initiator-name": host,
		"ethernet0/index":          "0", "ethernet0/mac": "52:54:00:12:34:03", "ethernet0/flags": "3",
		"target0/index": "0", "target0/flags": "1", "target0/target-name": "iqn.2009-06.com.example:three", "target0/ip-addr": "192.168.50.3",
		"target0/port": "3260", "target0/nic-assoc": "0", "target0/chap-name": "user", "target0/chap-secret": "secret-of-user",
		"target1/index": "1", "target1/flags": "3", "target1/target-name": "iqn.2009-06.com.example:two", "target1/ip-addr": "192.168.50.2",
		"target1/nic-assoc": "0", "target1/chap-name": "user", "target1/chap-secret": "secret-of-user",
		"target1/rev-chap-name": "back", "target1/rev-chap-name-secret": "secret-of-back",
	})
	adapter(m, 4, map[string]string{
		"target0/index": "0", "target0/flags": "3", "target0/target-name": "iqn.2009-06.com.example:four", "target0/ip-addr": "192.168.50.4",
		"target0/port": "3260", "target0/chap-name": "user",
	})
	got, err := Read(Sources{FS: m})
	if err != nil {
		t.Fatal(err)
	}
	nic := func(mac, from string) NIC {
		return NIC{MAC: mac, DHCP: true, Origin: "other", Valid: true, Boot: true, From: from, AddressFrom: from}
	}
	target := func(index int, name, host string, nic int, boot bool, from string) Target {
		return Target{Index: index, Name: "iqn.2009-06.com.example:" + name, Host: host, Port: 3260, NIC: nic, Valid: true, Boot: boot, From: from}
	}
	const three, ten = "iscsi_boot3 (sysfs)", "iscsi_boot10 (sysfs)"
	want := &Plan{
		Initiator: Initiator{host, three},
		NICs:      []NIC{nic("52:54:00:12:34:03", three), nic("52:54:00:12:34:10", ten)},
		Targets: []Target{
			target(1, "two", "192.168.50.2", 0, true, three),
			target(0, "ten", "192.168.50.10", 1, true, ten),
			target(0, "three", "192.168.50.3", 0, false, three),
		},
		Root: Root{ReadOnly: true},
	}
	want.Targets[0].CHAP = &CHAP{"user", "secret-of-user", "back", "secret-of-back", three}
	want.Targets[2].CHAP = &CHAP{Username: "user", Password: "secret-of-user", From: three}
	if n := len(got.Warnings); n != 2 || !strings.Contains(got.Warnings[0], "is not used") || !strings.Contains(got.Warnings[1], "iscsi_boot4 (sysfs)") ||
		!strings.Contains(got.Warnings[1], "the table has none") {
		t.Errorf("warnings %q", got.Warnings)
	}
	got.Warnings = nil
	if diff := cmp.Diff(want, got, options()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	m[acpi] = &fstest.MapFile{Data: marshal(t, table())} // comes before
	check(t, m, plan("iBFT (ACPI)"))
}

// running adds a session.
func running(m fstest.MapFS, sid int, target, state string, conn map[string]string) fstest.MapFS {
	put := func(name, text string) { m[name] = &fstest.MapFile{Data: []byte(text + "\n")} }
	put(fmt.Sprintf("%s/session%d/targetname", sessionDir, sid), target)
	put(fmt.Sprintf("%s/session%d/state", sessionDir, sid), state)
	for name, text := range conn {
		put(fmt.Sprintf("%s/connection%d:0/%s", connectionDir, sid, name), text)
	}
	return m
}

func TestSessions(t *testing.T) {
	const name = "iqn.2009-06.com.example:disk"
	portal := map[string]string{"persistent_address": "192.168.50.1", "persistent_port": "3260"}
	for _, tt := range []struct {
		name   string
		target string
		state  string
		conn   map[string]string
		want   string
	}{
		{"as configured", name, "LOGGED_IN", portal, "session12"},
		{"after a redirect", name, "LOGGED_IN", map[string]string{
			"persistent_address": "192.168.50.7", "persistent_port": "3261", "address": "192.168.50.1", "port": "3260"}, "session12"},
		{"by its address alone", name, "LOGGED_IN", map[string]string{
			"persistent_address": "(null)", "persistent_port": "0", "address": "192.168.50.1", "port": "3260"}, "session12"},
		{"to another target", name + "2", "LOGGED_IN", portal, ""},
		{"at another portal", name, "LOGGED_IN", map[string]string{"persistent_address": "192.168.50.1", "persistent_port": "3261"}, ""},
		{"its connection lost", name, "FAILED", portal, ""},
		{"without a connection", name, "LOGGED_IN", nil, ""},
		{"nonsense", name, "LOGGED_IN", map[string]string{"persistent_address": "here", "persistent_port": "70000"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := running(tree(t, "", table()), 12, tt.target, tt.state, tt.conn)
			m = running(m, 9, "iqn.2009-06.com.example:more", "LOGGED_IN", portal)
			m[sessionDir+"/session07/state"] = &fstest.MapFile{Data: []byte("LOGGED_IN")} // no such name
			want := plan("iBFT (ACPI)")
			want.Targets[0].Session = tt.want
			check(t, m, want)
			if got := Session(m, plan("").Targets[0]); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}

	// The lower number first; a portal may be IPv6, a target's host a name.
	m := fstest.MapFS{}
	for _, sid := range []int{11, 2} {
		running(m, sid, name, "LOGGED_IN", map[string]string{"persistent_address": "2001:0db8::0001", "persistent_port": "3260"})
	}
	if got := Session(m, Target{Name: name, Host: "2001:db8::1", Port: 3260}); got != "session2" {
		t.Errorf("IPv6: got %q", got)
	}
	if got := Session(m, Target{Name: name, Host: "target.example.com", Port: 3260}); got != "" {
		t.Errorf("a name: got %q", got)
	}
}

// TestRefusedTableAlone: where a refused table is all there is, that is all that
// is said.
func TestRefusedTableAlone(t *testing.T) {
	raw := marshal(t, table())
	raw[60]++
	line := ""
	_, err := Read(Sources{FS: fstest.MapFS{}, Cmdline: &line, Table: raw, TableFrom: "a.bin"})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("error %v", err)
	}
}

// dracut's files give an initramfs a command line, and the kernel's comes last.
func TestImageCmdline(t *testing.T) {
	const secret = "secret-of-image"
	m := tree(t, "root=LABEL=kernel ip=eth1:dhcp", nil)
	m["etc/cmdline"] = &fstest.MapFile{Data: []byte("root=LABEL=file rd.iscsi.username=node\n")}
	m["etc/cmdline.d/90rootlun.conf"] = &fstest.MapFile{Data: []byte("netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:t\nrd.iscsi.initiator=iqn.2009-06.dracut:host\n")}
	m["etc/cmdline.d/95more.conf"] = &fstest.MapFile{Data: []byte("root=LABEL=folder rd.iscsi.password=" + secret)}
	m["etc/cmdline.d/README"] = &fstest.MapFile{Data: []byte("netroot=iscsi:192.168.50.9::::iqn.2009-06.dracut:no")}
	if _, err := Read(Sources{FS: m}); !errors.Is(err, ErrNothing) {
		t.Errorf("on a system that is installed they are read: %v", err)
	}
	for _, name := range []string{"etc/initrd-release", "usr/lib/initrd-release"} {
		image := fstest.MapFS{name: {}}
		for file, text := range m {
			image[file] = text
		}
		p, err := Read(Sources{FS: image})
		if err != nil || len(p.Targets) != 1 || p.Targets[0].Name != "iqn.2009-06.dracut:t" || p.Targets[0].CHAP == nil || p.Targets[0].CHAP.Password != secret {
			t.Fatalf("%+v, %v", p.Targets, err)
		}
		if p.Root.Device != "LABEL=kernel" || p.NICs[0].Name != "eth1" || p.Initiator.Name != "iqn.2009-06.dracut:host" {
			t.Errorf("%+v", p)
		}
		for _, w := range p.Warnings {
			if w == secretShows {
				t.Error("a secret of the image is said to stand in /proc/cmdline")
			}
		}
		image["etc/cmdline.d/96wrong.conf"] = &fstest.MapFile{Data: []byte("netroot=iscsi:nonsense")}
		if _, err := Read(Sources{FS: image}); err == nil || !strings.HasPrefix(err.Error(), "/etc/cmdline.d/96wrong.conf: ") {
			t.Errorf("a mistake in a file is of another place: %v", err)
		}
	}
}

// A root that another program understands is no mistake; where it is on no disk, the
// firmware's target is not wanted.
func TestOtherRoot(t *testing.T) {
	for line, want := range map[string]string{
		"root=live:LABEL=iso":                       "live",
		"root=zfs:AUTO":                             "zfs",
		"root=gpt-auto":                             "gpt-auto",
		"root=nfs:192.168.50.1:/root":               "nothing",
		"root=nbd:192.168.50.1:1 rd.iscsi.firmware": "nbd",
		"root=live:LABEL=iso root=LABEL=root":       "",
	} {
		p, err := Read(Sources{FS: tree(t, line, table())})
		got := p.Root.Other
		if errors.Is(err, ErrNothing) {
			got, err = "nothing", nil
		}
		if got != want || err != nil {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
}
