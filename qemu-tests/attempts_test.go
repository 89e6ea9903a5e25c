package qemutests

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rootlun/rootlun/initramfs"
)

//go:embed guest/attempts-init
var attemptsInit []byte

// attempt is one `rootlun login` in a machine that makes many.
type attempt struct {
	name    string
	portal  string
	target  string
	lun     int
	options string // more
}

// attempts runs a machine that makes attempts, and returns what it says of each.
func (s *scene) attempts(list []attempt, files ...initramfs.File) map[string]string {
	s.t.Helper()
	var lines strings.Builder
	for _, a := range list {
		fmt.Fprintf(&lines, "%s --portal %s --target %s --lun %d --initiator %s %s\n", a.name, a.portal, a.target, a.lun, initiatorName, a.options)
	}
	file := filepath.Join(s.dir, "attempts")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	image, err := s.MakeGuest(s.dir, attemptsInit, []string{"virtio_pci", "virtio_net"}, append(files,
		initramfs.File{Source: file, Destination: "/attempts"},
		initramfs.File{Source: filepath.Join(filepath.Dir(s.image), "rootlun"), Destination: "/usr/bin/rootlun"})...)
	if err != nil {
		s.t.Fatal(err)
	}
	_, console := s.run(Machine{Dir: s.dir, Kernel: s.Kernel, Initrd: image, Cmdline: []string{"quiet"}})
	said := map[string]string{}
	for _, part := range strings.Split(strings.ReplaceAll(console, "\r\n", "\n"), ">>> ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		text, _, _ = strings.Cut(text, "\n<<<")
		said[name] = text + "\n"
	}
	return said
}

// disk makes dir/NAME.img, of 1 MiB that no other has, and returns its sum too.
func (s *scene) disk(name string) (image, sum string) {
	s.t.Helper()
	data := make([]byte, 0, 1<<20)
	for block := sha256.Sum256([]byte(name)); len(data) < cap(data); block = sha256.Sum256(block[:]) {
		data = append(data, block[:]...)
	}
	image = filepath.Join(s.dir, name+".img")
	if err := os.WriteFile(image, data, 0o644); err != nil {
		s.t.Fatal(err)
	}
	return image, fmt.Sprintf("sum: %x  -\n", sha256.Sum256(data))
}

// credentials makes a file of settings for a target with CHAP.
func (s *scene) credentials(t Target) initramfs.File {
	s.t.Helper()
	file := filepath.Join(s.dir, "credentials")
	text := fmt.Sprintf("node.session.auth.username = %s\nnode.session.auth.password = %s\n", t.Username, t.Secret)
	if t.UsernameIn != "" {
		file += "-mutual"
		text += fmt.Sprintf("node.session.auth.username_in = %s\nnode.session.auth.password_in = %s\n", t.UsernameIn, t.SecretIn)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return initramfs.File{Source: file, Destination: "/" + filepath.Base(file)}
}
