package network

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// overVLAN returns the NIC whose frames go by n with the tag of that VLAN. One that
// is there already is taken as it is, whatever its name.
func (n *nic) overVLAN(cfg *Config) (*nic, error) {
	links, err := listLinks()
	if err != nil {
		return nil, n.fail(err, "its VLANs cannot be looked for")
	}
	v := &nic{lower: n, p: n.p, keepLink: n.keepLink}
	for _, v.link = range links {
		if v.kind == "vlan" && v.link.lower == n.index && v.vlan == cfg.VLAN {
			return v, nil
		}
	}
	name := cmp.Or(cfg.VLANName, vlanName(n.name, cfg.VLAN))
	if linkNamed(links, name) != nil {
		return nil, n.fail(nil, "cannot have VLAN %d as %s: another interface has that name", cfg.VLAN, name)
	}
	return v, v.create(name, "8021q", cfg, vlanRequest(n.index, name, cfg.VLAN))
}

// vlanName is the usual name of a VLAN's interface, cut to what the kernel takes.
func vlanName(parent string, id uint16) string {
	name := fmt.Sprintf("%s.%d", parent, id)
	if len(name) >= unix.IFNAMSIZ {
		name = fmt.Sprintf("vlan%d", id)
	}
	return name
}

// create loads the module that a link needs, makes the link, and notes how to
// take it back. A module that is not there may be built in.
func (n *nic) create(name, module string, cfg *Config, req *nl.NetlinkRequest) error {
	n.link = &link{name: name}
	var err error
	if cfg.Load != nil {
		err = cfg.Load(module)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = run(req)
	}
	var links []*link
	if err == nil || errors.Is(err, unix.EEXIST) { // it may come with the module
		links, err = listLinks()
	}
	if err != nil {
		return n.fail(err, "cannot be made; check that the initramfs has the module %s", module)
	}
	if l := linkNamed(links, name); l != nil {
		n.link = l
		n.onLinkFailure(func() error { return delLink(l.index) })
		return nil
	}
	return n.fail(unix.ENODEV, "it was made and is not there")
}
