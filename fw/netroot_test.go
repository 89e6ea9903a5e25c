package fw

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rootlun/rootlun/ibft"
)

// options compares plans: addresses by their value, secrets as they are.
func options() cmp.Options {
	return cmp.Options{
		cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(Target{}, "AnyLUN"), // TestAnyLUN has it
	}
}

// of returns the credentials as those of a source.
func (h *CHAP) of(from string) *CHAP {
	if h == nil {
		return nil
	}
	out := *h
	out.From = from
	return &out
}

func lun(n uint64) ibft.LUN { return ibft.LUNFromUint64(n) }

func TestNetroot(t *testing.T) {
	const name = "iqn.2009-06.dracut:target0"
	chap := &CHAP{Username: "user", Password: "secret-of-user"}
	mutual := &CHAP{"user", "secret-of-user", "back", "secret-of-back", ""}
	for _, tt := range []struct {
		in   string
		want Target
	}{
		// dracut.cmdline(7)
		{"192.168.50.1::::" + name, Target{Host: "192.168.50.1", Name: name}},
		{"[2001:DB8::1]::::" + name, Target{Host: "2001:DB8::1", Name: name}},
		// each field
		{"192.168.50.1:6:3261:5:" + name, Target{Host: "192.168.50.1", Port: 3261, LUN: lun(5), Name: name}},
		{"storage.example.com:::1:" + name, Target{Host: "storage.example.com", LUN: lun(1), Name: name}},
		{"user:secret-of-user@192.168.50.1::::" + name, Target{Host: "192.168.50.1", CHAP: chap, Name: name}},
		{"user:secret-of-user:back:secret-of-back@[2001:db8::1]::3260:0:" + name, Target{Host: "2001:db8::1", CHAP: mutual, Name: name}},
		{"user:secret-of-user::secret-of-back@192.168.50.1::::" + name,
			Target{Host: "192.168.50.1", CHAP: &CHAP{"user", "secret-of-user", "", "secret-of-back", ""}, Name: name}},
		{"user:p@ss@192.168.50.1::::" + name, Target{Host: "192.168.50.1", CHAP: &CHAP{Username: "user", Password: "p@ss"}, Name: name}},
		{"192.168.50.1::3260:default:eth0:2:" + name, Target{Host: "192.168.50.1", LUN: lun(2), Name: name}},
		{"192.168.50.1:::::2:" + name, Target{Host: "192.168.50.1", LUN: lun(2), Name: name}},
		{"[fe80::1%eth0]::::" + name, Target{Host: "fe80::1%eth0", Name: name}},
		// an '@' that is no credentials' (dracut's net-lib.sh)
		{"@192.168.1.100::3260::iqn.2009-01.com.example:testdi@sk", Target{Host: "192.168.1.100", Name: "iqn.2009-01.com.example:testdi@sk"}},
		{"192.168.1.100::3260::iqn.2009-01.com.example:testdi@sk", Target{Host: "192.168.1.100", Name: "iqn.2009-01.com.example:testdi@sk"}},
		// target names
		{"10.0.0.1::::iqn.2001-04.com.example:a:b::c", Target{Host: "10.0.0.1", Name: "iqn.2001-04.com.example:a:b::c"}},
		{"10.0.0.1::::iqn.2001-04.com.example:x:iqn.2001-04.com.example:y", Target{Host: "10.0.0.1", Name: "iqn.2001-04.com.example:x:iqn.2001-04.com.example:y"}},
		{"10.0.0.1::::iqn.2001-04.com.example", Target{Host: "10.0.0.1", Name: "iqn.2001-04.com.example"}},
		{"10.0.0.1::::eui.02004567A425678D", Target{Host: "10.0.0.1", Name: "eui.02004567A425678D"}},
		{"10.0.0.1::::naa.62004567BA64678D0123456789ABCDEF", Target{Host: "10.0.0.1", Name: "naa.62004567BA64678D0123456789ABCDEF"}},
		// dracut's parser alone: the LUN's field left out, or the iSCSI interface's
		{"192.168.50.1:::eth0:2:" + name, Target{Host: "192.168.50.1", LUN: lun(2), Name: name}},
		{"10.0.0.1:::" + name, Target{Host: "10.0.0.1", Name: name}},
	} {
		want := tt.want
		want.Index, want.NIC, want.From = -1, 0, "netroot="
		want.CHAP = want.CHAP.of(want.From)
		if want.Port == 0 {
			want.Port = 3260
		}
		p, err := read("rd.iscsi.initiator=iqn.2009-06.dracut:host netroot=iscsi:" + tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if diff := cmp.Diff([]Target{want}, p.Targets, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.in, diff)
		}

		// The same words as root=iscsi: and as the old iscsiroot=.
		for _, word := range []string{"root=iscsi:", "root=iscsi iscsiroot="} {
			p, err := read("rd.iscsi.initiator=iqn.2009-06.dracut:host " + word + tt.in)
			if err != nil {
				t.Errorf("%s%s: %v", word, tt.in, err)
				continue
			}
			want.From = map[string]string{"root=iscsi:": "root="}[word]
			if want.From == "" {
				want.From = "iscsiroot="
			}
			want.CHAP = want.CHAP.of(want.From)
			if diff := cmp.Diff([]Target{want}, p.Targets, options()); diff != "" || p.Root.Device != "" {
				t.Errorf("%s%s: root %q (-want +got):\n%s", word, tt.in, p.Root.Device, diff)
			}
		}
	}
}

// TestLUN has RFC 4173's own examples, which it says are pairwise the same.
func TestLUN(t *testing.T) {
	for in, want := range map[string]ibft.LUN{
		"":                    {},
		"0":                   {},
		"1":                   {0, 1},
		"0001":                {0, 1},
		"0000-0000-0000-0000": {},
		"a":                   {0, 10},
		"10":                  {0, 16},
		"40":                  {0, 64},
		"412c":                {0x41, 0x2c},
		"4752-3A4F-6b7e-2F99": {0x47, 0x52, 0x3a, 0x4f, 0x6b, 0x7e, 0x2f, 0x99},
		"6734-9-156f-127":     {0x67, 0x34, 0, 9, 0x15, 0x6f, 1, 0x27},
		"6734-0009-156f-0127": {0x67, 0x34, 0, 9, 0x15, 0x6f, 1, 0x27},
		"4186-9":              {0x41, 0x86, 0, 9},
		"4186-0009-0000-0000": {0x41, 0x86, 0, 9},
	} {
		var c command
		got, err := c.parseLUN(in)
		if err != nil || got != want {
			t.Errorf("%q: got % x, %v, want % x", in, got, err, want)
		}
		// Who means a decimal number is told.
		if warned := len(c.warnings) > 0; warned != (in == "10" || in == "40") {
			t.Errorf("%q: warnings %q", in, c.warnings)
		}
	}
	for _, in := range []string{"-", "1-", "-1", "0x1", "00000", "g", "1-2-3-4-5", "+1", " 1"} {
		if got, err := new(command).parseLUN(in); err == nil {
			t.Errorf("%q: got % x, want an error", in, got)
		}
	}
}

func TestSeveralTargets(t *testing.T) {
	names := func(p *Plan) (s []string) {
		for _, t := range p.Targets {
			s = append(s, t.Name[len("iqn.2009-06.dracut:"):])
		}
		return s
	}
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"root=UUID=12424547 netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:target0 netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:target1",
			[]string{"target0", "target1"}}, // dracut.cmdline(7)
		{"netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:a root=iscsi:192.168.50.1::::iqn.2009-06.dracut:b", []string{"b", "a"}},
		{"netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:a netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:a", []string{"a"}},
		{"netroot=iscsi:192.168.50.1:::1:iqn.2009-06.dracut:a netroot=iscsi:192.168.50.1:::2:iqn.2009-06.dracut:a", []string{"a", "a"}},
		{"netroot=iscsi rd.iscsi.target.name=iqn.2009-06.dracut:a rd.iscsi.target.ip=192.168.50.1", []string{"a"}},
		{"iscsi_target_name=iqn.2009-06.dracut:a iscsi_target_ip=192.168.50.1 iscsi_target_port=3261 iscsi_target_group=1", []string{"a"}},
		// the server apart, as an empty one has it in RFC 4173
		{"netroot=iscsi:::::iqn.2009-06.dracut:a rd.iscsi.target.ip=192.168.50.1", []string{"a"}},
		{"root=iscsi:::::iqn.2009-06.dracut:a netroot=iscsi:u:p@::::iqn.2009-06.dracut:b rd.iscsi.target.ip=192.168.50.1", []string{"a", "b"}},
		{"netroot=iscsi:::::iqn.2009-06.dracut:a rd.iscsi.target.ip=192.168.50.1 rd.iscsi.target.name=iqn.2009-06.dracut:b", []string{"a", "b"}},
		{"iscsi_target_name=iqn.2009-06.dracut:a iscsi_target_ip=\"192.168.50.1 192.168.51.1\"", []string{"a", "a"}},
		{"root=iscsi:192.168.50.1::::iqn.2009-06.dracut:b root=iscsi:192.168.50.1::::iqn.2009-06.dracut:c", []string{"c"}},
	} {
		p, err := read("iscsi_initiator=iqn.2009-06.dracut:host " + tt.line)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
		}
		if diff := cmp.Diff(tt.want, names(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
		if p.Initiator.Name != "iqn.2009-06.dracut:host" {
			t.Errorf("%s: initiator %+v", tt.line, p.Initiator)
		}
	}
}

// TestSingle reads rd.iscsi.target.* and the credentials apart from netroot=.
func TestSingle(t *testing.T) {
	want := Target{Index: -1, Name: "iqn.2009-06.dracut:a", Host: "2001:db8::1", Port: 3261, LUN: lun(3),
		CHAP: &CHAP{"u", "secret-of-u", "v", "secret-of-v", "rd.iscsi.password="}, From: "rd.iscsi.target.name="}
	for _, old := range []bool{false, true} {
		line := "rd.iscsi.initiator=iqn.2009-06.dracut:host rd.iscsi.target.name=iqn.2009-06.dracut:a rd.iscsi.target.ip=[2001:db8::1] " +
			"rd.iscsi.target.port=3261 rd.iscsi.target.lun=3 rd.iscsi.target.group=1 rd.iscsi.username=u rd.iscsi.password=secret-of-u " +
			"rd.iscsi.in.username=v rd.iscsi.in.password=secret-of-v"
		if old { // the LUN has no old name
			line = strings.NewReplacer("rd.iscsi.target.lun", "rd.iscsi.target.lun" /* it has no old name */, "rd.iscsi.target.", "iscsi_target_",
				"rd.iscsi.in.", "iscsi_in_", "rd.iscsi.", "iscsi_").Replace(line)
		}
		p, err := read(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := cmp.Diff([]Target{want}, p.Targets, options()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	// A target's own credentials win value by value, as dracut has it.
	p, err := read("rd.iscsi.initiator=iqn.2009-06.dracut:host rd.iscsi.username=u rd.iscsi.password=secret-of-u " +
		"rd.iscsi.in.username=v rd.iscsi.in.password=secret-of-v netroot=iscsi:x:secret-of-x@192.168.50.1::::iqn.2009-06.dracut:a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&CHAP{"x", "secret-of-x", "v", "secret-of-v", "netroot="}, p.Targets[0].CHAP); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	long := "iqn.2009-06.com.example:" + strings.Repeat("x", 223-24)
	for _, tt := range []struct {
		name    string
		ok, odd bool
	}{
		{"iqn.2001-04.com.example", true, false}, // RFC 7143, 4.2.7.4
		{"iqn.2001-04.com.example:storage:diskarrays-sn-a8675309", true, false},
		{"eui.02004567A425678D", true, false},
		{"naa.52004567BA64678D", true, false},
		{"naa.62004567BA64678D0123456789ABCDEF", true, false},
		{long, true, false},
		{long + "x", false, false},
		{"iqn.2009-06.com.example:my_disk", true, true},
		{"iqn.2009-06.com.example:dïsk", true, false},
		{"iqn.2009-06.com.example:dÏsk", false, false},
		{"iqn.2009-06.com.example:a。b", true, true},
		{"iqn.2009-06.com.example:ａ", true, true},          // wide
		{"iqn.2009-06.com.example:a\u200bb", false, false}, // no width
		{"iqn.2009-06.com.example:a\u00a0b", false, false}, // a blank
		{"iqn.2009-06.com.example:a\u202eb", false, false}, // turns the direction
		{"iqn.2009-06.com.example:\ue000", false, false},   // private
		{"iqn.2009-06.com.example:Disk", false, false},
		{"iqn.2009-06.com.example:a b", false, false},
		{"iqn.2009-06.com.example:a\nb", false, false},
		{"iqn.2009-06.com.example:\xff", false, false},
		{"iqn.2009-6.com.example", false, false},
		{"iqn.2009-00.com.example", false, false},
		{"iqn.2009-06.", false, false},
		{"iqn.2009-06.:x", false, false},
		{"iqn.", false, false},
		{"iqn", false, false},
		{"eui.02004567A425678", false, false},
		{"eui.02004567A425678G", false, false},
		{"naa.5200", false, false},
		{"mytest", false, false},
		{"", false, false},
	} {
		odd, err := checkName(tt.name)
		if (err == nil) != tt.ok || (odd != "") != tt.odd {
			t.Errorf("%q: got %q, %v", tt.name, odd, err)
		}
	}
}

func FuzzNetroot(f *testing.F) {
	f.Add("192.168.50.1::::iqn.2009-06.dracut:target0")
	f.Add("u:p:r:q@[2001:db8::1]:6:3260:iface:eth0:4752-3A4F-6b7e-2F99:eui.02004567A425678D")
	f.Add("@192.168.1.100::3260::iqn.2009-01.com.example:testdi@sk")
	f.Add("ibft")
	f.Add("u:p@storage.example:6:3260:1:")
	f.Fuzz(func(t *testing.T, in string) {
		// Neither the parser nor what hides secrets may fail, and a password
		// in its place never shows.
		hideNetroot(in)
		hideTarget(in)
		if strings.ContainsAny(in, " \"\x00\t\n\v\f\r") {
			return
		}
		var got portal
		err := new(command).parseTarget(in, "netroot=", &got)
		if err == nil && (got.Port == 0 || got.CHAP != nil && got.CHAP.Password == "") {
			t.Errorf("%q: %+v", in, got)
		}
		const secret = "Ope9-Sesam3-Xyz"
		if text := hideNetroot("iscsi:user:" + secret + "@" + in); strings.Contains(text, secret) && !strings.Contains(in, secret) {
			t.Errorf("%q: the secret shows: %s", in, text)
		}
	})
}

// TestAnyLUN: LUN 0 that nobody names is not LUN 0 that somebody does.
func TestAnyLUN(t *testing.T) {
	const name = "iqn.2009-06.com.example:disk"
	for line, want := range map[string]bool{
		"netroot=iscsi:192.168.50.1::::" + name:                                                            true,
		"netroot=iscsi:192.168.50.1:::0:" + name:                                                           false,
		"netroot=iscsi:192.168.50.1:::1:" + name:                                                           false,
		"root=iscsi:192.168.50.1:::" + name:                                                                true,
		"iscsi_target_name=" + name + " iscsi_target_ip=192.168.50.1":                                      true,
		"rd.iscsi.target.name=" + name + " rd.iscsi.target.ip=192.168.50.1 rd.iscsi.target.lun=0":          false,
		"rd.iscsi.target.name=" + name + " rd.iscsi.target.ip=\"192.168.50.1 192.168.50.2\" rd.iscsi.mp=1": true,
	} {
		p, err := read(line + " rd.iscsi.initiator=iqn.2009-06.com.example:host")
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range p.Targets {
			if target.AnyLUN != want {
				t.Errorf("%s: AnyLUN is %v", line, target.AnyLUN)
			}
		}
	}
	if f := fromTable(table(), "iBFT"); f.targets[0].AnyLUN {
		t.Error("the firmware's LUN is not taken at its word")
	}
}
