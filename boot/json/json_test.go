package json

import (
	std "encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Text string  `json:"text"`
	Real float64 `json:"real"`
}

type outer struct {
	Name    string       `json:"name"`
	Yes     bool         `json:"yes"`
	Small   int8         `json:"small"`
	Big     uint64       `json:"big"`
	List    []inner      `json:"list"`
	Numbers [3]uint16    `json:"numbers"`
	Addr    netip.Addr   `json:"addr"`
	Nets    []netip.Addr `json:"nets"`
	Pointer *inner       `json:"pointer"`
	None    *inner       `json:"none"`
	Hidden  string
}

var sample = outer{
	Name: "a \"quoted\" \\ line\nbreak \x01 ä € 😀", Yes: true, Small: -5, Big: 1<<64 - 1,
	List:    []inner{{"one", 1.5}, {"two", -0.125}, {"", 0}},
	Numbers: [3]uint16{1, 2, 65535},
	Addr:    netip.MustParseAddr("2001:db8::1"),
	Nets:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), {}},
	Pointer: &inner{"p", 3},
}

// A program that reads our JSON must get what was written.
func TestReadBack(t *testing.T) {
	var got outer
	if err := std.Unmarshal(Marshal(sample), &got); err != nil {
		t.Fatalf("%v\n%s", err, Marshal(sample))
	}
	if diff := cmp.Diff(sample, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestForm(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{nil, "null\n"},
		{[]string(nil), "[]\n"},
		{struct{}{}, "{\n}\n"},
		{[]int{1, 2}, "[\n\t1,\n\t2\n]\n"},
		{inner{"x", 2}, "{\n\t\"text\": \"x\",\n\t\"real\": 2\n}\n"},
		{"\xff\x1b\x7f", "\"\\ufffd\\u001b\\u007f\"\n"},
		{func() {}, "null\n"},
	} {
		if got := string(Marshal(tt.value)); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.value, got, tt.want)
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\u2028\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := std.Unmarshal(Marshal(s), &got); err != nil || got != string([]rune(s)) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	})
}
