package network

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/rootlun/rootlun/fw/stable"
	"github.com/rootlun/rootlun/session/kernel"
)

// udevNames returns the names that systemd-udevd would give a NIC, where
// nothing renames it: those of systemd.net-naming-scheme(7) that sysfs tells by
// a look or two, for onboard (eno), slot (ens), bus (enp), Xen (enX) and MAC
// (enx). What it lacks are the names of virtual functions, of ports of USB and
// of platform devices.
func (h host) udevNames(l *link) []string {
	mac := l.permanent
	if mac == nil {
		mac = l.mac
	}
	names := []string{fmt.Sprintf("enx%x", []byte(mac))}
	if n, ok := strings.CutPrefix(path.Base(h.device(l.name)), "vif-"); ok {
		names = append(names, "enX"+n)
	}
	dev := h.pciFunction(l.name)
	address, ok := parsePCI(path.Base(dev))
	if !ok {
		return names
	}
	port := ""
	if p := h.attribute(l.name, "phys_port_name"); p != "" {
		port = "n" + p
	} else if p := h.attribute(l.name, "dev_port"); p != "" && p != "0" {
		port = "d" + p
	}
	function := ""
	if config := readFile(path.Join(dev, "config")); address.function > 0 || len(config) > 14 && config[14]&0x80 != 0 {
		function = fmt.Sprintf("f%d", address.function) // the header says that there are more functions (PCI 3.0, 6.2.1)
	}
	for _, attribute := range []string{"acpi_index", "index"} {
		if index := strings.TrimSpace(readFile(path.Join(dev, attribute))); index != "" {
			names = append(names, "eno"+index+port)
			break
		}
	}
	if slot := h.slot(path.Base(dev)); slot != "" {
		names = append(names, "ens"+slot+function+port)
	}
	domain := ""
	if address.domain > 0 {
		domain = fmt.Sprintf("P%d", address.domain)
	}
	return append(names, fmt.Sprintf("en%sp%ds%d%s%s", domain, address.bus, address.device, function, port))
}

// slot returns the number of the slot that a PCI function sits in, or "".
func (h host) slot(function string) string {
	slots := path.Join(h.sysfs, "bus/pci/slots")
	entries, _ := stable.ReadDir(os.DirFS(slots), ".") // most machines have none
	for _, e := range entries {
		at := strings.TrimSpace(readFile(path.Join(slots, e.Name(), "address")))
		if _, err := strconv.ParseUint(e.Name(), 10, 32); err == nil && at != "" && strings.HasPrefix(function, at+".") {
			return e.Name()
		}
	}
	return ""
}

// device returns the folder in sysfs of the device behind an interface, or "".
func (h host) device(name string) string {
	dev, _ := kernel.Resolve(path.Join(h.sysfs, "class/net", name, "device"))
	return dev
}

// pciFunction returns the folder in sysfs of the PCI function that a NIC is, or
// ""; virtio's NIC is a device of its own below it.
func (h host) pciFunction(name string) string {
	dev := h.device(name)
	if strings.HasPrefix(path.Base(dev), "virtio") {
		dev = path.Dir(dev)
	}
	if _, ok := parsePCI(path.Base(dev)); !ok {
		return ""
	}
	return dev
}

// atPCI returns those of the NICs that sit at a PCI address. A firmware's table
// does not know the domain, and has 0: where that domain has no such device,
// those of the others are taken.
func (h host) atPCI(links []*link, address string) (at []*link) {
	want, ok := parsePCI(address)
	if !ok {
		return nil
	}
	_, err := os.Stat(path.Join(h.sysfs, "bus/pci/devices", address))
	for _, l := range links {
		have, ok := parsePCI(path.Base(h.pciFunction(l.name)))
		if err != nil {
			have.domain = want.domain
		}
		if ok && have == want {
			at = append(at, l)
		}
	}
	return at
}

// pciAddress is DOMAIN:BUS:DEVICE.FUNCTION.
type pciAddress struct{ domain, bus, device, function uint64 }

func parsePCI(s string) (a pciAddress, ok bool) {
	part := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '.' })
	if len(part) != 4 || strings.Count(s, ":") != 2 {
		return a, false
	}
	for i, to := range []*uint64{&a.domain, &a.bus, &a.device, &a.function} {
		var err error
		if *to, err = strconv.ParseUint(part[i], 16, 32); err != nil {
			return pciAddress{}, false
		}
	}
	return a, true
}

// attribute reads a file of the interface's folder in sysfs; what cannot be
// read is "".
func (h host) attribute(name, file string) string {
	return strings.TrimSpace(readFile(path.Join(h.sysfs, "class/net", name, file)))
}

func readFile(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}
