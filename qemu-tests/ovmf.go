package qemutests

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/rootlun/rootlun/ibft"
)

// OVMF is how a machine's UEFI firmware is set up. Its own iSCSI driver logs in
// by the attempts and publishes an iBFT in ACPI, and it boots the lab's kernel.
type OVMF struct {
	Initiator string
	Attempts  []Attempt         // in the order of their numbers, 1 to 8
	VLANs     map[string]uint16 // the VLAN of a NIC by its MAC; the priority is in the three highest bits
}

// Attempt is one way to a target, as OVMF's setup menu has it. A secret has 12
// to 16 octets there.
type Attempt struct {
	MAC     string
	VLAN    uint16
	Multi   bool         // "Enabled for MPIO"
	Address netip.Prefix // the NIC's own; not valid: OVMF asks DHCP, or takes what IPv6's routers give
	Gateway netip.Addr
	Portal  netip.AddrPort
	Target  Target
}

// Where Debian's package ovmf has the firmware's code, and its variables before
// anything is set.
const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// NoROM leaves out a NIC's option ROM. It holds iPXE's driver, which OVMF would
// take for its own stack; that driver stops when a kernel starts, and with the
// NIC goes the table.
const NoROM = ",romfile="

// MakeOVMF makes dir/uefi for Machine.UEFI: esp, a folder that becomes the
// machine's system partition with the lab's kernel and the image, and vars.fd,
// the variables by which OVMF logs in and starts that kernel.
func (lab *Lab) MakeOVMF(dir, image string, o OVMF, parameters ...string) (uefi string, err error) {
	uefi = filepath.Join(dir, "uefi")
	esp := filepath.Join(uefi, "esp")
	if err := os.MkdirAll(esp, 0o755); err != nil {
		return "", err
	}
	vars, err := os.ReadFile(ovmfVars)
	if err != nil {
		return "", err
	}
	if vars, err = addVariables(vars, o.variables("initrd=initrd "+lab.cmdline(parameters))); err != nil {
		return "", err
	}
	return uefi, errors.Join(os.WriteFile(filepath.Join(uefi, "vars.fd"), vars, 0o600),
		copyFile(filepath.Join(esp, "vmlinuz"), lab.Kernel), copyFile(filepath.Join(esp, "initrd"), image))
}

// uefiArgs are QEMU's arguments for a folder of MakeOVMF.
func uefiArgs(uefi string) []string {
	return []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + ovmfCode,
		"-drive", "if=pflash,unit=1,format=raw,file=" + filepath.Join(uefi, "vars.fd"),
		"-drive", "if=none,id=esp,format=raw,readonly=on,file=fat:" + filepath.Join(uefi, "esp"),
		"-device", "virtio-blk-pci,drive=esp",
	}
}

// variable is a variable of UEFI.
type variable struct {
	name, guid string
	data       []byte
}

// The GUIDs of variables: UEFI's own, EDK2's gEfiIScsiInitiatorNameProtocolGuid,
// gIScsiConfigGuid, gEfiVlanConfigProtocolGuid and gEfiIp6ConfigProtocolGuid.
const (
	globalGUID    = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	initiatorGUID = "59324945-ec44-4c0d-b1cd-9db139df070c"
	iscsiGUID     = "4b47d616-a8d6-4552-9d44-ccad2e0f4cf9"
	vlanGUID      = "9e23d768-d2f3-4366-9fc3-3a7aba864374"
	ip6GUID       = "937fe521-95ae-4d1a-8929-48bcd90ad31a"
)

// variables returns what OVMF's setup would write, and a boot option for the
// kernel in the system partition.
func (o OVMF) variables(cmdline string) []variable {
	order := make([]byte, len(o.Attempts))
	for i := range order {
		order[i] = byte(i + 1)
	}
	// UEFI 2.10, 3.1.3: EFI_LOAD_OPTION, with a file of any file system.
	path := utf16z(`\vmlinuz`)
	nodes := append(le16(0x0404, uint16(4+len(path))), path...)
	nodes = append(nodes, 0x7f, 0xff, 4, 0)
	option := bytes.Join([][]byte{{1, 0, 0, 0}, le16(uint16(len(nodes))), utf16z("Linux"), nodes, utf16z(cmdline)}, nil)
	vars := []variable{
		{"Boot0000", globalGUID, option},
		{"BootOrder", globalGUID, le16(0)},
		{"Timeout", globalGUID, le16(0)},
		{"I_NAME", initiatorGUID, append([]byte(o.Initiator), 0)},
		{"AttemptOrder", iscsiGUID, order},
		{"InitialAttemptOrder", iscsiGUID, []byte{1, 2, 3, 4, 5, 6, 7, 8}}, // else the driver makes empty ones
	}
	for i, a := range o.Attempts {
		vars = append(vars, variable{fmt.Sprint("Attempt ", i+1), initiatorGUID, a.marshal(byte(i + 1))})
	}
	for mac, tci := range o.VLANs {
		vars = append(vars, variable{macName(mac), vlanGUID, le16(tci)})
	}
	for _, a := range o.Attempts {
		if a.Portal.Addr().Is6() {
			vars = append(vars, variable{macName(a.MAC), ip6GUID, ip6Automatic()})
		}
	}
	return vars
}

// macName is how EDK2 names a variable of a NIC.
func macName(mac string) string { return strings.ToUpper(strings.ReplaceAll(mac, ":", "")) }

// ip6Automatic returns an IP6_CONFIG_VARIABLE (NetworkPkg/Ip6Dxe/Ip6ConfigImpl.h)
// that sets the policy, item 2, to automatic, 1: the NIC takes its addresses from
// routers.
func ip6Automatic() []byte {
	const id, header, record, policy, automatic = 1, 8, 12, 2, 1
	v := le16(id, 0, 0, 1, header+record, 0, 4, 0, policy, 0, automatic, 0)
	sum := uint32(0) // RFC 1071
	for i := 0; i < len(v); i += 2 {
		sum += uint32(binary.LittleEndian.Uint16(v[i:]))
	}
	binary.LittleEndian.PutUint16(v[4:], ^uint16(sum))
	return v
}

// marshal returns the ISCSI_ATTEMPT_CONFIG_NVDATA of EDK2's NetworkPkg/IScsiDxe
// (IScsiConfig.h, IScsiMisc.h and IScsiCHAP.h), of which the driver keeps its
// own state too.
func (a Attempt) marshal(index byte) []byte {
	mac, _ := net.ParseMAC(a.MAC)
	text := strings.ToUpper(a.MAC)
	if a.VLAN != 0 {
		text += fmt.Sprintf(`\%04X`, a.VLAN)
	}
	dhcp := !a.Address.IsValid() && !a.Portal.Addr().Is6()
	enabled := byte(1)
	if a.Multi {
		enabled = 2
	}
	lun := ibft.LUNFromUint64(uint64(a.Target.LUN))
	if a.Target.LUN > 255 {
		lun[0] |= 0x40 // SAM-5, 4.7.7.3: flat space addressing
	}

	var b bytes.Buffer
	field := func(size int, data ...byte) { b.Write(append(data, make([]byte, size)...)[:size]) }
	flag := func(is bool) { field(1, map[bool]byte{true: 1}[is]) }
	field(16)        // Link
	field(1)         // NicIndex
	field(1, index)  // AttemptConfigIndex
	field(1 + 1 + 1) // DhcpSuccess, ValidiBFTPath, ValidPath
	field(1 + 2 + 2) // AutoConfigureMode, AttemptTitleToken, AttemptTitleHelpToken
	field(12, fmt.Appendf(nil, "Attempt %d", index)...)
	field(96, []byte(text)...) // MacString
	field(3 * 16)              // PrimaryDns, SecondaryDns, DhcpServer
	field(2, le16(a.Portal.Port())...)
	field(1, enabled)
	flag(a.Portal.Addr().Is6()) // IpMode
	field(16, a.Address.Addr().AsSlice()...)
	field(4, net.CIDRMask(max(a.Address.Bits(), 0), 32)...)
	field(16, a.Gateway.AsSlice()...)
	flag(dhcp) // InitiatorInfoFromDhcp
	field(1)   // TargetInfoFromDhcp
	field(224, []byte(a.Target.Name)...)
	field(16, a.Portal.Addr().AsSlice()...)
	field(1) // PrefixLength
	field(8, lun[:]...)
	field(2, le16(5000)...)         // ConnectTimeout, ms
	field(1, 1)                     // ConnectRetryCount
	field(6, mac...)                // IsId
	field(1 + 2 + 16)               // RedirectFlag, OriginalTargetPort, OriginalTargetIp
	field(1 + 255)                  // DnsMode, TargetUrl
	flag(a.Target.Username != "")   // AuthenticationType
	flag(a.Target.UsernameIn != "") // CHAPType
	field(127, []byte(a.Target.Username)...)
	field(17, []byte(a.Target.Secret)...)
	field(127, []byte(a.Target.UsernameIn)...)
	field(17, []byte(a.Target.SecretIn)...)
	field(1)    // AutoConfigureSuccess
	field(1, 1) // Actived
	return b.Bytes()
}

// addVariables returns a flash image with more variables. It is a firmware
// volume whose header's length is at 48, with a VARIABLE_STORE_HEADER and what
// was set before; each variable has an AUTHENTICATED_VARIABLE_HEADER (EDK2's
// MdeModulePkg/Include/Guid/VariableFormat.h).
func addVariables(flash []byte, vars []variable) ([]byte, error) {
	const storeHeader, header, added, attributes = 28, 60, 0x3f, 3 // non-volatile, for boot services
	if len(flash) < 50 || len(flash) < int(binary.LittleEndian.Uint16(flash[48:]))+storeHeader {
		return nil, errors.New("this is no flash image with variables")
	}
	store := flash[binary.LittleEndian.Uint16(flash[48:]):]
	at := storeHeader
	for at+header < len(store) && binary.LittleEndian.Uint16(store[at:]) == 0x55aa {
		at += header + int(binary.LittleEndian.Uint32(store[at+36:])) + int(binary.LittleEndian.Uint32(store[at+40:]))
		at = (at + 3) &^ 3
	}
	for _, v := range vars {
		name := utf16z(v.name)
		h := make([]byte, header)
		binary.LittleEndian.PutUint16(h, 0x55aa)
		h[2] = added
		binary.LittleEndian.PutUint32(h[4:], attributes)
		binary.LittleEndian.PutUint32(h[36:], uint32(len(name)))
		binary.LittleEndian.PutUint32(h[40:], uint32(len(v.data)))
		copy(h[44:], guid(v.guid))
		whole := bytes.Join([][]byte{h, name, v.data}, nil)
		if at+len(whole) > len(store) {
			return nil, errors.New("the flash image has no room for " + v.name)
		}
		copy(store[at:], whole)
		at = (at + len(whole) + 3) &^ 3
	}
	return flash, nil
}

// guid returns a GUID as it stands in memory: its first three parts are
// little-endian.
func guid(text string) []byte {
	b, _ := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	for _, part := range [][]byte{b[:4], b[4:6], b[6:8]} {
		slices.Reverse(part)
	}
	return b
}

func le16(numbers ...uint16) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return b
}

// utf16z is UEFI's CHAR16 string, with its NUL.
func utf16z(text string) []byte { return le16(utf16.Encode([]rune(text + "\x00"))...) }
