package fw

import (
	"io/fs"
	"path"
	"strings"

	"github.com/rootlun/rootlun/fw/stable"
)

// madePrefix starts the initiator names that are made here. github.io holds
// the domain rootlun.github.io for the project.
const madePrefix = "iqn.2026-01.io.github.rootlun:"

// What a name is made from.
const (
	fromUUID = "the machine's UUID"
	fromMAC  = "the NIC's MAC"
)

// machine reads what the machine says of itself, apart from its firmware's table.
type machine struct{ fsys fs.FS }

// line returns a file's first line, "" when there is none.
func (m machine) line(name string) string {
	b, err := readSmall(m.fsys, name, 4096)
	if err != nil {
		return ""
	}
	s, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(s)
}

// mac returns the address of a network interface; "" when it is not there (yet).
func (m machine) mac(name string) string {
	if s := m.line(path.Join("sys/class/net", name, "address")); isMAC(s) {
		return canonicalMAC(s)
	}
	return ""
}

// initiatorFiles returns where a name may stand, the best place first.
func initiatorFiles() []string {
	return []string{"etc/iscsi/initiatorname.iscsi", "etc/initiatorname.iscsi"}
}

// initiatorFile returns the InitiatorName= of a file as open-iscsi has it, and
// the file; "" when there is none.
func (m machine) initiatorFile() (name, file string) {
	for _, file := range initiatorFiles() {
		b, err := readSmall(m.fsys, file, 64<<10)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(b), "\n") {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if value = strings.TrimSpace(value); strings.TrimSpace(key) == "InitiatorName" && value != "" {
				return value, "/" + file
			}
		}
	}
	return "", ""
}

// InitiatorName returns the name in the machine's own file, open-iscsi's; "" when
// there is none.
func InitiatorName(fsys fs.FS) string {
	name, _ := machine{fsys}.initiatorFile()
	return name
}

// madeName returns an initiator name that is the same at each boot and differs
// between machines, and what it is made from; "" when nothing here tells
// machines apart.
func (m machine) madeName(nics []NIC) (name, from string) {
	uuid := strings.ToLower(m.line("sys/class/dmi/id/product_uuid"))
	digits := strings.ReplaceAll(uuid, "-", "")
	if len(uuid) == 36 && len(digits) == 32 && isHex(digits) &&
		strings.Trim(digits, "0") != "" && strings.Trim(digits, "f") != "" &&
		uuid != "03000200-0400-0500-0006-000700080009" { // what AMI's firmware ships with
		return madePrefix + uuid, fromUUID
	}
	for i := range nics {
		mac := nics[i].MAC
		if mac == "" && nics[i].Name != "" {
			mac = m.mac(nics[i].Name)
		}
		if mac != "" {
			return madePrefix + strings.ReplaceAll(mac, ":", ""), fromMAC
		}
	}
	const class = "sys/class/net"
	interfaces, _ := stable.ReadDir(m.fsys, class)
	for _, e := range interfaces { // the plan may name none; hardware alone keeps its MAC
		if _, err := fs.Stat(m.fsys, path.Join(class, e.Name(), "device")); err != nil {
			continue
		}
		if mac := m.mac(e.Name()); mac != "" {
			return madePrefix + strings.ReplaceAll(mac, ":", ""), fromMAC
		}
	}
	return "", ""
}
