package qemutests

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed guest/switch-init
var switchInit []byte

// The network of a VLAN: its addresses end as those of the first network do.
const (
	VLANNet         = "10.0.5.0/24"
	VLANHostAddress = "10.0.5.2"
)

// StartSwitch starts a machine that joins a VLAN to a user-mode network of its
// own, VLANNet. QEMU's networks know no VLAN. It returns when the switch works,
// with the -netdev, named trunk, by which one other machine joins: there all
// frames have the tag. Its console.log lies in dir.
func (lab *Lab) StartSwitch(ctx context.Context, dir string, vlan uint16) (trunk string, m *Running, err error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	image, err := lab.MakeGuest(dir, switchInit, []string{"virtio_pci", "virtio_net", "8021q", "bridge"})
	if err != nil {
		return "", nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	m, err = lab.Start(ctx, Machine{
		Dir: dir, Kernel: lab.Kernel, Initrd: image, Cmdline: []string{fmt.Sprint("switch.vlan=", vlan)},
		Net:  "net=" + VLANNet,
		More: []string{"-netdev", "socket,id=trunk,listen=" + address, "-device", "virtio-net-pci,netdev=trunk,mac=52:54:00:12:34:99"},
	})
	if err != nil {
		return "", nil, err
	}
	if err := m.WaitFor(ctx, "switch: ready"); err != nil {
		m.Kill()
		return "", nil, err
	}
	return "socket,id=trunk,connect=" + address, m, nil
}
