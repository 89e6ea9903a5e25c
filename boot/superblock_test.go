package boot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testUUID = "5d5f2b1c-7d2a-4a5e-9c0e-0123456789ab"

// tool skips the test where a program is missing, unless the run demands it.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/sbin", "/usr/sbin"} {
			if p := filepath.Join(dir, name); path == "" {
				if _, err := os.Stat(p); err == nil {
					path = p
				}
			}
		}
	}
	if path == "" {
		if os.Getenv("ROOTLUN_REQUIRE_TOOLS") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

func sparse(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// The real mkfs programs make what is read here.
func TestReadSuperblock(t *testing.T) {
	for _, tt := range []struct {
		want superblock
		mkfs []string
		size int64
	}{
		{superblock{"ext4", testUUID, "a root"}, []string{"mkfs.ext4", "-q", "-F", "-U", testUUID, "-L", "a root"}, 16 << 20},
		{superblock{"ext4", testUUID, "old"}, []string{"mkfs.ext4", "-q", "-F", "-t", "ext2", "-U", testUUID, "-L", "old"}, 16 << 20},
		{superblock{"xfs", testUUID, "xroot"}, []string{"mkfs.xfs", "-q", "-f", "-m", "uuid=" + testUUID, "-L", "xroot"}, 320 << 20},
		{superblock{"btrfs", testUUID, "broot"}, []string{"mkfs.btrfs", "-q", "-f", "-U", testUUID, "-L", "broot"}, 128 << 20},
		{superblock{"erofs", testUUID, ""}, []string{"mkfs.erofs", "-U" + testUUID}, 1 << 20},
		{superblock{"squashfs", "", ""}, []string{"mksquashfs"}, 0},
		{superblock{"f2fs", "", ""}, []string{"mkfs.f2fs", "-q", "-f"}, 64 << 20},
	} {
		t.Run(strings.Join(tt.mkfs[:1], " ")+" "+tt.want.Label, func(t *testing.T) {
			disk := sparse(t, tt.size)
			args := append(tt.mkfs[1:len(tt.mkfs):len(tt.mkfs)], disk)
			switch tt.mkfs[0] {
			case "mkfs.erofs":
				args = append(args, t.TempDir())
			case "mksquashfs":
				args = []string{t.TempDir(), disk, "-noappend", "-quiet"}
			}
			run(t, "", tt.mkfs[0], args...)
			f, err := os.Open(disk)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := readSuperblock(f)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.UUID == "" {
				got.UUID = ""
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadSuperblockOfNone(t *testing.T) {
	for name, want := range map[string]struct {
		data string
		text string
	}{
		"empty":   {"", "the device is empty"},
		"zeroes":  {strings.Repeat("\x00", 1<<17), "no known file system"},
		"LUKS":    {"LUKS\xba\xbe\x00\x02" + strings.Repeat("\x00", 4096), "a LUKS volume"},
		"LVM":     {strings.Repeat("\x00", 0x200) + "LABELONE" + strings.Repeat("\x00", 16) + "LVM2 001" + strings.Repeat("\x00", 4096), "an LVM physical volume"},
		"swap":    {strings.Repeat("\x00", 0xff6) + "SWAPSPACE2", "swap space"},
		"cut off": {strings.Repeat("\x00", 0x438) + "\x53", "no known file system"},
	} {
		_, err := readSuperblock(strings.NewReader(want.data))
		if !errors.Is(err, errNoFilesystem) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v, want %q", name, err, want.text)
		}
	}
}

func FuzzReadSuperblock(f *testing.F) {
	f.Add([]byte(strings.Repeat("\x00", 0x438) + "\x53\xef"))
	f.Add([]byte("XFSB" + strings.Repeat("x", 200)))
	f.Fuzz(func(t *testing.T, b []byte) {
		readSuperblock(strings.NewReader(string(b)))
		readPartitions(strings.NewReader(string(b)), 512)
	})
}

// sfdisk makes the tables.
func TestReadPartitions(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         []partition
	}{
		{"gpt", "label: gpt\nsize=1MiB, uuid=" + testUUID + ", name=\"the boot\"\nsize=1MiB, uuid=00112233-4455-6677-8899-AABBCCDDEEFF, name=wurzel-ä\n", []partition{
			{1, testUUID, "the boot"}, {2, "00112233-4455-6677-8899-aabbccddeeff", "wurzel-ä"},
		}},
		{"mbr", "label: dos\nlabel-id: 0x1234abcd\nsize=1MiB\nsize=1MiB, bootable\n", []partition{
			{1, "1234abcd-01", ""}, {2, "1234abcd-02", ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := sparse(t, 8<<20)
			run(t, tt.script, "sfdisk", "-q", disk)
			f, err := os.Open(disk)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if diff := cmp.Diff(tt.want, readPartitions(f, 512)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if p := readPartitions(strings.NewReader(strings.Repeat("\x00", 1<<16)), 512); p != nil {
		t.Errorf("zeroes hold %v", p)
	}
}
