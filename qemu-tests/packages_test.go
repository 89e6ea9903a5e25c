package qemutests

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loadPackages makes the packages of Debian for amd64, once, in a folder.
var loadPackages func() (dir string, err error)

// deb returns the package rootlun, for builder.put.
func (s *scene) deb() string { return s.debs("rootlun_*_amd64.deb") }

// debs returns the package whose file the pattern matches.
func (s *scene) debs(pattern string) string {
	s.t.Helper()
	dir, err := loadPackages()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.only(dir, pattern)
}

func (s *scene) only(dir, pattern string) string {
	s.t.Helper()
	file, err := only(filepath.Join(dir, pattern))
	if err != nil {
		s.t.Fatal(err)
	}
	return file
}

// TestPackages makes all packages as `make packages` does, and the first of them
// once more, by another umask and in another time zone. They hold the same files.
func TestPackages(t *testing.T) {
	s := newSystem(t)
	if err := run(s.ctx, "env", "TZ=Asia/Kolkata", "sh", "-c", `umask 077; exec "$0" "$1"`, filepath.Join(s.Repo, "scripts", "packages"), s.dir); err != nil {
		t.Fatal(err)
	}
	first, again := s.deb(), s.only(s.dir, "rootlun_*_amd64.deb")
	one, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(first) != filepath.Base(again) || !bytes.Equal(one, two) {
		t.Errorf("%s and %s differ", first, again)
	}
	for _, arch := range []struct {
		deb, rpm, apk string
		machine       elf.Machine
	}{
		{"amd64", "x86_64", "x86_64", elf.EM_X86_64},
		{"arm64", "aarch64", "aarch64", elf.EM_AARCH64},
	} {
		deb := s.unpack("rootlun_*_"+arch.deb+".deb", "dpkg-deb -x $1 $2")
		want := contents(t, deb)
		for _, program := range []string{"usr/sbin/rootlun", "usr/sbin/rootlun-initramfs", "usr/lib/rootlun/iscsistart"} {
			f, err := elf.Open(filepath.Join(deb, program))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != arch.machine {
				t.Errorf("%s of %s is for %v", program, arch.deb, f.Machine)
			}
			_ = f.Close()
		}
		rpm := s.unpack("rootlun-*."+arch.rpm+".rpm", "rpm --root $2 --ignorearch -i $1")
		if diff := cmp.Diff(want, contents(t, rpm)); diff != "" {
			t.Errorf("the package for rpm has not what Debian's has (-want +got):\n%s", diff)
		}
		apk := s.unpack("rootlun_*_"+arch.apk+".apk", "tar -xzf $1 -C $2")
		if diff := cmp.Diff(want, contents(t, apk)); diff != "" {
			t.Errorf("the package for apk has not what Debian's has (-want +got):\n%s", diff)
		}
		if arch.deb == "amd64" {
			completes(t, deb)
		}
		if err := asRoot("rpm", "--root", rpm, "-e", "rootlun").Run(); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(rpm, "usr/*/rootlun*")); err != nil || left != nil {
			t.Errorf("rpm leaves %q", left)
		}
	}
	out, err := exec.CommandContext(s.ctx, "sh", "-c", `lintian --allow-root "$0"/rootlun*.deb`, s.dir).CombinedOutput()
	if t.Logf("lintian:\n%s", out); err != nil {
		t.Error(err)
	}
}

// unpack gives the shell a package as $1 and a new folder as $2, and returns that.
func (s *scene) unpack(pattern, command string) (dir string) {
	s.t.Helper()
	file := s.only(s.dir, pattern)
	dir = filepath.Join(s.dir, "in-"+filepath.Base(file))
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if !s.t.Failed() {
			_ = asRoot("rm", "-rf", dir).Run()
		}
	})
	if out, err := asRoot("sh", "-ec", command, "sh", file, dir).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return dir
}

// contents tells what each file below a folder is, but of those that one kind of
// package has alone.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	usr := filepath.Join(dir, "usr")
	err := filepath.WalkDir(usr, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(file, "/changelog.Debian.gz") || strings.Contains(file, "/lintian/") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var what []byte
		if info.Mode().IsRegular() {
			what, err = os.ReadFile(file)
		} else {
			var link string
			link, err = os.Readlink(file)
			what = []byte(link)
		}
		name := strings.Replace(strings.TrimPrefix(file, usr), "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
		files[name] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(what))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Each shell's completion is asked for what stands at the end of a line, by the
// functions by which that shell itself asks.
var shells = map[string]string{
	"bash": `compopt() { :; }
. usr/share/bash-completion/completions/${1##*/}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_rootlun "$1" "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"`,
	"zsh": `_call_program() { shift; "$@" }
_describe() { print -l -- ${(P)2%%:*} | grep -e "^$PREFIX" }
_files() { print -l $PREFIX*(N) }
_message() { }
words=("$@") CURRENT=$# service=${1##*/} PREFIX=${@[-1]}
. usr/share/zsh/vendor-completions/_rootlun`,
	"fish": `source usr/share/fish/vendor_completions.d/(basename $argv[1]).fish
string replace -r '\t.*' '' -- (complete -C "$argv"); true`,
}

// completes checks the completion of the shells that are here, in a folder with
// a package. The rows of --help are read, so that a new form of these is missed.
func completes(t *testing.T, dir string) {
	t.Helper()
	for shell, script := range shells {
		for _, c := range []struct {
			words []string
			want  string
		}{
			{[]string{"rootlun", "log"}, "login logout"},
			{[]string{"rootlun", "login", "--p"}, "--param --portal"},
			{[]string{"rootlun", "login", "--portal", ""}, ""},
			{[]string{"rootlun", "login", "--credentials", "usr/sbin/rootlun-"}, "usr/sbin/rootlun-initramfs"},
			{[]string{"rootlun", "sessions", "--lun", "-P"}, "-P"},
			{[]string{"rootlun-initramfs", "--mod"}, "--modules"},
		} {
			name, args := shell, append([]string{"-c", script, shell}, c.words...)
			if shell == "fish" {
				args = append([]string{"--no-config", "-c", script}, c.words...)
			}
			cmd := exec.Command(name, args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+filepath.Join(dir, "usr/sbin")+":"+os.Getenv("PATH"))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			got := strings.Join(slices.Sorted(strings.FieldsSeq(string(out))), " ")
			if err != nil || got != c.want || stderr.Len() > 0 {
				t.Errorf("%s completes %q by %q, want %q: %v %s", shell, c.words, got, c.want, err, &stderr)
			}
		}
	}
}

// TestPackageOnDebian installs the packages, of which the image is made anew,
// and purges them: not a file is there that was not before, and not one differs.
func TestPackageOnDebian(t *testing.T) {
	for _, row := range []struct{ builder, dpkg string }{
		{"debian12-builder", "dpkg"},
		{"debian13-builder", "dpkg --no-triggers"}, // it has the folders /sbin and /usr/sbin for dpkg, too
	} {
		t.Run(row.builder, func(t *testing.T) {
			s := newSystem(t)
			b := s.builder(row.builder)
			// What dpkg and the kernel's image are about is not the same again.
			list := `find / -xdev -path /root -prune -o -path '/boot/initrd.img-*' -printf '%p\n' -o -path /var/log -prune -o -path /var/lib/dpkg -prune -o ` +
				`-type d -printf '%p %m %u:%g\n' -o -printf '%p %m %u:%g %s %T@ %l\n' | sort; ls /var/lib/dpkg/info; dpkg-divert --list | sort`
			before := string(b.run(list))
			b.put(s.deb(), "/root/rootlun.deb")
			b.put(s.debs("rootlun-iscsistart_*.deb"), "/root/rootlun-iscsistart.deb")
			b.run(row.dpkg + " -i /root/*.deb; rootlun version; iscsistart.open-iscsi --version; readlink /sbin/iscsistart | grep -x rootlun")
			const has = "lsinitramfs /boot/initrd.img-* | grep -x usr/sbin/rootlun"
			if row.dpkg == "dpkg" { // open-iscsi's scripts have rootlun; its own scripts only where they have not
				b.run("lsinitramfs /boot/initrd.img-* >/tmp/list; grep -x usr/sbin/iscsistart /tmp/list; ! grep scripts/.*/rootlun /tmp/list; " + has)
			}
			b.run(row.dpkg + " --purge rootlun rootlun-iscsistart; iscsistart --version; ! " + has)
			if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(string(b.run(list)), "\n")); diff != "" {
				t.Errorf("the package leaves a trace (-before +after):\n%s", diff)
			}
		})
	}
}
