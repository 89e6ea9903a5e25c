package qemutests

import (
	"debug/elf"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootlun/rootlun/ibft"
	"github.com/rootlun/rootlun/initramfs"
	"github.com/rootlun/rootlun/qemu-tests/cache"
)

// recordsInit is the /init of a machine that prints its firmware's targets, by
// Debian's iscsistart and by rootlun.
const recordsInit = `#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_net iscsi_ibft; do modprobe "$module"; done
show() { echo "BEGIN $1"; shift; "$@"; echo "END $?"; }
show iscsistart iscsistart -f
show rootlun /usr/bin/rootlun fw --iscsistart --show-secrets
show hidden /usr/bin/rootlun fw --iscsistart
mount -t tmpfs none /sys/firmware/acpi/tables # the kernel view is left
show sysfs /usr/bin/rootlun fw --iscsistart --show-secrets
poweroff -f
`

// openISCSI returns the files of a program of Debian's open-iscsi, which
// scripts/setup has unpacked.
func (s *scene) openISCSI(program string) []initramfs.File {
	s.t.Helper()
	dir, err := cache.Dir()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.linked(filepath.Join(dir, "open-iscsi"), "/sbin/"+program)
}

// linked returns a program of a tree, its loader and its libraries. Those that the
// tree lacks every Debian has.
func (s *scene) linked(tree, program string) (files []initramfs.File) {
	s.t.Helper()
	add := func(destination string, folders ...string) string {
		for _, folder := range folders {
			path, err := filepath.EvalSymlinks(filepath.Join(folder, filepath.Base(destination)))
			if err == nil {
				files = append(files, initramfs.File{Source: path, Destination: destination})
				return path
			}
		}
		s.t.Fatalf("%v: %s is not in %s", ErrTools, destination, tree)
		return ""
	}
	const libraries = "/lib/x86_64-linux-gnu"
	libraryFolders := []string{tree + libraries, tree + "/usr" + libraries, "/usr" + libraries, libraries}
	add("/lib64/ld-linux-x86-64.so.2", libraryFolders...)
	seen := map[string]bool{"ld-linux-x86-64.so.2": true}
	var walk func(program string)
	walk = func(program string) {
		f, err := elf.Open(program)
		if err != nil {
			s.t.Fatal(err)
		}
		defer f.Close()
		needed, err := f.ImportedLibraries()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range needed {
			if !seen[name] {
				seen[name] = true
				walk(add(libraries+"/"+name, libraryFolders...))
			}
		}
	}
	walk(add(program, tree+filepath.Dir(program), tree+"/usr"+filepath.Dir(program)))
	return files
}

// TestISCSIStartRecords compares rootlun fw --iscsistart with iscsistart -f of
// Debian on the same machine, byte for byte.
func TestISCSIStartRecords(t *testing.T) {
	ip := netip.MustParseAddr
	for name, edit := range map[string]func(*ibft.Table){
		"mutual-chap": func(*ibft.Table) {},
		"rich": func(b *ibft.Table) {
			n := &b.NICs[0]
			n.Origin, n.DHCP, n.VLAN = ibft.OriginDHCP, ip("10.0.2.2"), 0xa02a
			n.DNS = [2]netip.Addr{ip("10.0.2.3"), ip("10.0.2.4")}
			n.Hostname = "node1"
			second := b.Targets[0]
			second.Index, second.Name, second.Boot, second.Port, second.LUN = 1, "iqn.2025-01.test.rootlun:second", false, 0, ibft.LUN{0x41, 0x2c}
			second.CHAPType = ibft.CHAPNone // its strings are shown all the same
			b.Targets = append(b.Targets, second)
			third := second // without flags: it has no record
			third.Index, third.Name, third.Valid = 2, "iqn.2025-01.test.rootlun:third", false
			b.Targets = append(b.Targets, third)
		},
		"ipv6": func(b *ibft.Table) {
			n, g := &b.NICs[0], &b.Targets[0]
			n.IP, n.PrefixLen, n.Gateway, n.DNS[0] = ip("2001:db8::15"), 64, ip("2001:db8::1"), ip("2001:db8::53")
			g.IP, g.CHAPType, g.CHAPName, g.ReverseCHAPName = ip("2001:db8::2"), ibft.CHAPNone, "", ""
		},
		"another-nic": func(b *ibft.Table) { b.NICs[0].MAC[5]++ },
		"no-nic":      func(b *ibft.Table) { b.Targets[0].NIC = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			files := append(s.openISCSI("iscsistart"), initramfs.File{Source: filepath.Join(filepath.Dir(s.image), "rootlun"), Destination: "/usr/bin/rootlun"})
			image, err := s.MakeGuest(s.dir, []byte(recordsInit), []string{"virtio_pci", "virtio_net", "iscsi_ibft"}, files...)
			if err != nil {
				t.Fatal(err)
			}
			target := s.chapTarget(true)
			table := FirmwareTable(initiatorName, 3260, target)
			edit(&table)
			_, console := s.run(Machine{Dir: s.dir, Kernel: s.Kernel, Initrd: image, ACPI: s.acpi(table), Cmdline: []string{"quiet"}})
			shown := func(who string) string {
				m := regexp.MustCompile(`(?s)BEGIN ` + who + `\n(.*?)END (\d+)\n`).FindStringSubmatch(strings.ReplaceAll(console, "\r", ""))
				if m == nil {
					t.Fatalf("no output of %s:\n%s", who, tail(console, 40))
				}
				// The kernel's folders have no order of their own. What is said
				// where there is no record is everybody's own.
				records := regexp.MustCompile(`(?s)# BEGIN RECORD.*?# END RECORD\n`).FindAllString(m[1], -1)
				slices.Sort(records)
				return strings.Join(records, "") + "exit code " + m[2]
			}
			want := shown("iscsistart")
			for _, who := range []string{"rootlun", "sysfs"} {
				if diff := cmp.Diff(want, shown(who)); diff != "" {
					t.Errorf("%s (-iscsistart +ours):\n%s", who, diff)
				}
			}
			noSecret(t, shown("hidden"), target)
		})
	}
}
