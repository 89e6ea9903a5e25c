package fw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"github.com/rootlun/rootlun/ibft"
)

// hidden is in every secret that the fuzz targets put into their input.
const hidden = "s3cr3t"

// sound checks what holds of every plan, whatever it was made of.
func sound(t *testing.T, p *Plan, err error) {
	t.Helper()
	if p == nil {
		t.Fatal("no plan")
	}
	if err == nil && (len(p.Targets) == 0 && p.AskDHCP == "" || p.Initiator.Name == "") {
		t.Errorf("no target or no initiator, and no error: %+v", p)
	}
	if errors.Is(err, ErrNothing) && len(p.Targets) > 0 {
		t.Errorf("nothing asks, and there are targets: %+v", p)
	}
	if len(p.Warnings) > 4000 || len(p.Targets) > 2000 || len(p.NICs) > 2000 {
		t.Errorf("%d warnings, %d targets, %d NICs", len(p.Warnings), len(p.Targets), len(p.NICs))
	}
	texts := append([]string{p.Initiator.Name, p.Initiator.From}, p.Warnings...)
	if err != nil {
		texts = append(texts, strings.Split(err.Error(), "\n")...) // one error a line
	}
	for _, g := range p.Targets {
		if g.Name == "" || g.Host == "" || g.Port == 0 || g.From == "" || g.NIC < -1 || g.NIC >= len(p.NICs) {
			t.Errorf("target %+v of %d NICs", g, len(p.NICs))
		}
		if c := g.CHAP; c != nil && (c.Username == "" || c.Password == "" || c.From == "") {
			t.Errorf("CHAP %+v", c)
		}
		texts = append(texts, g.Name, g.Host, g.From, g.Session)
		if g.CHAP != nil {
			texts = append(texts, g.CHAP.Username, g.CHAP.UsernameIn)
		}
	}
	for _, n := range p.NICs {
		if n.VLAN > 4094 || n.MAC != "" && !isMAC(n.MAC) || n.From == "" {
			t.Errorf("NIC %+v", n)
		}
		for _, a := range n.Address {
			if !a.IsValid() || a.Bits() == 0 || a.Addr().IsUnspecified() {
				t.Errorf("NIC %+v", n)
			}
		}
		texts = append(texts, n.Name, n.MAC, n.PCI, n.Hostname, n.From)
	}
	for _, s := range texts {
		if strings.ContainsFunc(s, unicode.IsControl) || len(s) > 8192 {
			t.Errorf("text %q", s)
		}
		if strings.Contains(s, hidden) {
			t.Errorf("a secret is in %q", s)
		}
	}
}

// FuzzSysfs reads a tree below sys/ given as a list, as recorded ones are:
// iscsi_ibft's, adapters', and sessions.
func FuzzSysfs(f *testing.F) {
	files, err := filepath.Glob("testdata/*.sysfs")
	if err != nil || len(files) == 0 {
		f.Fatalf("no trees below testdata: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, dir := range []string{"firmware/ibft/", "firmware/iscsi_boot3/"} {
			f.Add(strings.ReplaceAll("\n"+string(text), "\n", "\n"+dir))
		}
	}
	m := sysfs(fstest.MapFS{}, table())
	adapter(m, 2, map[string]string{"target0/target-name": "mytest", "target0/ip-addr": "2001:0db8:0000:0000:0000:0000:0000:0001",
		"target0/chap-name": "user", "target0/chap-secret": "x", "target0/lun": "412c000000", "initiator/initiator-name": host})
	adapter(m, 10, map[string]string{"ethernet0/mac": "1", "target0/rev-chap-name": "back", "target0/nic-assoc": "255", "ethernet0/vlan": "41002"})
	m = running(m, 1, "iqn.2009-06.com.example:disk", "LOGGED_IN", map[string]string{
		"persistent_address": "192.168.50.1", "persistent_port": "3260", "address": "192.168.50.7", "port": "3261"})
	m = running(m, 22, "mytest", "FAILED", map[string]string{"address": "2001:db8::1", "port": "3260"})
	var list strings.Builder
	for name, file := range m {
		fmt.Fprintf(&list, "%s %s\n", strings.TrimPrefix(name, "sys/"), strings.TrimSuffix(string(file.Data), "\n"))
	}
	f.Add(list.String())
	f.Add("firmware/iscsi_boot99999999999/target0/lun 0\nclass/iscsi_session/session4294967296/state LOGGED_IN")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 16<<10 || strings.Contains(text, hidden) {
			return
		}
		m := fstest.MapFS{}
		for name, file := range listed(text, "sys/") {
			if !fs.ValidPath(name) {
				continue
			}
			if strings.Contains(name, "secret") && len(file.Data) > 1 {
				file.Data = []byte(hidden + name[len(name)/2:] + "\n")
			}
			m[name] = file
		}
		p, err := Read(Sources{FS: m})
		sound(t, p, err)
	})
}

// FuzzOpenFirmware reads a boot path and an alias of the device tree.
func FuzzOpenFirmware(f *testing.F) {
	f.Add(ofPath, "", false)
	f.Add(ofPath+`:2,\ppc\boot`, ofPath, true)
	f.Add("net:speed=auto,iscsi,bootp,dhcp=192.168.50.9,vtag=5,siaddr=[2001:db8::1],iname=eui.0123456789abcdef,ilun=412c", "/"+ofNode, true)
	f.Add("a/b@1:iscsi,ipv6,dhcpv6,ciaddr=2001:db8::2,subnet-mask=64,itname=dummy,isid=1,isns=1,slp=1,name=1", "\x00", false)
	f.Fuzz(func(t *testing.T, text, alias string, chap bool) {
		if strings.Contains(text+alias, hidden) {
			return
		}
		if chap {
			text += ",ichapid=user,ichappw=" + hidden + "-one,chapid=back,chappw=" + hidden + "-two"
		}
		m := ofMachine(text)
		m[ofTree+"aliases/net"] = &fstest.MapFile{Data: []byte(alias)}
		m[ofTree+"aliases/a"] = m[ofTree+"aliases/net"]
		p, err := Read(Sources{FS: m})
		sound(t, p, err)
		for _, g := range p.Targets {
			if chap != (g.CHAP != nil) && !strings.Contains(text, "chap") {
				t.Errorf("CHAP is asked for: %v, and is %+v", chap, g.CHAP)
			}
		}
	})
}

// FuzzLowMemory puts bytes somewhere into low memory, and takes them for a file.
func FuzzLowMemory(f *testing.F) {
	raw := marshal(f, table())
	files, err := filepath.Glob("../ibft/testdata/*.ibft")
	if err != nil || len(files) == 0 {
		f.Fatalf("no tables: %v", err)
	}
	for i, file := range files {
		recorded, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(recorded, uint32(0x1000*i), i%2 == 0)
	}
	f.Add(raw, uint32(0x1ffe0), false)
	f.Add(broken(raw), uint32(0x7fff0), true)
	f.Add(append(slices.Concat(broken(raw), make([]byte, 16)), raw...), uint32(0x40000), false)
	f.Add(slices.Repeat([]byte("iBFT\x50\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"), 100), uint32(0), true)
	nics := slices.Repeat([]byte{3, 1, 102, 0}, 4000)
	all := append(slices.Clone(raw[:0x48]), nics...)
	for at := 0x38; at < 0x38+2*1000; at += 2 {
		binary.LittleEndian.PutUint16(all[at:], uint16(0x38+2*1000+at*4&^3))
	}
	f.Add(sealed(put16(all, atControl+2, 65535)), uint32(0x40000), true)
	f.Fuzz(func(t *testing.T, raw []byte, at uint32, lenient bool) {
		m := newMemory(nil)
		at %= lowEnd - lowStart
		copy(m.low[at:], raw)
		line := "ro"
		if lenient {
			line = "rd.rootlun.ibft=lenient"
		}
		for _, s := range []Sources{{FS: m}, {FS: fstest.MapFS{}, Table: raw, TableFrom: "/a/file"}} {
			s.Cmdline = &line
			p, err := Read(s)
			sound(t, p, err)
			tab, parseErr := ibft.Parse(raw)
			if s.Table != nil && parseErr == nil && len(fromTable(tab, "").targets) > 0 && len(p.Targets) == 0 {
				t.Errorf("a table with targets, and a plan without: %v", err)
			}
		}
	})
}
