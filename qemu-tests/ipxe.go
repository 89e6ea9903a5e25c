package qemutests

import (
	"os"
	"path/filepath"
	"strings"
)

// MakeIPXE makes dir/tftp, from which the iPXE in a machine's NIC boots: the
// script hooks the disk that uri names (RFC 4173), which makes iPXE leave an
// iBFT, and starts the kernel with the image and the parameters. It returns
// Machine.Net for that machine, which has no Kernel of its own.
func (lab *Lab) MakeIPXE(dir, image, initiator, uri string, parameters []string, settings ...string) (net string, err error) {
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
	lines := []string{"#!ipxe", "dhcp"}
	for _, setting := range settings {
		lines = append(lines, "set "+setting)
	}
	lines = append(lines,
		"set initiator-iqn "+initiator,
		"set keep-san 1",
		"sanhook --drive 0x80 "+uri,
		"kernel vmlinuz "+cmdline(parameters),
		"initrd initrd",
		"boot", "")
	err = os.WriteFile(filepath.Join(tftp, "boot.ipxe"), []byte(strings.Join(lines, "\n")), 0o644)
	return "tftp=" + tftp + ",bootfile=boot.ipxe", err
}
