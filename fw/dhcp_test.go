package fw

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
)

const server = "DHCP (192.168.50.1)"

// asking is the plan of a machine that root=dhcp asks.
func asking(t testing.TB, line string) *Plan {
	t.Helper()
	p, err := read("root=dhcp rd.iscsi.initiator=" + host + " " + line)
	if err != nil || p.AskDHCP != "root=dhcp" || len(p.Targets) > 0 {
		t.Fatalf("%s: %+v, %v", line, p, err)
	}
	return p
}

// TestRootPath reads RFC 4173's grammar and what is in the field.
func TestRootPath(t *testing.T) {
	const name = "iqn.2009-06.com.example:disk"
	for _, tt := range []struct {
		path string
		want Target
	}{
		{"iscsi:192.168.50.1:6:3261:1:" + name, Target{Host: "192.168.50.1", Port: 3261, LUN: lun(1), Name: name}},
		{"iscsi:192.168.50.1::::" + name, Target{Host: "192.168.50.1", Name: name}},
		{"ISCSI:192.168.50.1::::" + name, Target{Host: "192.168.50.1", Name: name}},
		{"iSCSI:storage.example.com::::" + name, Target{Host: "storage.example.com", Name: name}},
		{"iscsi:[2001:db8::1]::::" + name, Target{Host: "2001:db8::1", Name: name}},
		{"iscsi:192.168.50.1::::iqn.2009-06.com.example:a:b:c", Target{Host: "192.168.50.1", Name: "iqn.2009-06.com.example:a:b:c"}},
		{"iscsi:192.168.50.1::::eui.02004567A425678D", Target{Host: "192.168.50.1", Name: "eui.02004567A425678D"}},
		{"iscsi:192.168.50.1:::4752-3A4F-6b7e-2F99:" + name, Target{Host: "192.168.50.1", LUN: ibft.LUN{0x47, 0x52, 0x3a, 0x4f, 0x6b, 0x7e, 0x2f, 0x99}, Name: name}},
		{"iscsi:192.168.50.1:::6734-9-156f-127:" + name, Target{Host: "192.168.50.1", LUN: ibft.LUN{0x67, 0x34, 0, 9, 0x15, 0x6f, 1, 0x27}, Name: name}},
		{"iscsi:192.168.50.1:::4186-9:" + name, Target{Host: "192.168.50.1", LUN: ibft.LUN{0x41, 0x86, 0, 9}, Name: name}},
		{"iscsi:192.168.50.1:::40:" + name, Target{Host: "192.168.50.1", LUN: lun(64), Name: name}}, // QLogic
		{"iscsi:192.168.50.1:6:3260:" + name, Target{Host: "192.168.50.1", Name: name}},             // without the LUN's colon
		{"iscsi:@192.168.50.1::::" + name, Target{Host: "192.168.50.1", Name: name}},
		{"iscsi:user:secret-of-user@192.168.50.1::::" + name, Target{Host: "192.168.50.1", Name: name,
			CHAP: &CHAP{Username: "user", Password: "secret-of-user", From: server}}},
		{"iscsi:192.168.50.1:::default:eth0:1:" + name, Target{Host: "192.168.50.1", LUN: lun(1), Name: name}},
		{" \"iscsi:192.168.50.1::::" + name + "\"\x00", Target{Host: "192.168.50.1", Name: name}},
		{"'iscsi:192.168.50.1::::" + name + "'\n", Target{Host: "192.168.50.1", Name: name}},
		{"iscsi:192.168.50.1::::", Target{Host: "192.168.50.1"}}, // the only one there
		{"iscsi:[2001:db8::1]:6:860:4001:", Target{Host: "2001:db8::1", Port: 860, LUN: ibft.LUN{0x40, 1}}},
		{"iscsi:user:secret-of-user@storage.example.com:::1:", Target{Host: "storage.example.com", LUN: lun(1),
			CHAP: &CHAP{Username: "user", Password: "secret-of-user", From: server}}},
	} {
		want := tt.want
		want.Index, want.NIC, want.Port, want.From = -1, 0, orDefault(want.Port), server
		// A boot file URL has the same grammar.
		for i, l := range []Lease{{RootPath: tt.path, From: server}, {BootFileURL: tt.path, From: server}} {
			p := asking(t, "")
			if err := p.Lease(0, l); err != nil {
				t.Errorf("%s: %v", tt.path, err)
			}
			if diff := cmp.Diff([]Target{want}, p.Targets, options()); diff != "" {
				t.Errorf("%d %s (-want +got):\n%s", i, tt.path, diff)
			}
			// It is the same a second time.
			if err := p.Lease(0, l); err != nil || len(p.Targets) != 1 {
				t.Errorf("%s: twice gives %v, %v", tt.path, p.Targets, err)
			}
		}
	}
}

// TestRootPathErrors: each lease names no target that can be used; the error
// says who gave it, and what the right form is, and shows no secret.
func TestRootPathErrors(t *testing.T) {
	const name = "iqn.2009-06.com.example:disk"
	for _, tt := range []struct{ path, why, warning string }{
		{"", "option 17", ""},
		{"/srv/nfs", "option 17", "not of iSCSI"},
		{"nfs:192.168.50.1:/srv", "option 17", "not of iSCSI"},
		{"http://192.168.50.1/boot.efi", "option 17", "not of iSCSI"},
		{"iscsi", "no target", ""},
		{"iscsi:", "no target", ""},
		{"iscsi:ibft", "no target", ""},
		{"iscsi:192.168.50.1", "no target name", ""},
		{"iscsi:::::" + name, "server is missing", ""},
		{"iscsi:::::", "server is missing", ""},
		{"iscsi:192.168.50.1:", "fields", ""},
		{"iscsi:u:open-sesame:192.168.50.1::::", "not 6 (TCP)", ""},
		{"iscsi:2001:db8::1::::" + name, "in [brackets]", ""},
		{"iscsi:192.168.50.1:17:::" + name, "not 6 (TCP)", ""},
		{"iscsi:192.168.50.1::70000::" + name, "1 to 65535", ""},
		{"iscsi:192.168.50.1:::12345:" + name, "four groups", ""},
		{"iscsi:u:open-sesame@192.168.50.1:x:::" + name, "not 6 (TCP)", ""},
		{"iscsi:u:open-sesame:192.168.50.1::::" + name, "not 6 (TCP)", ""},
		{"iscsi:u:open-sesame:v:open-sesame@192.168.50.1::::" + name, "both directions", ""},
		{"isci:u:open-sesame@192.168.50.1::::" + name, "option 17", "***@192.168.50.1"},
		{"u:open-sesame@192.168.50.1", "option 17", "***@192.168.50.1"},
	} {
		p := asking(t, "")
		err := p.Lease(0, Lease{RootPath: tt.path, From: server})
		var e *Error
		if err == nil || !errors.As(err, &e) || e.Place != server || e.Form == "" || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%q: error %v, want %q", tt.path, err, tt.why)
		}
		if warnings := fmt.Sprint(p.Warnings); len(p.Targets) > 0 || !strings.Contains(warnings, tt.warning) || strings.Contains(warnings+fmt.Sprint(err), "open-sesame") {
			t.Errorf("%q: targets %v, warnings %s, error %v", tt.path, p.Targets, warnings, err)
		}
	}
}

// TestLease: what a lease says beside the target, and where other sources go
// before it.
func TestLease(t *testing.T) {
	const path = "iscsi:192.168.50.1::::iqn.2009-06.com.example:disk"
	lease := Lease{RootPath: path, InitiatorName: "iqn.2009-06.com.example:leased", Hostname: "leased", From: server}
	leased := Initiator{"iqn.2009-06.com.example:leased", server}
	uuid := map[string]string{"sys/class/dmi/id/product_uuid": "4c4c4544-0042-3510-8052-b4c04f4e5a31\n"}
	for _, tt := range []struct {
		line      string
		files     map[string]string
		initiator Initiator
		hostname  string
	}{
		{"root=dhcp", uuid, leased, "leased"},
		{"root=dhcp", nil, leased, "leased"},
		{"root=dhcp ip=52:54:00:12:34:ab:dhcp", nil, leased, "leased"},
		{"root=dhcp", map[string]string{"etc/iscsi/initiatorname.iscsi": "InitiatorName=" + host}, leased, "leased"},
		{"root=dhcp", map[string]string{"etc/initiatorname.iscsi": "InitiatorName=" + host}, leased, "leased"},
		{"root=dhcp", map[string]string{"etc/rootlun/credentials": "InitiatorName=" + host}, Initiator{host, "/etc/rootlun/credentials"}, "leased"},
		{"root=dhcp rd.iscsi.initiator=" + host, nil, Initiator{host, "rd.iscsi.initiator="}, "leased"},
		{"root=dhcp ip=::::mine:eth0:dhcp", uuid, leased, "mine"},
		{"netroot=" + path + " ip=dhcp", uuid, leased, "leased"}, // the target is known: the rest counts all the same
	} {
		m := tree(t, tt.line, nil)
		for name, text := range tt.files {
			m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o600}
		}
		p, err := Read(Sources{FS: m})
		if err != nil {
			t.Fatalf("%s: %v", tt.line, err)
		}
		if err := p.Lease(0, lease); err != nil {
			t.Errorf("%s: %v", tt.line, err)
		}
		if p.Initiator != tt.initiator || p.NICs[0].Hostname != tt.hostname || len(p.Targets) != 1 || len(p.Warnings) > 0 {
			t.Errorf("%s %v: %+v, host name %q, targets %v, warnings %q", tt.line, tt.files, p.Initiator, p.NICs[0].Hostname, p.Targets, p.Warnings)
		}
		// The next server does not take back what the first has said.
		if err := p.Lease(0, Lease{RootPath: path, InitiatorName: "iqn.2009-06.com.example:late", Hostname: "late", From: "DHCP (192.168.50.2)"}); err != nil {
			t.Error(err)
		}
		if p.Initiator != tt.initiator || p.NICs[0].Hostname != tt.hostname || len(p.Targets) != 1 {
			t.Errorf("%s: after a second lease %+v, host name %q, targets %v", tt.line, p.Initiator, p.NICs[0].Hostname, p.Targets)
		}
	}
}

// TestLeaseNames: names that are none do not get into the plan.
func TestLeaseNames(t *testing.T) {
	p, err := read("root=dhcp ip=52:54:00:12:34:ab:dhcp")
	if err != nil {
		t.Fatal(err)
	}
	made := p.Initiator
	err = p.Lease(0, Lease{RootPath: "iscsi:192.168.50.1::::iqn.2009-06.com.example:disk", InitiatorName: "me", Hostname: "a b", From: server})
	if err == nil || !strings.Contains(err.Error(), "option 203") || !strings.Contains(fmt.Sprint(p.Warnings), `"a b"`) ||
		p.Initiator != made || p.NICs[0].Hostname != "" || len(p.Targets) != 1 {
		t.Errorf("%v, %+v", err, p)
	}
	if p, err = read("root=dhcp"); err != nil { // DHCP may have the name that nothing here has
		t.Fatal(err)
	}
	if err := p.Lease(0, Lease{RootPath: "iscsi:192.168.50.1::::iqn.2009-06.com.example:disk", From: server}); err == nil || !strings.Contains(err.Error(), "initiator name") {
		t.Errorf("no name anywhere: %v", err)
	}
}

// TestLeaseOfTwo: two NICs with one target are two ways to it.
func TestLeaseOfTwo(t *testing.T) {
	p := asking(t, "ip=eth0:dhcp ip=eth1:dhcp")
	for nic, path := range []string{"iscsi:192.168.50.1::::iqn.2009-06.com.example:disk", "iscsi:192.168.50.1::::iqn.2009-06.com.example:disk"} {
		if err := p.Lease(nic, Lease{RootPath: path, From: server}); err != nil {
			t.Fatal(err)
		}
	}
	// One more has none; the others stay.
	if err := p.Lease(1, Lease{From: "DHCP (192.168.60.1)"}); err == nil {
		t.Error("no error of the lease without a root-path")
	}
	if len(p.Targets) != 2 || p.Targets[0].NIC != 0 || p.Targets[1].NIC != 1 {
		t.Errorf("targets %+v", p.Targets)
	}
}

// TestLeaseNotAsked: who has a target does not take DHCP's.
func TestLeaseNotAsked(t *testing.T) {
	for _, tt := range []struct {
		line string
		tab  *ibft.Table
		from string
	}{
		{disk + "root=dhcp", nil, "netroot="},
		{"root=dhcp", table(), "iBFT (ACPI)"},
		{"netroot=dhcp rd.iscsi.firmware=1", table(), "iBFT (ACPI)"},
		{"netroot=iscsi", table(), "iBFT (ACPI)"},
	} {
		p, err := Read(Sources{FS: tree(t, tt.line, tt.tab)})
		if err != nil || p.AskDHCP != "" {
			t.Fatalf("%s: asks %q, %v", tt.line, p.AskDHCP, err)
		}
		if err := p.Lease(0, Lease{RootPath: "iscsi:192.168.50.9::::iqn.2009-06.com.example:other", From: server}); err != nil {
			t.Error(err)
		}
		if len(p.Targets) != 1 || p.Targets[0].From != tt.from {
			t.Errorf("%s: targets %+v", tt.line, p.Targets)
		}
	}
}

// TestAskDHCP: which words ask, and which NICs.
func TestAskDHCP(t *testing.T) {
	noTarget := table()
	noTarget.Targets = nil
	dhcp := NIC{Index: -1, DHCP: true, Origin: "dhcp", From: "ip=", AddressFrom: "ip="}
	word := func(n NIC, w string) NIC { n.From, n.AddressFrom = w, w; return n }
	fromTable := plan("iBFT (ACPI)").NICs[0]
	fromTable.DHCP, fromTable.Origin, fromTable.Address, fromTable.AddressFrom = true, "dhcp", nil, "root=dhcp"
	fromTable.Gateway, fromTable.DNS = dhcp.Gateway, nil
	for _, tt := range []struct {
		line, ask string
		tab       *ibft.Table
		nic       NIC
	}{
		{"root=dhcp", "root=dhcp", nil, word(dhcp, "root=dhcp")},
		{"netroot=dhcp", "netroot=dhcp", nil, word(dhcp, "netroot=dhcp")},
		{"netroot=iscsi", "netroot=iscsi", nil, word(dhcp, "netroot=iscsi")},
		{"root=iscsi", "root=iscsi", nil, word(dhcp, "root=iscsi")},
		{"root=dhcp ip=dhcp", "root=dhcp", nil, dhcp},
		{"root=LABEL=x netroot=dhcp ip=dhcp", "netroot=dhcp", nil, dhcp},
		{"netroot=iscsi rd.iscsi.firmware=0", "netroot=iscsi", table(), word(dhcp, "netroot=iscsi")},
		{"root=dhcp rd.iscsi.firmware=1", "root=dhcp", nil, word(dhcp, "root=dhcp")},
		{"root=dhcp", "root=dhcp", noTarget, fromTable},
	} {
		p, err := Read(Sources{FS: tree(t, tt.line+" rd.iscsi.initiator="+host, tt.tab)})
		if err != nil || p.AskDHCP != tt.ask {
			t.Errorf("%s: asks %q, %v", tt.line, p.AskDHCP, err)
		}
		if diff := cmp.Diff([]NIC{tt.nic}, p.NICs, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
	}
	for _, line := range []string{"root=dhcp root=LABEL=x", "root=iscsi root=/dev/sda"} { // the last root= counts
		if p, _ := read(line); p.AskDHCP != "" {
			t.Errorf("%s: asks %q", line, p.AskDHCP)
		}
	}
	bad := tree(t, "root=dhcp rd.iscsi.initiator="+host, nil) // a broken table is no reason not to ask
	bad[acpi] = &fstest.MapFile{Data: []byte("iBFT, more or less")}
	if p, err := Read(Sources{FS: bad}); err != nil || p.AskDHCP == "" || len(p.Warnings) != 1 {
		t.Errorf("with a broken table: %+v, %v", p, err)
	}
}

// TestKeptLeases: klibc's ipconfig has asked already.
func TestKeptLeases(t *testing.T) {
	conf := "DEVICE='eth0'\nPROTO='dhcp'\nIPV4ADDR='192.168.50.9'\nHOSTNAME='node'\nROOTPATH='iscsi:192.168.50.1::::iqn.2009-06.com.example:it'\\''s'\n"
	m := tree(t, "root=dhcp ip=eth1:dhcp ip=eth0:dhcp rd.iscsi.initiator="+host, nil)
	m["run/net-eth0.conf"] = &fstest.MapFile{Data: []byte(conf)}
	m["run/net-eth1.conf"] = &fstest.MapFile{Data: []byte("DEVICE='eth1'\nROOTPATH=''\n")}
	p, err := Read(Sources{FS: m})
	want := []Target{{Index: -1, NIC: 1, Name: "iqn.2009-06.com.example:it's", Host: "192.168.50.1", Port: 3260, From: "/run/net-eth0.conf"}}
	if diff := cmp.Diff(want, p.Targets, options()); diff != "" || err != nil || p.NICs[1].Hostname != "node" {
		t.Errorf("%v, NICs %+v (-want +got):\n%s", err, p.NICs, diff)
	}
	m["run/net-eth0.conf"].Data = []byte("ROOTPATH='iscsi:u:open-sesame@nonsense'")
	if p, err = Read(Sources{FS: m}); err != nil || len(p.Targets) > 0 || !strings.Contains(fmt.Sprint(p.Warnings), "/run/net-eth0.conf") {
		t.Errorf("nonsense: %+v, %v", p, err)
	}
	m["proc/cmdline"].Data = []byte(disk) // not asked: not read
	if p, err = Read(Sources{FS: m}); err != nil || len(p.Targets) != 1 || len(p.Warnings) > 0 {
		t.Errorf("not asked: %+v, %v", p, err)
	}
}

func FuzzRootPath(f *testing.F) {
	f.Add("iscsi:", "192.168.50.1:6:3260:4752-3A4F-6b7e-2F99:iqn.2009-06.com.example:disk")
	f.Add("\"ISCSI:", "[fe80::1%eth0]:::default:eth0:0:eui.02004567A425678D\"\x00")
	f.Add("isci:", "192.168.50.1::::iqn.2009-06.com.example:disk")
	f.Add("iscsi:", "")
	f.Fuzz(func(t *testing.T, kind, rest string) {
		const secret = "open:sesame" // it has the grammar's own sign in it
		for _, l := range []Lease{
			{RootPath: kind + rest, From: server}, {BootFileURL: kind + "user:" + secret + "@" + rest, From: server},
		} {
			p := asking(t, "")
			err := p.Lease(0, l)
			if (err == nil) != (len(p.Targets) == 1) {
				t.Errorf("%+v: targets %+v, error %v", l, p.Targets, err)
			}
			for _, g := range p.Targets {
				if _, bad := checkName(g.Name); bad != nil || checkHost(g.Host) != nil || g.Port == 0 || g.NIC != 0 || g.From != server {
					t.Errorf("%+v: an unusable target %+v", l, g)
				}
			}
			if text := fmt.Sprint(err, p.Warnings); l.RootPath == "" && strings.Contains(text, "sesame") && !strings.Contains(kind+rest, "sesame") {
				t.Errorf("%+v: a secret shows: %s", l, text)
			}
		}
	})
}

func FuzzLease(f *testing.F) {
	f.Add(0, "iscsi:192.168.50.1::::iqn.2009-06.com.example:disk", "iqn.2009-06.com.example:leased", "node", "iscsi:[2001:db8::1]::::eui.02004567A425678D", false)
	f.Add(-1, "/srv", "me", "a b", "http://[2001:db8::1]/x", true)
	f.Add(7, "'", "\x00", "\"\"", " ", false)
	f.Fuzz(func(t *testing.T, nic int, rootPath, initiator, hostname, url string, known bool) {
		line := "root=dhcp ip=52:54:00:12:34:ab:dhcp"
		if known {
			line += " rd.iscsi.initiator=" + host
		}
		p, err := read(line)
		if err != nil {
			t.Fatal(err)
		}
		l := Lease{RootPath: rootPath, InitiatorName: initiator, Hostname: hostname, BootFileURL: url, From: server}
		_ = p.Lease(nic, l)
		targets, warnings := len(p.Targets), len(p.Warnings)
		if _, err := checkName(p.Initiator.Name); err != nil || known && p.Initiator.Name != host {
			t.Errorf("initiator %+v, %v", p.Initiator, err)
		}
		if h := p.NICs[0].Hostname; h != "" && checkHostname(h) != nil {
			t.Errorf("host name %q", h)
		}
		for _, g := range p.Targets {
			if g.NIC < -1 || g.NIC >= len(p.NICs) {
				t.Errorf("target %+v", g)
			}
		}
		_ = p.Lease(nic, l)
		if len(p.Targets) != targets || len(p.Warnings) != warnings {
			t.Errorf("a second time it adds: %+v, %q", p.Targets, p.Warnings)
		}
	})
}

func FuzzKeptLease(f *testing.F) {
	f.Add("DEVICE='eth0'\nROOTPATH='iscsi:192.168.50.1::::iqn.2009-06.com.example:it'\\''s'\nHOSTNAME='x'")
	f.Add("ROOTPATH='\n=\n'=''''")
	f.Fuzz(func(t *testing.T, text string) {
		m := tree(t, "root=dhcp rd.iscsi.initiator="+host, nil)
		m["run/net-eth0.conf"] = &fstest.MapFile{Data: []byte(text)}
		if p, err := Read(Sources{FS: m}); err != nil || p.AskDHCP == "" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}
