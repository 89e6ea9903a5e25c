package fw

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestPrecedence: a command line over the firmware's table.
func TestPrecedence(t *testing.T) {
	const netroot = "netroot=iscsi:192.168.50.7::::iqn.2009-06.dracut:t "
	own := Target{Index: -1, Name: "iqn.2009-06.dracut:t", Host: "192.168.50.7", Port: 3260, From: "netroot="}
	over := func(p *Plan) *NIC {
		n := &p.NICs[0]
		n.DHCP, n.Origin, n.Address, n.Gateway, n.DNS = false, "static", pfx("10.0.0.2/8"), netip.Addr{}, nil
		n.AddressFrom = "ip="
		return n
	}
	apart := func(p *Plan, n NIC) {
		n.Index, n.From, n.AddressFrom = -1, "ip=", "ip="
		p.NICs = append(p.NICs, n)
	}
	for _, tt := range []struct {
		line  string
		files map[string]string
		want  func(*Plan)
	}{
		{"rd.iscsi.firmware=1", nil, func(p *Plan) {}},
		{"rd.iscsi.firmware", nil, func(p *Plan) {}},
		{"iscsi_firmware", nil, func(p *Plan) {}},
		{"iscsi_auto", nil, func(p *Plan) {}},
		{"netroot=iscsi rd.iscsi.firmware=1 rd.iscsi.param=node.session.timeo.replacement_timeout=30", nil, func(p *Plan) {
			p.Params = []Param{{"node.session.timeo.replacement_timeout", "30"}}
		}},
		{"root=iscsi", nil, func(p *Plan) {}},
		{"root=dhcp", nil, func(p *Plan) {}},
		{"root=UUID=1-2 rw", nil, func(p *Plan) { p.Root.Device, p.Root.ReadOnly = "UUID=1-2", false }},

		// Targets: never one's name with the other's portal.
		{netroot, nil, func(p *Plan) { p.Targets = []Target{own} }},
		{netroot + "rd.iscsi.firmware=1", nil, func(p *Plan) { p.Targets = []Target{own, p.Targets[0]} }},
		{netroot + "rd.iscsi.firmware=0 rd.iscsi.initiator=" + host, nil, func(p *Plan) {
			p.Initiator.From, p.Targets = "rd.iscsi.initiator=", []Target{own}
			p.NICs = []NIC{{Index: -1, DHCP: true, Origin: "dhcp", From: "default", AddressFrom: "default"}}
		}},
		{"netroot=iscsi:192.168.50.1:::1:iqn.2009-06.com.example:disk rd.iscsi.firmware=1", nil, func(p *Plan) {
			p.Targets[0] = Target{Index: -1, Name: "iqn.2009-06.com.example:disk", Host: "192.168.50.1", Port: 3260, LUN: lun(1), From: "netroot="}
		}},
		{netroot + "rd.iscsi.firmware=1 rd.iscsi.username=u rd.iscsi.password=the-secret-of-u", nil, func(p *Plan) {
			p.Targets = []Target{own, p.Targets[0]}
			p.Warnings = []string{secretShows}
			p.Targets[0].CHAP = &CHAP{Username: "u", Password: "the-secret-of-u", From: "rd.iscsi.password="}
			p.Targets[1].CHAP = &CHAP{"u", "the-secret-of-u", "back", "secret-of-back", "rd.iscsi.password="}
		}},

		// Initiator.
		{"rd.iscsi.initiator=iqn.2009-06.dracut:me", nil, func(p *Plan) {
			p.Initiator = Initiator{"iqn.2009-06.dracut:me", "rd.iscsi.initiator="}
		}},
		{"", map[string]string{"etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.2009-06.dracut:etc\n"}, func(p *Plan) {}},

		// Addresses.
		{"ip=ibft", nil, func(p *Plan) {}},
		{"rd.iscsi.ibft=1", nil, func(p *Plan) {}},
		{"ip=192.168.50.9:::24::eth0:ibft", nil, func(p *Plan) {
			n := over(p)
			n.Address, n.Name = pfx("192.168.50.9/24"), "eth0"
		}},
		{"ip=10.0.0.2:::8:::none", nil, func(p *Plan) { over(p) }},
		{"ip=10.0.0.2:::8::52:54:00:12:34:AB:none", nil, func(p *Plan) { over(p) }},
		{"ip=10.0.0.2:::8::eth0:none:9000", nil, func(p *Plan) { n := over(p); n.Name, n.MTU = "eth0", 9000 }},
		{"ip=10.0.0.2:::8:me:boot:none ifname=boot:52:54:00:12:34:ab", nil, func(p *Plan) { over(p).Hostname = "me" }},
		{"ip=10.0.0.2:::8::eth0:none", map[string]string{"sys/class/net/eth0/address": "52:54:00:12:34:ab\n"}, func(p *Plan) { over(p).Name = "eth0" }},
		{"ip=10.0.0.2:::8::eth0:none", map[string]string{"sys/class/net/eth0/address": "52:54:00:00:00:01\n"}, func(p *Plan) {
			apart(p, NIC{Name: "eth0", Origin: "static", Address: pfx("10.0.0.2/8")})
		}},
		{"ip=52:54:00:00:00:01:dhcp", nil, func(p *Plan) { apart(p, NIC{MAC: "52:54:00:00:00:01", DHCP: true, Origin: "dhcp"}) }},
		{"ip=dhcp", nil, func(p *Plan) { n := over(p); n.DHCP, n.Origin, n.Address = true, "dhcp", nil }},
		{"ip=auto6", nil, func(p *Plan) {
			n := over(p)
			n.RA, n.Origin, n.Address = true, "ra", nil
		}},
		{"ip=eth0:either6", nil, func(p *Plan) {
			n := over(p)
			n.RA, n.DHCP6, n.Origin, n.Address, n.Name = true, true, "ra", nil, "eth0"
		}},
		{netroot + "ip=eth0:dhcp", nil, func(p *Plan) {
			p.Targets, p.NICs = []Target{own}, nil
			apart(p, NIC{Name: "eth0", DHCP: true, Origin: "dhcp"})
		}},
		{netroot + "ip=none", nil, func(p *Plan) {
			p.Targets, p.NICs = []Target{own}, nil
			p.Targets[0].NIC = -1
		}},
	} {
		m := tree(t, tt.line, table())
		for name, text := range tt.files {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		want := plan("iBFT (ACPI)")
		tt.want(want)
		got, err := Read(Sources{FS: m})
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if diff := cmp.Diff(want, got, options(), cmpopts.IgnoreFields(Plan{}, "Credentials")); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", tt.line, tt.files, diff)
		}
	}
}

// TestTwoNICs: an ip= without a device is about the NIC of the first target,
// or, for DHCP, about all.
func TestTwoNICs(t *testing.T) {
	tab := table()
	tab.NICs = append(tab.NICs, tab.NICs[0])
	tab.NICs[1].Index, tab.NICs[1].MAC, tab.Targets[0].NIC = 1, [6]byte{0x52, 0x54, 0, 0, 0, 1}, 1
	for line, want := range map[string][]string{
		"":                        {"iBFT (ACPI)", "iBFT (ACPI)"},
		"ip=10.0.0.2:::8:::none":  {"iBFT (ACPI)", "ip="},
		"ip=dhcp":                 {"ip=", "ip="},
		"ip=52-54-00-00-00-01:on": {"iBFT (ACPI)", "ip="},
		"ip=eth7:dhcp":            {"iBFT (ACPI)", "iBFT (ACPI)", "ip="},
	} {
		p, err := Read(Sources{FS: tree(t, line, tab)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range p.NICs {
			got = append(got, n.AddressFrom)
		}
		if diff := cmp.Diff(want, got); diff != "" || p.Targets[0].NIC != 1 {
			t.Errorf("%q: target's NIC %d (-want +got):\n%s", line, p.Targets[0].NIC, diff)
		}
	}
}

func TestTargetText(t *testing.T) {
	for _, tt := range []struct {
		g            Target
		portal, auth string
	}{
		{Target{Host: "192.168.50.1", Port: 3260}, "192.168.50.1:3260", "none"},
		{Target{Host: "2001:db8::1", Port: 3261, CHAP: &CHAP{Username: "u", Password: "p"}}, "[2001:db8::1]:3261", "chap"},
		{Target{Host: "storage", Port: 3260, CHAP: &CHAP{Username: "u", Password: "p", PasswordIn: "q"}}, "storage:3260", "mutual"},
	} {
		if portal, auth := tt.g.Portal(), tt.g.Auth(); portal != tt.portal || auth != tt.auth {
			t.Errorf("got %s, %s, want %s, %s", portal, auth, tt.portal, tt.auth)
		}
	}
}

func TestInitiator(t *testing.T) {
	const line = "netroot=iscsi:192.168.50.7::::iqn.2009-06.dracut:t "
	const uuid = "sys/class/dmi/id/product_uuid"
	for _, tt := range []struct {
		line    string
		files   map[string]string
		want    Initiator
		warning string
	}{
		{line, map[string]string{"etc/iscsi/initiatorname.iscsi": "# mine\nInitiatorName=iqn.2009-06.dracut:a\n",
			"etc/initiatorname.iscsi": "InitiatorName=iqn.2009-06.dracut:b\n"}, Initiator{"iqn.2009-06.dracut:a", "/etc/iscsi/initiatorname.iscsi"}, ""},
		{line, map[string]string{"etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n#InitiatorName=iqn.2009-06.dracut:a\nInitiatorName=\n",
			"etc/initiatorname.iscsi": "InitiatorName=iqn.2009-06.dracut:b"}, Initiator{"iqn.2009-06.dracut:b", "/etc/initiatorname.iscsi"}, ""},
		{line, map[string]string{"etc/initiatorname.iscsi": "InitiatorName=me\n"}, Initiator{"me", "/etc/initiatorname.iscsi"}, `"me"`},
		{line, map[string]string{uuid: "4C4C4544-0042-3510-8052-B4C04F4E5A31\n"},
			Initiator{madePrefix + "4c4c4544-0042-3510-8052-b4c04f4e5a31", "the machine's UUID"}, "is made from the machine's UUID"},
		{line + "ip=52:54:00:12:34:ab:dhcp", map[string]string{uuid: "00000000-0000-0000-0000-000000000000\n"},
			Initiator{madePrefix + "525400 12 34ab", "the NIC's MAC"}, "is made from the NIC's MAC"},
		{line + "ip=dhcp", map[string]string{"sys/class/net/br0/address": "52:54:00:12:34:aa\n", "sys/class/net/eth0/address": "52:54:00:12:34:ab\n", "sys/class/net/eth0/device/vendor": ""},
			Initiator{madePrefix + "525400 12 34ab", "the NIC's MAC"}, "is made from the NIC's MAC"},
	} {
		tt.want.Name = strings.ReplaceAll(tt.want.Name, " ", "")
		m := tree(t, tt.line, nil)
		for name, text := range tt.files {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		p, err := Read(Sources{FS: m})
		if err != nil {
			t.Errorf("%v: %v", tt.files, err)
			continue
		}
		if p.Initiator != tt.want || !strings.Contains(fmt.Sprint(p.Warnings), tt.warning) || tt.warning == "" && p.Warnings != nil {
			t.Errorf("%v: got %+v, warnings %q", tt.files, p.Initiator, p.Warnings)
		}
		if _, err := checkName(p.Initiator.Name); err != nil && p.Initiator.Name != "me" {
			t.Errorf("%v: %v", tt.files, err)
		}
	}
	for _, bad := range []string{"", "ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009", "Not Settable"} {
		m := tree(t, line, nil)
		m[uuid] = &fstest.MapFile{Data: []byte(bad + "\n")}
		if p, err := Read(Sources{FS: m}); err == nil || !strings.Contains(err.Error(), "rd.iscsi.initiator=") {
			t.Errorf("UUID %q: got %+v, %v", bad, p.Initiator, err)
		}
	}
}

// TestFirmwareBeside: what is wrong with the firmware is a warning to a command
// line that does without it.
func TestFirmwareBeside(t *testing.T) {
	bad := fstest.MapFS{
		"proc/cmdline": {Data: []byte(disk + "rd.iscsi.firmware=1")},
		acpi:           {Data: []byte("iBFT, more or less")},
	}
	p, err := Read(Sources{FS: bad})
	if err != nil || len(p.Targets) != 1 || len(p.Warnings) != 2 || !strings.Contains(p.Warnings[0], "/"+acpi) {
		t.Errorf("got %+v, %v", p, err)
	}
	bad["proc/cmdline"].Data = []byte(disk + "rd.iscsi.firmware=0")
	if p, err = Read(Sources{FS: bad}); err != nil || len(p.Warnings) != 0 {
		t.Errorf("rd.iscsi.firmware=0: got %+v, %v", p, err)
	}
	noInitiator := table()
	noInitiator.Initiator = nil
	if p, err = Read(Sources{FS: tree(t, "rd.iscsi.initiator="+host, noInitiator)}); err != nil || p.Initiator.Name != host {
		t.Errorf("no initiator structure: got %+v, %v", p, err)
	}
}
