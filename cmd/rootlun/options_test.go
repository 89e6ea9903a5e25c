package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// values is what the options of testCommand set.
type values struct {
	Name   string
	N      uint64
	Wait   time.Duration
	Quiet  bool
	Params []string
	Args   []string
}

func testCommand(v *values) *command {
	return &command{
		name:  "test",
		usage: "usage: test\n\n",
		options: []option{
			{"name", "NAME", "a name", toText(&v.Name)},
			{"n", "N", "a number", toNumber(&v.N)},
			{"wait", "TIME", "a time", toDuration(&v.Wait)},
			{"quiet", "", "a switch", toBool(&v.Quiet)},
			{"param", "P", "may be repeated", func(s string) error { v.Params = append(v.Params, s); return nil }},
			{"refuse", "V", "refuses", func(string) error { return errors.New("refused") }},
		},
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		args string // split at blanks; "''" is an empty one
		want values
		err  string // "": there is none
	}{
		{"", values{}, ""},
		{"--name a", values{Name: "a"}, ""},
		{"--name=a", values{Name: "a"}, ""},
		{"-name a", values{Name: "a"}, ""},
		{"-name=a=b", values{Name: "a=b"}, ""},
		{"--name=", values{}, ""},
		{"--name ''", values{}, ""},
		{"--name a --name b", values{Name: "b"}, ""},
		{"--name --quiet", values{Name: "--quiet"}, ""},
		{"--name -- --quiet", values{Name: "--", Quiet: true}, ""},
		{"-n 0x10", values{N: 16}, ""},
		{"--n=18446744073709551615", values{N: 1<<64 - 1}, ""},
		{"--wait 1m30s --quiet", values{Wait: 90 * time.Second, Quiet: true}, ""},
		{"--quiet --quiet=false", values{}, ""},
		{"--param a -param=b --param c=d", values{Params: []string{"a", "b", "c=d"}}, ""},
		{"a --quiet b", values{Quiet: true, Args: []string{"a", "b"}}, ""},
		{"-- --quiet -- -", values{Args: []string{"--quiet", "--", "-"}}, ""},
		{"- ''", values{Args: []string{"-", ""}}, ""},

		{"--name", values{}, "--name needs a value: NAME"},
		{"--bogus=secret", values{}, "there is no option --bogus"},
		{"---name a", values{}, "there is no option ---name"},
		{"--=secret", values{}, "there is no option --"},
		{"--n secret", values{}, "--n: want a number from 0"},
		{"--n -1", values{}, "--n: want a number from 0"},
		{"--wait 0s", values{}, "--wait: want a time above 0, such as 30s or 2m"},
		{"--wait 30", values{}, "--wait: want a time above 0, such as 30s or 2m"},
		{"--quiet=secret", values{}, "--quiet: want true or false"},
		{"--refuse secret", values{}, "--refuse: refused"},
		{"--help", values{}, errHelp.Error()},
		{"-h", values{}, errHelp.Error()},
	} {
		args := strings.Fields(tt.args)
		for i, a := range args {
			args[i] = strings.Trim(a, "'")
		}
		var got values
		c := testCommand(&got)
		c.arg = func(s string) error { got.Args = append(got.Args, s); return nil }
		err := c.parse(args)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: error %v, want %s", tt.args, err, tt.err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: error %v (-want +got):\n%s", tt.args, err, diff)
		}
	}
}

// A verb without arguments refuses them, and one that must have an option misses it.
func TestCommand(t *testing.T) {
	const help = "usage: test\n\n" +
		"  --name NAME               a name\n" +
		"  -n N                      a number\n" +
		"  --wait TIME               a time\n" +
		"  --quiet                   a switch\n" +
		"  --param P                 may be repeated\n" +
		"  --refuse V                refuses\n" +
		"  --help                    print this\n"
	const more = "\nrootlun test --help tells more\n"
	for _, tt := range []struct {
		args           []string
		code           int
		ok             bool
		stdout, stderr string
	}{
		{[]string{"--name", "a"}, 0, true, "", ""},
		{[]string{"--help"}, 0, false, help, ""},
		{[]string{"--bogus", "--help"}, 2, false, "", "rootlun test: there is no option --bogus" + more},
		{[]string{"--name", "a", "secret"}, 2, false, "", "rootlun test: argument 3 belongs to no option" + more},
		{[]string{"--", "--name"}, 2, false, "", "rootlun test: argument 2 belongs to no option" + more},
		{nil, 2, false, "", "rootlun test: --name is missing" + more},
		{[]string{"--name", "a", "--name="}, 2, false, "", "rootlun test: --name is missing" + more},
	} {
		var stdout, stderr strings.Builder
		c := testCommand(&values{})
		c.must = []string{"name"}
		code, ok := c.read(tt.args, &stdout, &stderr)
		if code != tt.code || ok != tt.ok || stdout.String() != tt.stdout || stderr.String() != tt.stderr {
			t.Errorf("%q: %d, %v, stdout %q, stderr %q; want %d, %v, %q, %q", tt.args, code, ok, &stdout, &stderr, tt.code, tt.ok, tt.stdout, tt.stderr)
		}
	}
}
