package network

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// vlan returns the NIC whose frames go by n with the tag of that VLAN. One that
// is there already is taken as it is, whatever its name.
func (n *nic) vlan(cfg Config) (*nic, error) {
	links, err := listLinks()
	if err != nil {
		return nil, n.fail(err, "its VLANs cannot be looked for")
	}
	v := &nic{lower: n, p: n.p, keepLink: n.keepLink}
	if i := slices.IndexFunc(links, func(l link) bool {
		return l.kind == "vlan" && l.lower == n.index && l.vlan == cfg.VLAN
	}); i >= 0 {
		v.link = links[i]
		return v, nil
	}
	name := cmp.Or(cfg.VLANName, vlanName(n.name, cfg.VLAN))
	if slices.ContainsFunc(links, func(l link) bool { return l.name == name }) {
		return nil, n.fail(nil, "cannot have VLAN %d as %s: another interface has that name", cfg.VLAN, name)
	}
	if v.link, err = n.create(name, "8021q", cfg.Load, vlanRequest(n.index, name, cfg.VLAN)); err != nil {
		return nil, err
	}
	v.onLinkFailure(func() error { return delLink(v.index) })
	return v, nil
}

// vlanName is the usual name of a VLAN's interface, cut to what the kernel takes.
func vlanName(parent string, id uint16) string {
	name := fmt.Sprintf("%s.%d", parent, id)
	if len(name) >= unix.IFNAMSIZ {
		name = fmt.Sprintf("vlan%d", id)
	}
	return name
}

// create loads the module that a link needs, makes the link and returns it. A
// module that is not there may be built in.
func (n *nic) create(name, module string, load func(string) error, req *nl.NetlinkRequest) (link, error) {
	if load != nil {
		if err := load(module); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return link{}, n.fail(err, "cannot have %s", name)
		}
	}
	err := run(req)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return link{}, n.fail(err, "cannot have %s; check that the initramfs has the module %s", name, module)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return link{}, n.fail(err, "cannot have %s", name)
	}
	l, err := linkNamed(name)
	if err != nil {
		return link{}, n.fail(err, "%s was made and cannot be looked at", name)
	}
	return l, nil
}
