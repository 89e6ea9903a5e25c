package fw

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
)

const (
	ofTree = "proc/device-tree/"
	ofNode = "pci@800000020000002/pci@2,4/ethernet@1"
	// As SUSE's lilo (show_of_path.sh) writes it.
	ofPath = "/" + ofNode + ":iscsi,itname=" + host + ",ciaddr=192.168.50.2,giaddr=192.168.50.254,subnet-mask=255.255.255.0," +
		"siaddr=192.168.50.1,iname=iqn.2009-06.com.example:disk,iport=3260,ilun=1000000000000"
)

// ofMachine is one that booted from a path.
func ofMachine(bootpath string) fstest.MapFS {
	return fstest.MapFS{
		ofTree + "chosen/bootpath":             {Data: []byte(bootpath + "\x00")},
		ofTree + ofNode + "/local-mac-address": {Data: []byte{0x52, 0x54, 0, 0x12, 0x34, 0xab}},
	}
}

// ofPlan is what comes of ofPath.
func ofPlan() *Plan {
	const from = "Open Firmware (bootpath)"
	return &Plan{
		Initiator: Initiator{host, from},
		NICs: []NIC{{
			Index: -1, MAC: "52:54:00:12:34:ab", Origin: "static", Address: pfx("192.168.50.2/24"),
			Gateway: netip.MustParseAddr("192.168.50.254"), Valid: true, Boot: true, From: from, AddressFrom: from,
		}},
		Targets: []Target{{
			Index: -1, Name: "iqn.2009-06.com.example:disk", Host: "192.168.50.1", Port: 3260, LUN: lun(1),
			Valid: true, Boot: true, From: from,
		}},
		Root: Root{ReadOnly: true},
	}
}

func TestOpenFirmware(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(string) string
		want    func(*Plan)
		warning string
	}{
		{"as written", func(s string) string { return s }, func(*Plan) {}, ""},
		{"with a partition", func(s string) string { return s + ":2" }, func(*Plan) {}, ""},
		{"with a partition and a file", func(s string) string { return s + `:2,\ppc\boot` }, func(*Plan) {}, ""},
		{"with a retry count, as NIM", func(s string) string { return s + ",2" }, func(*Plan) {}, ""},
		{"behind speed and duplex", func(s string) string { return strings.Replace(s, ":iscsi,", ":speed=auto,duplex=full,iscsi,rawio,", 1) }, func(*Plan) {}, ""},
		{"what is of no use", func(s string) string { return s + ",isid=00023d000001,blksize=512,bootp-retries=5,tftp-retries=5,ping" }, func(*Plan) {}, ""},
		{"default port", func(s string) string { return strings.Replace(s, "iport=3260,", "", 1) }, func(*Plan) {}, ""},
		{"port 0", func(s string) string { return strings.Replace(s, "iport=3260,", "iport=0,", 1) }, func(*Plan) {}, ""},
		{"no gateway", func(s string) string { return strings.Replace(s, "giaddr=192.168.50.254", "giaddr=0.0.0.0", 1) }, func(p *Plan) {
			p.NICs[0].Gateway = netip.Addr{}
		}, ""},
		{"DHCP, and the lease", func(s string) string { return strings.Replace(s, ":iscsi,", ":iscsi,bootp,", 1) }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin = true, "dhcp"
		}, ""},
		{"DHCP with its server", func(s string) string { return s + ",dhcp=192.168.50.9" }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin, p.NICs[0].DHCPServer = true, "dhcp", netip.MustParseAddr("192.168.50.9")
		}, ""},
		{"no DHCP server", func(s string) string { return s + ",dhcp=0.0.0.0" }, func(*Plan) {}, ""},
		{"no address", func(s string) string { return strings.Replace(s, "ciaddr=192.168.50.2", "ciaddr=0.0.0.0", 1) }, func(p *Plan) {
			p.NICs[0].DHCP, p.NICs[0].Origin, p.NICs[0].Address = true, "dhcp", nil
		}, ""},
		{"VLAN", func(s string) string { return s + ",vtag=5,vlanpri=3" }, func(p *Plan) { p.NICs[0].VLAN = 5 }, ""},
		{"CHAP", func(s string) string { return s + ",ichapid=user,ichappw=secret-of-user" }, func(p *Plan) {
			p.Targets[0].CHAP = &CHAP{Username: "user", Password: "secret-of-user", From: p.Targets[0].From}
		}, ""},
		{"mutual CHAP", func(s string) string {
			return s + ",ichapid=user,ichappw=secret-of-user,chapid=back,chappw=secret-of-back"
		}, func(p *Plan) {
			p.Targets[0].CHAP = &CHAP{"user", "secret-of-user", "back", "secret-of-back", p.Targets[0].From}
		}, ""},
		{"LUN 0", func(s string) string { return strings.Replace(s, "ilun=1000000000000", "ilun=0", 1) }, func(p *Plan) { p.Targets[0].LUN = lun(0) }, ""},
		{"LUN left out", func(s string) string { return strings.Replace(s, ",ilun=1000000000000", "", 1) }, func(p *Plan) { p.Targets[0].LUN = lun(0) }, ""},
		{"LUN of one level", func(s string) string { return strings.Replace(s, "ilun=1000000000000", "ilun=412c", 1) }, func(p *Plan) {
			p.Targets[0].LUN = ibft.LUN{0x41, 0x2c}
		}, ""},
		{"LUN of eight bytes", func(s string) string { return strings.Replace(s, "ilun=1000000000000", "ilun=0001000200030004", 1) }, func(p *Plan) {
			p.Targets[0].LUN = ibft.LUN{0, 1, 0, 2, 0, 3, 0, 4}
		}, ""},
		{"IPv6", func(s string) string {
			return strings.NewReplacer("192.168.50.254", "fe80::1", "192.168.50.2", "2001:db8::2", "192.168.50.1", "2001:db8::1", "255.255.255.0", "64").Replace(s)
		}, func(p *Plan) {
			p.NICs[0].Address, p.NICs[0].Gateway, p.Targets[0].Host = pfx("2001:db8::2/64"), netip.MustParseAddr("fe80::1"), "2001:db8::1"
		}, ""},
		{"IPv6 by router advertisements", func(s string) string {
			return strings.NewReplacer(":iscsi", ":iscsi,ipv6", "ciaddr=192.168.50.2,", "", "giaddr=192.168.50.254,", "", "192.168.50.1", "[2001:db8::1]").Replace(s)
		}, func(p *Plan) {
			p.NICs[0].RA, p.NICs[0].Origin = true, "ra"
			p.NICs[0].Address, p.NICs[0].Gateway, p.Targets[0].Host = nil, netip.Addr{}, "2001:db8::1"
		}, ""},
		{"DHCPv6", func(s string) string {
			return strings.NewReplacer(":iscsi", ":iscsi,ipv6,dhcpv6", "ciaddr=192.168.50.2", "ciaddr=::", "giaddr=192.168.50.254", "giaddr=::", "192.168.50.1", "2001:db8::1").Replace(s)
		}, func(p *Plan) {
			p.NICs[0].DHCP6, p.NICs[0].Origin = true, "dhcp"
			p.NICs[0].Address, p.NICs[0].Gateway, p.Targets[0].Host = nil, netip.Addr{}, "2001:db8::1"
		}, ""},
		{"a name that NIM writes", func(s string) string { return strings.Replace(s, host, "dummy", 1) }, func(p *Plan) {
			p.Initiator.Name = "dummy"
		}, `the initiator name "dummy"`},
		{"a word that is not known", func(s string) string { return s + ",ichappassword=secret-of-user" }, func(*Plan) {}, `"ichappassword" is not known`},
		{"iSNS", func(s string) string { return s + ",isns=192.168.50.7" }, func(*Plan) {}, "isns: "},
		{"another device", func(s string) string { return strings.Replace(s, "ethernet@1", "ethernet@2", 1) }, func(p *Plan) {
			p.NICs[0].MAC = ""
		}, `ethernet@2" in the device tree`},
		{"a device above the tree", func(s string) string { return strings.Replace(s, ofNode, "../../etc", 1) }, func(p *Plan) {
			p.NICs[0].MAC = ""
		}, "in the device tree"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := ofPlan()
			tt.want(want)
			got, err := Read(Sources{FS: ofMachine(tt.change(ofPath))})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(got.Warnings); tt.warning == "" && n > 0 || tt.warning != "" && (n != 1 || !strings.Contains(got.Warnings[0], tt.warning)) {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.warning)
			}
			if strings.Contains(strings.Join(got.Warnings, ""), "secret") {
				t.Errorf("warnings %q", got.Warnings)
			}
			got.Warnings = nil
			if diff := cmp.Diff(want, got, options()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOpenFirmwarePlaces: where the path and the MAC may stand.
func TestOpenFirmwarePlaces(t *testing.T) {
	arguments := strings.TrimPrefix(ofPath, "/"+ofNode)
	m := ofMachine("net" + arguments)
	m[ofTree+"aliases/net"] = &fstest.MapFile{Data: []byte("/" + ofNode + "\x00")}
	check(t, m, ofPlan())

	m = ofMachine("iscsi-disk0")
	m[ofTree+"aliases/iscsi-disk0"] = &fstest.MapFile{Data: []byte(ofPath + "\x00")}
	check(t, m, ofPlan())

	m = ofMachine(ofPath) // the virtual NIC of POWER
	m[ofTree+ofNode+"/local-mac-address"] = &fstest.MapFile{Data: []byte{0, 0, 0x52, 0x54, 0, 0x12, 0x34, 0xab}}
	check(t, m, ofPlan())

	m = ofMachine("/vdevice/iscsi")
	m[ofTree+"chosen/nas-bootdevice"] = &fstest.MapFile{Data: []byte(ofPath)} // and no NUL
	want := ofPlan()
	const from = "Open Firmware (nas-bootdevice)"
	want.Initiator.From, want.NICs[0].From, want.NICs[0].AddressFrom, want.Targets[0].From = from, from, from, from
	check(t, m, want)

	for _, other := range []string{"", "/", "/pci@1/scsi@2/sd@0,0:1", "/" + ofNode + ":bootp,192.168.50.1,,192.168.50.2", "cd:iscsi-disk", ":", "::::"} {
		if p, err := Read(Sources{FS: ofMachine(other)}); !errors.Is(err, ErrNothing) {
			t.Errorf("%q: got %+v, %v, want ErrNothing", other, p, err)
		}
	}
}

// TestOpenFirmwareErrors: each names the property, the word and the right form,
// and all are reported at once.
func TestOpenFirmwareErrors(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"siaddr=192.168.50.1", "siaddr=here", `"siaddr=here": that is no address; the right form is siaddr=192.168.50.1`},
		{"siaddr=192.168.50.1", "siaddr=0.0.0.0", `"siaddr": the target's address is missing; the right form is DEVICE:iscsi,`},
		{"ciaddr=192.168.50.2", "ciaddr=fe80::1%eth0", `"ciaddr=fe80::1%eth0": that is no address`},
		{"subnet-mask=255.255.255.0", "subnet-mask=255.0.255.0", `"subnet-mask=255.0.255.0": `},
		{"subnet-mask=255.255.255.0,", "", `"subnet-mask=": the netmask is missing`},
		{"iname=", "name=", `"iname": the target's name is missing`},
		{"iname=iqn.2009-06.com.example:disk", "iname=", `"iname=": the value is missing`},
		{"example:disk", "example:d\x1bsk", "found a control character"},
		{"iport=3260", "iport=70000", `"iport=70000": that is no such number; the right form is iport=0 to 65535`},
		{"iport=3260", "vtag=4095", `"vtag=4095": that is no such number`},
		{"ilun=1000000000000", "ilun=x", `"ilun=x": that is no LUN; the right form is ilun=1 or`},
		{"ilun=1000000000000", "ilun=", `"ilun=": that is no LUN`},
		{"ilun=1000000000000", "ilun=10000", "its first level is 0"},
		{"ilun=1000000000000", "ilun=10001000200030004", "that is no LUN"},
		{"iscsi,", "iscsi,ichapid=user,", `"ichappw": the CHAP secret is missing`},
		{"iscsi,", "iscsi,ichappw=secret-of-user,", `"ichapid": the CHAP name is missing`},
		{"iscsi,", "iscsi,chapid=back,chappw=secret-of-back,", `"ichappw": the CHAP secret is missing`},
		{"iscsi,", "iscsi,ichapid=user,ichappw=secret-of-user,chapid=back,", `"chappw": the reverse CHAP secret is missing`},
		{"iscsi,", "iscsi,ichapid=user,ichappw=secret-of-user,chapid=back,chappw=secret-of-user,", "stands for both directions"},
	} {
		p, err := Read(Sources{FS: ofMachine(strings.Replace(ofPath, tt.from, tt.to, 1))})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret-of") || strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%q: got %v, want %q", tt.to, err, tt.want)
		}
		if tt.want != "stands for both directions" && (len(p.Targets) > 0 || !strings.HasPrefix(err.Error(), "/proc/device-tree/chosen/bootpath: ")) {
			t.Errorf("%q: targets %+v, %v", tt.to, p.Targets, err)
		}
	}
	_, err := Read(Sources{FS: ofMachine(strings.NewReplacer("192.168.50.1,", "here,", "=3260", "=x").Replace(ofPath))})
	if err == nil || strings.Count(err.Error(), "bootpath: ") != 2 {
		t.Errorf("two errors: %v", err)
	}
	_, err = Read(Sources{FS: ofMachine(ofPath + strings.Repeat(",ping", 1000))})
	if err == nil || !strings.Contains(err.Error(), "at most 4096 bytes") {
		t.Errorf("too long: %v", err)
	}
}
