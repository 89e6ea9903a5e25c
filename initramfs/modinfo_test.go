package initramfs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseModule(t *testing.T) {
	got, err := parseModule(fakeModule("license=GPL", "alias=pci:v1*", "alias=two words", "alias=fs-x",
		"depends=a-b,c", "softdep=ignored pre: d e-f post: g", "", "nonsense", "softdep=post:"))
	if err != nil {
		t.Fatal(err)
	}
	got.data = nil
	want := &module{
		depends:  []string{"a_b", "c"},
		aliases:  []string{"pci:v1*", "fs-x"},
		softdeps: []softdep{{"d", false}, {"e-f", false}, {"g", true}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(module{}, softdep{})); diff != "" {
		t.Errorf("module (-want +got):\n%s", diff)
	}
}

func TestModuleName(t *testing.T) {
	for _, test := range []struct {
		file, name string
		ok         bool
	}{
		{"kernel/a/crc32c-intel.ko", "crc32c_intel", true},
		{"x.ko.xz", "x", true},
		{"x.ko.zst", "x", true},
		{"x.ko.gz", "x", true},
		{"modules.dep", "", false},
		{"x.koala", "", false},
	} {
		name, ok := moduleName(test.file)
		if ok != test.ok || ok && name != test.name {
			t.Errorf("%s: %q, %t, want %q, %t", test.file, name, ok, test.name, test.ok)
		}
	}
}

// Every truncated module is an error or a module, never a panic.
func TestParseModuleTruncated(t *testing.T) {
	whole := fakeModule("depends=a", "alias=b")
	for n := range whole {
		if _, err := parseModule(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes: no error", n, len(whole))
		}
	}
}

func FuzzParseModule(f *testing.F) {
	f.Add(fakeModule())
	f.Add(fakeModule("depends=a,b", "alias=c*", "softdep=pre: d post: e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseModule(data)
		if (m == nil) == (err == nil) {
			t.Errorf("module %v and error %v", m, err)
		}
	})
}

func FuzzParseModinfo(f *testing.F) {
	f.Add("license=GPL\x00depends=a,b\x00alias=c*\x00softdep=pre: d post: e\x00")
	f.Fuzz(func(t *testing.T, info string) {
		m := &module{}
		m.parseModinfo(info)
		for _, name := range m.depends {
			if name == "" {
				t.Error("a dependency without a name")
			}
		}
	})
}
