package boot

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestModulesFit(t *testing.T) {
	other := fstest.MapFS{"lib/modules/5.10.0/modules.dep": {}}
	for _, tt := range []struct {
		fsys fstest.MapFS
		want string
	}{
		{fstest.MapFS{"lib/modules/6.1.0/modules.dep": {}}, ""},
		{fstest.MapFS{"sys/class/iscsi_transport": {}}, ""},
		{other, "the kernel is 6.1.0, and the image has the modules of 5.10.0"},
		{fstest.MapFS{}, "the image has no modules"},
	} {
		err := modulesFit(tt.fsys, "6.1.0")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.fsys, err, tt.want)
		}
	}
}
