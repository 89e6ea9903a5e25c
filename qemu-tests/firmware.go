package qemutests

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rootlun/rootlun/ibft"
)

// FirmwareTable is what firmware with a static address publishes for a target
// on the host.
func FirmwareTable(initiator string, port uint16, target Target) ibft.Table {
	mac, _ := net.ParseMAC(GuestMAC)
	chap := ibft.CHAPNone
	if target.Username != "" {
		chap = ibft.CHAPOneWay
	}
	if target.UsernameIn != "" {
		chap = ibft.CHAPMutual
	}
	return ibft.Table{
		OEMID: "TEST", OEMTableID: "QEMU",
		Initiator: &ibft.Initiator{Valid: true, Boot: true, Name: initiator},
		NICs: []ibft.NIC{{
			Valid: true, Boot: true, Global: true, Origin: ibft.OriginStatic, MAC: [6]byte(mac),
			IP: netip.MustParseAddr(GuestAddress), PrefixLen: 24, Gateway: netip.MustParseAddr(HostAddress),
		}},
		Targets: []ibft.Target{{
			Valid: true, Boot: true, IP: netip.MustParseAddr(HostAddress), Port: port,
			LUN: ibft.LUNFromUint64(uint64(target.LUN)), Name: target.Name, CHAPType: chap,
			CHAPName: target.Username, CHAPSecret: ibft.Secret(target.Secret),
			ReverseCHAPName: target.UsernameIn, ReverseCHAPSecret: ibft.Secret(target.SecretIn),
		}},
	}
}

// WriteTable writes dir/ibft.bin for Machine.ACPI.
func WriteTable(dir string, table ibft.Table) (file string, err error) {
	data, err := table.Marshal()
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "ibft.bin")
	return file, os.WriteFile(file, data, 0o600)
}

// IPXEHook returns the commands by which iPXE takes the names and secrets of a
// target on the host and hooks its disk.
func IPXEHook(initiator string, port uint16, target Target) []string {
	script := []string{"set initiator-iqn " + initiator}
	if target.Username != "" {
		script = append(script, "set username "+target.Username, "set password "+target.Secret)
	}
	if target.UsernameIn != "" {
		script = append(script, "set reverse-username "+target.UsernameIn, "set reverse-password "+target.SecretIn)
	}
	// RFC 4173, 5: server, protocol, port, LUN in hexadecimal, name.
	return append(script, fmt.Sprintf("sanhook --drive 0x80 iscsi:%s::%d:%x:%s", HostAddress, port, target.LUN, target.Name))
}

// MakeIPXE makes dir/tftp, from which the iPXE in a machine's NIC boots: its
// script runs the commands, of which a sanhook makes iPXE leave an iBFT, and
// starts the kernel with the image and the parameters. It returns Machine.Net
// for that machine, which has no Kernel of its own.
func (lab *Lab) MakeIPXE(dir, image string, commands []string, parameters ...string) (net string, err error) {
	tftp := filepath.Join(dir, "tftp")
	if err := os.Mkdir(tftp, 0o755); err != nil {
		return "", err
	}
	if err := copyFile(filepath.Join(tftp, "vmlinuz"), lab.Kernel); err != nil {
		return "", err
	}
	if err := copyFile(filepath.Join(tftp, "initrd"), image); err != nil {
		return "", err
	}
	script := slices.Concat([]string{"#!ipxe", "set keep-san 1"}, commands, []string{
		"kernel tftp://" + HostAddress + "/vmlinuz initrd=initrd " + lab.cmdline(parameters), // a kernel that UEFI starts asks for its initrd by name
		"initrd tftp://" + HostAddress + "/initrd",
		"boot", "",
	})
	err = os.WriteFile(filepath.Join(tftp, "boot.ipxe"), []byte(strings.Join(script, "\n")), 0o644)
	return "tftp=" + tftp + ",bootfile=boot.ipxe", err
}
