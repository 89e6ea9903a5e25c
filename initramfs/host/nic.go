package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rootlun/rootlun/boot/network"
)

// network returns the words that bring up what leads to a portal: ifname= for each
// NIC, bond= and vlan=, ip=.
func (m Machine) network(portal netip.Addr) (string, error) {
	nic, via, err := m.RouteTo(portal)
	if err != nil {
		return "", err
	}
	name, words, err := m.link(nic, 4)
	if err != nil {
		return "", err
	}
	all, err := m.Addresses(nic)
	if err != nil {
		return "", err
	}
	next := portal
	if via.IsValid() {
		next = via
	}
	// The address on the link that the portal is on, or the gateway.
	i := slices.IndexFunc(all, func(a network.Address) bool { return a.Contains(next.WithZone("")) })
	if i < 0 {
		i = slices.IndexFunc(all, func(a network.Address) bool { return a.Addr().Is4() == portal.Is4() })
	}
	if i < 0 {
		return "", fmt.Errorf("%s has no address", nic)
	}
	mtu := ""
	if n := m.read("sys/class/net/" + nic + "/mtu"); n != "1500" && n != "" {
		mtu = ":" + n
	}
	if how := m.how(nic, all[i]); how != "none" {
		return strings.Join(append(words, "ip="+name+":"+how+mtu), " "), nil
	}
	gateway := ""
	if via.IsValid() {
		gateway = bracket(via)
	}
	return strings.Join(append(words, fmt.Sprintf("ip=%s::%s:%d::%s:none%s", bracket(all[i].Addr()), gateway, all[i].Bits(), name, mtu)), " "), nil
}

// bracket writes an address as ip= has it.
func bracket(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.WithZone("").String() + "]"
	}
	return a.String()
}

// how says by which word of ip= a NIC came to its address. What rootlun has brought
// up never ends, and is told of in its state.
func (m Machine) how(nic string, a network.Address) string {
	var state struct {
		NICs []struct{ MAC, How string } `json:"nics"`
	}
	text, _ := os.ReadFile(filepath.Join(m.Root, "run/rootlun/state.json"))
	_ = json.Unmarshal(text, &state)
	mac := m.read("sys/class/net/" + nic + "/address")
	for _, n := range state.NICs { // by another name, maybe
		if n.MAC == mac && n.How != "" {
			return n.How
		}
	}
	switch {
	case !a.Dynamic:
		return "none"
	case a.Addr().Is4():
		return "dhcp"
	}
	return "auto6"
}

// link returns the name that an interface is to have, and the words that name its
// NICs by their MACs and make the rest of it.
func (m Machine) link(nic string, depth int) (name string, words []string, err error) {
	at := "sys/class/net/" + nic + "/"
	if depth == 0 || m.read(at+"bridge/bridge_id") != "" {
		return "", nil, fmt.Errorf("%s is a bridge, or is on too many interfaces", nic)
	}
	if below, id := m.vlan(nic); id != "" {
		below, words, err := m.link(below, depth-1)
		if digits := nic[len(strings.TrimRight(nic, "0123456789")):]; strings.TrimLeft(digits, "0") != id { // the name says the number
			nic = "vlan" + id
		}
		return nic, append(words, "vlan="+nic+":"+below), err
	}
	ports := strings.Fields(m.read(at + "bonding/slaves"))
	if len(ports) == 0 {
		mac := m.read(at + "bonding_slave/perm_hwaddr")
		if mac == "" {
			mac = m.read(at + "address")
		}
		if mac == "" {
			err = errors.New(nic + " has no MAC")
		}
		return nic, []string{"ifname=" + nic + ":" + mac}, err
	}
	for _, p := range ports {
		_, w, portErr := m.link(p, depth-1)
		words, err = append(words, w...), errors.Join(err, portErr)
	}
	names := []string{"mode", "miimon", "primary"}
	switch mode, _, _ := strings.Cut(m.read(at+"bonding/mode"), " "); mode { // which take what else
	case "802.3ad":
		names = []string{"mode", "miimon", "lacp_rate", "xmit_hash_policy"}
	case "balance-xor":
		names = []string{"mode", "miimon", "xmit_hash_policy"}
	}
	var options []string
	for _, o := range names {
		if value, _, _ := strings.Cut(m.read(at+"bonding/"+o), " "); value != "" { // "active-backup 1"
			options = append(options, o+"="+value)
		}
	}
	return nic, append(words, "bond="+nic+":"+strings.Join(ports, ",")+":"+strings.Join(options, ",")), err
}

// vlan returns what a VLAN goes by, and its number; of another interface nothing.
func (m Machine) vlan(nic string) (below, id string) {
	f := strings.Fields(m.read("proc/net/vlan/" + nic))
	for i := 0; i+1 < len(f); i++ {
		switch f[i] {
		case "VID:":
			id = f[i+1]
		case "Device:":
			below = f[i+1]
		}
	}
	return below, id
}
