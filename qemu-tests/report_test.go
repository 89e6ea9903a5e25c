package qemutests

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReport(t *testing.T) {
	const text = "@ /proc/mounts\r\n|a b\r\n||c\r\n\r\n@ /x/1/y\r\n|1\r\n@ /empty\r\n"
	got, err := parseReport(text + "@ end\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Report{"/proc/mounts": "a b\n|c\n", "/x/1/y": "1\n", "/empty": "", "end": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := got.Text("/x/*/y"); got != "1" {
		t.Errorf("Text: %q", got)
	}
	for name, text := range map[string]string{"nothing": "", "no end": text} {
		if _, err := parseReport(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
