package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/ibft"
)

// records218 writes a record a target as "iscsistart -f" of open-iscsi 2.1.8
// does (usr/fwparam_ibft/fw_entry.c and fwparam_sysfs.c): what is printed is the
// text of the kernel's sysfs attributes, and which targets have a record is as
// there. fsys holds the machine's sys/class/net, for the NICs' names.
func records218(fsys fs.FS, tables []fw.Table, showSecrets bool) string {
	r := recordWriter{fsys: fsys, showSecrets: showSecrets}
	for _, t := range tables {
		if t.Initiator == nil {
			continue
		}
		for i := range t.Targets {
			r.target(t, &t.Targets[i])
		}
	}
	return r.String()
}

type recordWriter struct {
	strings.Builder
	fsys        fs.FS
	showSecrets bool
}

// line writes a setting that has a value.
func (r *recordWriter) line(name, value string) {
	if value != "" {
		fmt.Fprintf(r, "%s = %s\n", name, value)
	}
}

func (r *recordWriter) target(t fw.Table, g *ibft.Target) {
	if !g.Valid && !g.Boot && !g.RADIUSCHAP && !g.RADIUSRCHAP || g.Name == "" {
		return
	}
	i := 0
	for i < len(t.NICs) && t.NICs[i].Index != g.NIC {
		i++
	}
	if i == len(t.NICs) {
		return
	}
	n := &t.NICs[i]
	if !n.Valid && !n.Boot && !n.Global {
		return
	}
	transport, netdev := "tcp", ""
	if adapter, _, _ := strings.Cut(t.From, " "); strings.HasPrefix(adapter, "iscsi_boot") {
		name, _ := fs.ReadFile(r.fsys, "sys/class/scsi_host/host"+strings.TrimPrefix(adapter, "iscsi_boot")+"/proc_name")
		transport = cmp.Or(strings.TrimSpace(string(name)), transport)
	} else {
		var there bool
		if netdev, there = r.netdev(n); !there {
			return
		}
	}

	r.WriteString("# BEGIN RECORD 2.1.8\n")
	r.line("iface.initiatorname", t.Initiator.Name)
	r.line("iface.transport_name", transport)
	r.line("iface.hwaddress", net.HardwareAddr(n.MAC[:]).String())
	proto := "STATIC"
	if n.Origin == ibft.OriginDHCP || attribute(n.DHCP) != "" {
		proto = "DHCP"
	}
	r.line("iface.bootproto", proto)
	r.line("iface.ipaddress", attribute(n.IP))
	if n.PrefixLen != 0 {
		r.line("iface.prefix_len", strconv.Itoa(n.PrefixLen))
		mask := net.CIDRMask(min(n.PrefixLen, 32), 32)
		r.line("iface.subnet_mask", net.IP(mask).String())
	}
	r.line("iface.gateway", attribute(n.Gateway))
	r.line("iface.primary_dns", attribute(n.DNS[0]))
	r.line("iface.secondary_dns", attribute(n.DNS[1]))
	r.line("iface.vlan_id", strconv.Itoa(int(n.VLAN)))
	r.line("iface.net_ifacename", netdev)
	r.line("node.name", g.Name)
	r.line("node.conn[0].address", cmp.Or(attribute(g.IP), netip.IPv6Unspecified().StringExpanded()))
	r.line("node.conn[0].port", strconv.Itoa(int(g.Port)))
	r.chap(g.CHAPName, g.CHAPSecret, "")
	r.chap(g.ReverseCHAPName, g.ReverseCHAPSecret, "_in")
	lun := ""
	for _, b := range g.LUN {
		lun += strconv.FormatUint(uint64(b), 16)
	}
	r.line("node.boot_lun", lun)
	r.WriteString("# END RECORD\n")
}

// chap writes credentials; the kernel shows none without a name.
func (r *recordWriter) chap(name string, secret ibft.Secret, direction string) {
	if name != "" {
		r.line("node.session.auth.username"+direction, name)
		r.line("node.session.auth.password"+direction, secretText(secret, r.showSecrets))
	}
}

// attribute is an address as the kernel's sysfs has it, which hides 0.0.0.0 and ::.
func attribute(a netip.Addr) string {
	if !a.IsValid() || a.IsUnspecified() {
		return ""
	}
	return a.StringExpanded()
}

// netdev returns the name of a NIC. The kernel links the table's NIC to the PCI
// device of its address. Where that one is there, it or the MAC has to lead to
// an interface, else there is no record; where it is not, there is no name.
func (r *recordWriter) netdev(n *ibft.NIC) (name string, there bool) {
	device := fmt.Sprintf("sys/bus/pci/devices/0000:%02x:%02x.%x", n.PCI>>8, n.PCI>>3&0x1f, n.PCI&7)
	if _, err := fs.Stat(r.fsys, device); err != nil {
		return "", true
	}
	if nets, err := stable.ReadDir(r.fsys, device+"/net"); err == nil && len(nets) > 0 {
		return nets[0].Name(), true
	}
	const class = "sys/class/net"
	nets, _ := stable.ReadDir(r.fsys, class)
	index := func(e fs.DirEntry) int {
		text, _ := fs.ReadFile(r.fsys, path.Join(class, e.Name(), "ifindex"))
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	stable.Sort(nets, func(a, b fs.DirEntry) int { return cmp.Compare(index(a), index(b)) })
	for _, e := range nets {
		mac, err := fs.ReadFile(r.fsys, path.Join(class, e.Name(), "address"))
		if err == nil && strings.TrimSpace(string(mac)) == net.HardwareAddr(n.MAC[:]).String() {
			return e.Name(), true
		}
	}
	return "", false
}
