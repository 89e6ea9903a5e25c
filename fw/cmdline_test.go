package fw

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []word
	}{
		{"", nil},
		{" \t\n", nil},
		{"a b=c\n", []word{{name: "a"}, {"b", "c", true}}},
		{"a= b", []word{{"a", "", true}, {name: "b"}}},
		{`a="b c" d`, []word{{"a", "b c", true}, {name: "d"}}},
		{`"a=b c" d`, []word{{"a", "b c", true}, {name: "d"}}},
		{`"a b"`, []word{{name: "a b"}}},
		{`a=b"c d"e`, []word{{"a", `b"c d"e`, true}}},
		{`a=n="b c"`, []word{{"a", `n="b c"`, true}}},
		{`a="b`, []word{{"a", "b", true}}},
		{`a="`, []word{{"a", "", true}}},
		{"=a", []word{{name: "=a"}}},
		{"a=b=c", []word{{"a", "b=c", true}}},
		{"a -- b=c", []word{{name: "a"}}},
		{"a --b", []word{{name: "a"}, {name: "--b"}}},
		{"a --=b", []word{{name: "a"}, {"--", "b", true}}},
		{"a\x00b", []word{{name: "a"}}},
		{`a "--" b`, []word{{name: "a"}}},
		{`a --" b`, []word{{name: "a"}, {name: `--" b`}}},
		{`""`, []word{{}}},
		{`"" a`, []word{{}, {name: "a"}}},
		{`"`, []word{{}}},
		{`a "b`, []word{{name: "a"}, {name: "b"}}},
		{`"a="b c"`, []word{{"a", "b", true}, {name: `c"`}}},
		{`"a"="b"`, []word{{`a"`, "b", true}}},
		{`a="b"c"`, []word{{"a", `b"c`, true}}},
		{`a="b" "c=d"`, []word{{"a", "b", true}, {"c", "d", true}}},
		{`a=""b`, []word{{"a", `"b`, true}}},
		{"a==b", []word{{"a", "=b", true}}},
		{"a\vb\fc\rd", []word{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}}},
		{"à=\xc2\xa0", []word{{"à", "\xc2\xa0", true}}},
	} {
		if diff := cmp.Diff(tt.want, split(tt.in), cmp.AllowUnexported(word{})); diff != "" {
			t.Errorf("split(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

// disk is a target that goes with any line that is not about targets.
const disk = "netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:target0 rd.iscsi.initiator=iqn.2009-06.dracut:host "

// read reads a command line on a machine that has nothing else.
func read(line string) (*Plan, error) {
	return Read(Sources{FS: fstest.MapFS{"proc/cmdline": {Data: []byte(line + "\n")}}})
}

func TestRootAndRest(t *testing.T) {
	base := Plan{Root: Root{ReadOnly: true}}
	for _, tt := range []struct {
		line string
		set  func(*Plan)
	}{
		{"", func(p *Plan) {}},
		{"root=LABEL=root", func(p *Plan) { p.Root.Device = "LABEL=root" }},
		{`root=LABEL=my\x20root\x2fa\xzz`, func(p *Plan) { p.Root.Device = `LABEL=my root/a\xzz` }},
		{`root="LABEL=my root"`, func(p *Plan) { p.Root.Device = "LABEL=my root" }},
		{"root=UUID=12424547", func(p *Plan) { p.Root.Device = "UUID=12424547" }},
		{"root=PARTUUID=0b0a-02", func(p *Plan) { p.Root.Device = "PARTUUID=0b0a-02" }},
		{"root=PARTLABEL=root", func(p *Plan) { p.Root.Device = "PARTLABEL=root" }},
		{"root=block:UUID=1-2", func(p *Plan) { p.Root.Device = "UUID=1-2" }},
		{"root=/dev/sda1", func(p *Plan) { p.Root.Device = "/dev/sda1" }},
		{`root=/dev/disk/by-label/my\x20root`, func(p *Plan) { p.Root.Device = `/dev/disk/by-label/my\x20root` }},
		{"root=/dev/sda1 root=UUID=2", func(p *Plan) { p.Root.Device = "UUID=2" }},
		{"root=/dev/sda1 root=iscsi", func(p *Plan) {}},
		{"root=/dev/sda1 root=dhcp", func(p *Plan) {}},
		{"root=dhcp6", func(p *Plan) {}},
		{"root=/dev/root netroot=dhcp", func(p *Plan) {}},
		{"rootfstype=ext4 rootflags=data=journal,noatime", func(p *Plan) {
			p.Root.FSType, p.Root.Flags = "ext4", "data=journal,noatime"
		}},
		{"ro rw", func(p *Plan) { p.Root.ReadOnly = false }},
		{"rw ro", func(p *Plan) {}},
		{"rw -- ro", func(p *Plan) { p.Root.ReadOnly = false }},
		{"init=/bin/sh", func(p *Plan) { p.Root.Init = "/bin/sh" }},
		{"rd.emergency=poweroff", func(p *Plan) { p.Failure.Action = "poweroff" }},
		{"rd.emergency=halt rd.emergency=shell", func(p *Plan) { p.Failure.Action = "shell" }},
		{"panic=30", func(p *Plan) { p.Failure.Panic = 30 }},
		{"panic=-1", func(p *Plan) { p.Failure.Panic = -1 }},
		{"rd.rootlun.timeout=90", func(p *Plan) { p.Failure.Timeout = 90 }},
		{"rd.rootlun.fallback=local:/dev/vda1", func(p *Plan) { p.Failure.Fallback = "/dev/vda1" }},
		{`rd.rootlun.fallback=local:LABEL=a\x20b`, func(p *Plan) { p.Failure.Fallback = "LABEL=a b" }},
		{"rd.iscsi.param=node.session.timeo.replacement_timeout=30", func(p *Plan) {
			p.Params = []Param{{"node.session.timeo.replacement_timeout", "30"}}
		}},
		{`rd.iscsi.param=a="b c" iscsi_param=d=e rd.iscsi.param="f = 'g'"`, func(p *Plan) {
			p.Params = []Param{{"a", "b c"}, {"d", "e"}, {"f", "g"}}
		}},
		{"rd.iscsi.login_retry_max=5", func(p *Plan) {
			p.Params = []Param{{"node.session.initial_login_retry_max", "5"}}
		}},
		{"rd.iscsi.login_retry_max=5 rd.iscsi.param=node.session.initial_login_retry_max=2", func(p *Plan) {
			p.Params = []Param{{"node.session.initial_login_retry_max", "2"}}
		}},
		{"rd.rootlun.auth=optional", func(p *Plan) { p.AuthOptional = true }},
		{"rd.rootlun.auth=optional rd.rootlun.auth=required", func(p *Plan) {}},
		{"rd.net.timeout.iflink=1 rd.net.timeout.ifup=2 rd.net.timeout.carrier=3 rd.net.timeout.route=4 " +
			"rd.net.timeout.dhcp=5 rd.net.timeout.ipv6dad=6 rd.net.timeout.ipv6auto=7", func(p *Plan) {
			p.Timeouts = Timeouts{Link: 1, Up: 2, Carrier: 3, Route: 4, DHCP: 5, DAD: 6, Auto: 7}
			for _, d := range []*time.Duration{&p.Timeouts.Link, &p.Timeouts.Up, &p.Timeouts.Carrier, &p.Timeouts.Route,
				&p.Timeouts.DHCP, &p.Timeouts.DAD, &p.Timeouts.Auto} {
				*d *= time.Second
			}
		}},
		{"rd.net.dhcp.retry=3 rd.net.timeout.dhcp=infinity rd.net.dhcp.vendor-class=class", func(p *Plan) {
			p.Timeouts.Tries, p.Timeouts.DHCP = 3, math.MaxInt32*time.Second
			p.VendorClass = "class"
		}},
		{"rd.iscsi.transport=qedi", func(p *Plan) {
			p.Warnings = []string{"kernel command line: rd.iscsi.transport: qedi is not used to log in; tcp is, and an adapter's own sessions are left alone"}
		}},
		{"rd.neednet=1 rd.iscsi.transport=tcp rd.iscsi.mp rd.iscsi.waitnet=0 rd.iscsi.testroute=0 rd.iscsi.target.group=1", func(p *Plan) {}},
		{"quiet console=ttyS0 iscsi_tcp.debug_iscsi_tcp=1 netroot=nbd:192.168.1.1:root crashkernel=", func(p *Plan) {}},
	} {
		want := base
		tt.set(&want)
		got, err := read(disk + tt.line)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
		}
		if diff := cmp.Diff(&want, got, cmpopts.IgnoreFields(Plan{}, "Initiator", "NICs", "Targets")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
	}
}

// TestErrors: each line has one mistake, and the error names the word and what
// is wrong.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ line, word, why string }{
		{"netroot=iscsi:ibft", `"netroot=iscsi:ibft"`, "for the firmware's target it is rd.iscsi.firmware=1"},
		{"netroot=iscsi:192.168.50.1", `"netroot=iscsi:192.168.50.1"`, "no target name"},
		{"netroot=iscsi:192.168.50.1::::mytest", "192.168.50.1::::***", "no target name"},
		{"netroot=iscsi:::::iqn.2009-06.dracut:t", "iqn.2009-06.dracut:t", "server is missing"},
		{"netroot=iscsi:192.168.50.300::::iqn.2009-06.dracut:t", "192.168.50.300", "no IPv4 address"},
		{"netroot=iscsi:a_b!::::iqn.2009-06.dracut:t", "a_b!", "no host name"},
		{"netroot=iscsi:2001:db8::1::::iqn.2009-06.dracut:t", "2001:***", "IPv6 SERVER in [brackets]"},
		{"netroot=iscsi:[2001:db8::1::::iqn.2009-06.dracut:t", "[2001:***", "the ']'"},
		{"netroot=iscsi:[192.168.50.1]::::iqn.2009-06.dracut:t", "[192.168.50.1]", "no IPv6 address"},
		{"netroot=iscsi:192.168.50.1:17:::iqn.2009-06.dracut:t", ":17:", "not 6 (TCP)"},
		{"netroot=iscsi:192.168.50.1::0::iqn.2009-06.dracut:t", ":0:", "from 1 to 65535"},
		{"netroot=iscsi:192.168.50.1::65536::iqn.2009-06.dracut:t", ":65536:", "from 1 to 65535"},
		{"netroot=iscsi:192.168.50.1:::xyz:iqn.2009-06.dracut:t", "***", "hexadecimal"},
		{"netroot=iscsi:192.168.50.1:::00001:iqn.2009-06.dracut:t", ":00001:", "hexadecimal"},
		{"netroot=iscsi:192.168.50.1:::1-2-3-4-5:iqn.2009-06.dracut:t", "***", "four groups"},
		{"netroot=iscsi::6:::iqn.2009-06.dracut:t rd.iscsi.target.ip=nowhere!", "rd.iscsi.target.ip=nowhere!", "no host name"},
		{"netroot=iscsi:192.168.50.1:::::::iqn.2009-06.dracut:t", "", "6 fields"},
		{"netroot=iscsi:192.168.50.1::::iqn.2009-13.dracut:t", "2009-13", "year and the month"},
		{"netroot=iscsi:192.168.50.1::::IQN.2009-06.dracut:t", "IQN", "lower case: iqn.2009-06.dracut:t"},
		{"netroot=iscsi:192.168.50.1::::eui.0200", "eui.0200", "16 hexadecimal digits"},
		{"netroot=iscsi:user@192.168.50.1::::iqn.2009-06.dracut:t", "***@192.168.50.1", "1 fields in front of '@'"},
		{"netroot=iscsi:a:b:c@192.168.50.1::::iqn.2009-06.dracut:t", "***@192.168.50.1", "3 fields in front of '@'"},
		{"netroot=iscsi:a:@192.168.50.1::::iqn.2009-06.dracut:t", "***@192.168.50.1", "is empty"},
		{"netroot=iscsi:a:b:c:@192.168.50.1::::iqn.2009-06.dracut:t", "***@192.168.50.1", "reverse password"},
		{"netroot=iscsi:a:bb:c:bb@192.168.50.1::::iqn.2009-06.dracut:t", "iqn.2009-06.dracut:t", "both directions"},
		{"netroot=iscsi:192.168.50.1:::::eth0/1:0:iqn.2009-06.dracut:t", "", "fields"},
		{"root=iscsi:192.168.50.1", "root=iscsi:192.168.50.1", "no target name"},
		{"iscsiroot=192.168.50.1", "iscsiroot=192.168.50.1", "no target name"},
		{"rd.iscsi.firmware=maybe", "rd.iscsi.firmware=maybe", "neither 1 nor 0"},
		{"rd.iscsi.firmware=", "rd.iscsi.firmware=", "neither 1 nor 0"},
		{"rd.iscsi.firmware=1", cmdlinePlace, "the firmware has no table"},
		{"root=dhcp ip=none", "root=dhcp", "lets no NIC ask"},
		{"netroot=iscsi ip=192.168.50.9:::24::eth0:none", "netroot=iscsi", "lets no NIC ask"},
		{"rd.iscsi.target.name=iqn.2009-06.dracut:t", "rd.iscsi.target.name", "address is missing"},
		{"rd.iscsi.target.ip=192.168.50.1", "rd.iscsi.target.*", "name is missing"},
		{"rd.iscsi.target.name=disk", "rd.iscsi.target.name=disk", "iqn., eui. or naa."},
		{"rd.iscsi.target.port=x", "rd.iscsi.target.port=x", "1 to 65535"},
		{disk + "rd.iscsi.initiator=host", "rd.iscsi.initiator=host", "iqn., eui. or naa."},
		{disk + "rd.iscsi.username=u", "rd.iscsi.username", "password is missing"},
		{disk + "rd.iscsi.password=u", "rd.iscsi.password", "user name is missing"},
		{disk + "rd.iscsi.in.username=u", "rd.iscsi.in.username", "password is missing"},
		{disk + "rd.iscsi.in.password=u", "rd.iscsi.in.password", "as well"},
		{disk + "rd.iscsi.param=x", "rd.iscsi.param", "NAME=VALUE"},
		{disk + "rd.iscsi.transport=udp", "rd.iscsi.transport=udp", "no such transport"},
		{"netroot=iscsi rd.iscsi.target.name=iqn.2009-06.dracut:t rd.iscsi.target.ip=", "rd.iscsi.target.ip=", "server is missing"},
		{disk + "rd.net.timeout.carier=9", `"rd.net.timeout.carier"`, "no such parameter; the right form is rd.net.timeout.carrier=SECONDS"},
		{disk + "rd.net.dhcp.retry=0", `"rd.net.dhcp.retry=0"`, "from 1 to 65535"},
		{disk + "rd.net.dhcp.vendor-class=", `"rd.net.dhcp.vendor-class="`, "1 to 255 bytes"},
		{disk + "rd.neednet=x", `"rd.neednet=x"`, "neither 1 nor 0"},
		{disk + "rd.peerdns=x", `"rd.peerdns=x"`, "neither 1 nor 0"},
		{disk + "bootdev=", `"bootdev="`, "no name of an interface"},
		{disk + "rd.iscsi.login_retry_max=-1", "rd.iscsi.login_retry_max=-1", "from 0 to 65535"},
		{disk + "rd.iscsi.frimware=1", `"rd.iscsi.frimware"`, "no such parameter; the right form is rd.iscsi.firmware=1"},
		{disk + "iscsi_targetname=x", `"iscsi_targetname"`, "no such parameter; the right form is rd.iscsi.target.name="},
		{disk + "rd.rootlun.timout=5", `"rd.rootlun.timout"`, "rd.rootlun.timeout=SECONDS"},
		{disk + "rd.iscsi.wholly.other", `"rd.iscsi.wholly.other"`, "no such parameter"},
		{disk + "root=sda1", `"root=sda1"`, "root=LABEL="},
		{disk + "root=LABEL=", `"root=LABEL="`, "no root"},
		{disk + "root=ID=4", `"root=ID=4"`, "no root"},
		{disk + "init=sh", `"init=sh"`, "absolute path"},
		{disk + "ro=1", `"ro=1"`, "no value"},
		{disk + "rootfstype=", `"rootfstype="`, "missing"},
		{disk + "rd.emergency=explode", `"rd.emergency=explode"`, "reboot, poweroff, halt or shell"},
		{disk + "panic=soon", `"panic=soon"`, "no number of seconds"},
		{disk + "rd.rootlun.fallback=UUID=1", "rd.rootlun.fallback=UUID=1", "a fallback can only be a local disk"},
		{disk + "rd.rootlun.fallback=local:sda1", "rd.rootlun.fallback=local:sda1", "names no root"},
		{disk + "rd.rootlun.timeout=0", `"rd.rootlun.timeout=0"`, "from 1 upwards"},
		{disk + "rd.net.timeout.dhcp=1m", `"rd.net.timeout.dhcp=1m"`, "number of seconds"},
		{disk + "ifname=eth0", `"ifname=eth0"`, "no MAC"},
		{disk + "BOOTIF=01", `"BOOTIF=01"`, "no MAC"},
	} {
		line := tt.line
		if !strings.Contains(line, "initiator=") {
			line += " rd.iscsi.initiator=iqn.2009-06.dracut:host"
		}
		_, err := read(line)
		if err == nil {
			t.Errorf("%s: no error", tt.line)
			continue
		}
		if n := strings.Count(err.Error(), "\n") + 1; n != 1 {
			t.Errorf("%s: %d errors instead of 1: %v", tt.line, n, err)
		}
		if !strings.Contains(err.Error(), tt.word) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v\nit should have %q and %q", tt.line, err, tt.word, tt.why)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: no *Error: %#v", tt.line, err)
		}
	}
}

// TestAllErrors: one mistake does not hide another, and what is right is in
// the plan all the same.
func TestAllErrors(t *testing.T) {
	p, err := read("netroot=iscsi:x rd.iscsi.firmwar=1 ip=nonsense init=sh rd.emergency=reboot rd.iscsi.initiator=iqn.2009-06.dracut:host")
	for _, want := range []string{"netroot=iscsi:x", "rd.iscsi.firmwar", "ip=nonsense", "init=sh"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if p == nil || p.Failure.Action != "reboot" {
		t.Errorf("the plan has lost rd.emergency=: %+v", p)
	}
}

func TestNothing(t *testing.T) {
	for _, line := range []string{
		"",
		"root=/dev/sda1 ro quiet",
		"root=nfs:192.168.1.1:/export ip=::::::nonsense", // not ours to complain about
		"rd.iscsi.firmware=0",
		"rd.iscsi.initiator=iqn.2009-06.dracut:host",
		"root=/dev/sda1 -- netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:t",
	} {
		if p, err := read(line); !errors.Is(err, ErrNothing) || p == nil {
			t.Errorf("%q: got %v, want ErrNothing and a plan", line, err)
		}
	}
	if _, err := Read(Sources{FS: fstest.MapFS{}}); !errors.Is(err, ErrNothing) {
		t.Errorf("without /proc: got %v, want ErrNothing", err)
	}
}

// opens notes what is opened.
type opens struct {
	fs.FS
	names []string
}

func (o *opens) Open(name string) (fs.File, error) {
	o.names = append(o.names, name)
	return o.FS.Open(name)
}

// TestNothingTouched: where nothing asks for iSCSI, only what could ask is read.
func TestNothingTouched(t *testing.T) {
	m := tree(t, "root=/dev/sda1 rd.rootlun.credentials=it", nil)
	for _, name := range []string{
		"etc/rootlun/credentials", "etc/rootlun/it", "etc/iscsi/initiatorname.iscsi", "etc/initiatorname.iscsi",
		"run/net-eth0.conf", "sys/class/dmi/id/product_uuid", "sys/class/net/eth0/address",
	} {
		m[name] = &fstest.MapFile{Data: []byte("nonsense")}
	}
	o := &opens{FS: m}
	if _, err := Read(Sources{FS: o, Credentials: "/run/credentials/x"}); !errors.Is(err, ErrNothing) {
		t.Fatal(err)
	}
	for _, name := range o.names {
		if _, ok := m[name]; ok && name != "proc/cmdline" {
			t.Errorf("/%s is opened", name)
		}
	}
}

// TestNoSecrets: a secret is in the plan and in no text, right or wrong as
// its word may be.
func TestNoSecrets(t *testing.T) {
	const secret, reverse = "open-sesame-1", "close-sesame-2"
	for _, line := range []string{
		"netroot=iscsi:user:open-sesame-1:back:close-sesame-2@192.168.50.1::::iqn.2009-06.dracut:t",
		"netroot=iscsi:user:open-sesame-1:back:close-sesame-2@192.168.50.1:x:::iqn.2009-06.dracut:t",
		"netroot=iscsi:user:open-sesame-1:back:close-sesame-2:192.168.50.1::::iqn.2009-06.dracut:t",
		"netroot=iscsi:user:open-sesame-1:192.168.50.1::::iqn.2009-06.dracut:t",
		"netroot=iscsi:user:open-sesame-1@192.168.50.1",
		"netroot=iscis:user:open-sesame-1:192.168.50.1::::iqn.2009-06.dracut:t rd.iscsi.firmware",
		"netroot=iscsi:user:open-sesame-1:back:close-sesame-2@::::iqn.2009-06.dracut:t",
		"netroot=iscsi:user:open-sesame-1@192.168.50.1:::eth0:1:iqn.2009-06.dracut:t",
		"netroot=iscsi:[fe80::1]:user:open-sesame-1:::iqn.2009-06.dracut:t",
		"root=iscsi:user:open-sesame-1:back@192.168.50.1::::iqn.2009-06.dracut:t",
		"root=isci:user:open-sesame-1@192.168.50.1::::iqn.2009-06.dracut:t rd.iscsi.firmware",
		"iscsiroot=user:open-sesame-1:192.168.50.1::::iqn.2009-06.dracut:t",
		disk + "rd.iscsi.password=open-sesame-1",
		disk + "rd.iscsi.username=u rd.iscsi.password=open-sesame-1 rd.iscsi.in.password=open-sesame-1",
		disk + "rd.iscsi.pasword=open-sesame-1 rd.iscsi.pass=close-sesame-2",
		disk + "iscsi_pasword=open-sesame-1",
		disk + "rd.iscsi.param=node.session.auth.password=open-sesame-1",
		disk + "rd.iscsi.param==open-sesame-1",
		disk + `rd.iscsi.password="open-sesame-1`,
	} {
		p, err := read(line)
		text := fmt.Sprintf("%v\n%+v\n%#v\n%q", err, *p, p.Warnings, p.Params)
		for _, t := range p.Targets {
			text += fmt.Sprintf("\n%v %+v %#v %q", t.CHAP, t.CHAP, t.CHAP, t.CHAP)
		}
		if strings.Contains(text, secret) || strings.Contains(text, reverse) {
			t.Errorf("%s: a secret shows:\n%s", line, text)
		}
	}
}

func FuzzCmdline(f *testing.F) {
	f.Add(disk + "ip=dhcp root=LABEL=x rw")
	f.Add("root=:\xd4\xe9\x84:iqn.") // it is longer in lower case
	f.Add(`"rd.iscsi.param=a=b c" netroot=iscsi:u:p@[::1]:6:3260:1-2:eui.02004567A425678D -- x`)
	f.Add("netroot=iscsi rd.iscsi.firmware=1 iscsi_initiator=iqn.1993-08.org.debian:01:x BOOTIF=01-52-54-00-12-34-56")
	f.Add(`rd.iscsi.target.name=naa.52004567BA64678D rd.iscsi.target.ip=[fe80::1%eth0] rd.iscsi.target.lun=4186-9 ifname=a:52:54:00:12:34:56`)
	f.Add("vlan=vlan5:bond0 bond=bond0:eth0,eth1::mode=1:9000 rd.route=[2001:db8::/32]:[fe80::1]:eth0 nameserver=::1 rd.peerdns=0 bootdev=vlan5")
	f.Add("ip=BOOTIF:dhcp,auto6 ip=dhcp,1,x rd.net.timeout.dhcp=infinity team=a bridge=b")
	f.Add("netroot=iscsi:192.168.50.1:::\x00\x00") // the portal has one target
	f.Add("netroot=iscsi:@::::iqn.2009-06.dracut:t rd.iscsi.target.ip=\"a b\" root=dhcp6 netroot=dhcp")
	f.Fuzz(func(t *testing.T, line string) {
		const secret = "Ope9-Sesam3-Xyz"
		p, err := read(line)
		if p == nil {
			t.Fatal("no plan")
		}
		if err == nil && p.AskDHCP == "" && (len(p.Targets) == 0 || p.Initiator.Name == "") {
			t.Errorf("%q: no error, and no target or no initiator: %+v", line, p)
		}
		for _, g := range p.Targets {
			if _, nameErr := checkName(g.Name); g.Name != "" && nameErr != nil || g.Host == "" || g.Port == 0 || g.NIC >= len(p.NICs) {
				t.Errorf("%q: an unusable target: %+v", line, g)
			}
		}
		for _, v := range p.VLANs {
			if v.ID < 1 || v.ID > 4094 || checkInterface(v.Name) != nil || checkInterface(v.Link) != nil {
				t.Errorf("%q: an unusable VLAN: %+v", line, v)
			}
		}
		for _, r := range p.Routes {
			if !r.Destination.IsValid() || !r.Gateway.IsValid() && r.Interface == "" {
				t.Errorf("%q: an unusable route: %+v", line, r)
			}
		}
		if strings.Contains(line, secret) {
			return
		}
		p, err = read("rd.iscsi.username=u rd.iscsi.password=" + secret + " netroot=iscsi:u:" + secret + "@a::::iqn.2009-06.dracut:t rd.iscsi.in.password=" + secret + " " + line)
		out := strings.Join(p.Warnings, "\n")
		if err != nil {
			out += err.Error()
		}
		if strings.Contains(out, secret) {
			t.Errorf("%q: the secret shows: %s", line, out)
		}
		if len(out) > 8192+2048*len(line) {
			t.Errorf("%q: %d bytes of messages", line, len(out))
		}
	})
}
