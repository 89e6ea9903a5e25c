package qemutests

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

//go:embed guest/attach-init
var attachInit []byte

// attachImage is an initramfs that calls rootlun attach and handoff, and has
// nothing else of rootlun's.
func (s *scene) attachImage() string {
	s.t.Helper()
	image, err := s.MakeGuest(s.dir, attachInit, []string{"virtio_pci", "virtio_net", "virtio_blk", "sd_mod", "iscsi_tcp", "crc32c_generic", "af_packet", "ext4", "iscsi_ibft"},
		initramfs.File{Source: s.init, Destination: "/usr/bin/rootlun"})
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

// TestAttach boots by another initramfs, whose session is then repaired as that of
// rootlun's own is.
func TestAttach(t *testing.T) {
	s := newScene(t)
	m, _, _, _ := s.keepMachine(nil, "keep.repairs=1", "root=LABEL="+RootLabel)
	m.Initrd = s.attachImage()
	r := s.start(m)
	s.waitFor(r, "the load begins")
	m.Plugs[0].Cable.Reset()
	report, console := s.booted(r)
	checkLoad(t, report)
	checkKeeper(t, report)
	checkProcess(t, report)
	shows(t, console, "attach: 0 /dev/sda", "handoff: 2", "handoff: 0")
	if files := report["$ ls -laR /run"]; strings.Contains(files, "/run/systemd/system") || !strings.Contains(files, "open-iscsi.interface") {
		t.Errorf("for a root without systemd there is\n%s", files)
	}
}

// What attach prints, and ends with, where the root is not simply there.
func TestAttachElsewhere(t *testing.T) {
	for name, row := range map[string]struct {
		lvm   bool // the LUN is a physical volume
		words []string
		shows []string
	}{
		"nothing asked for": {words: []string{"root=LABEL=" + RootLabel}, shows: []string{"attach: 21 \r", "handoff: 2\r"}},
		"LVM": {lvm: true, words: []string{"root=UUID=" + RootUUID, static, iname, "netroot"},
			shows: []string{"attach: 0 UUID=" + RootUUID + "\r", "state.json"}},
		"fallback": {words: []string{static, iname, "rd.rootlun.timeout=3", "netroot=iscsi:" + HostAddress + "::1:1:" + targetName, "rd.rootlun.fallback=local:LABEL=rescue"},
			shows: []string{"LABEL=rescue of this machine is booted INSTEAD", "attach: 0 LABEL=rescue\r", "state.json"}},
		"failure": {words: []string{static, iname, "rd.rootlun.timeout=3", "netroot=iscsi:" + HostAddress + "::1:1:" + targetName},
			shows: []string{"failed:   reach the root's disk", "next:     what this initramfs does without its root", "attach: 1 \r"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if row.lvm {
				image := filepath.Join(s.dir, "disk.img")
				disk := make([]byte, 8<<20)
				copy(disk[0x218:], "LVM2 001")
				if err := os.WriteFile(image, disk, 0o600); err != nil {
					t.Fatal(err)
				}
				target := Target{Name: targetName, Image: image, LUN: 1}
				row.words[len(row.words)-1] = netroot("", s.tgt(target), target)
			}
			m := s.machine(row.words...)
			m.Initrd = s.attachImage()
			console := s.fail(m)
			shows(t, console, row.shows...)
			if name == "nothing asked for" && strings.Contains(console, "starts") {
				t.Error("something was begun though nothing asks for iSCSI")
			}
		})
	}
}
