package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// verbs are those that rootlun --help lists.
func verbs(t *testing.T) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^  rootlun (\w+) `).FindAllStringSubmatch(usage, -1) {
		names = append(names, m[1])
	}
	if len(names) < 15 {
		t.Fatalf("rootlun --help lists %v alone: does this test still read it?", names)
	}
	return names
}

// help returns what --help of a verb prints, and the options in its table.
func help(t *testing.T, verb string) (text string, options []string) {
	var stdout, stderr strings.Builder
	if code := dispatch([]string{"rootlun", verb, "--help"}, 2, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Errorf("rootlun %s --help: exit code %d, %q", verb, code, &stderr)
	}
	for _, m := range regexp.MustCompile(`(?m)^  --?([\w-]+)( \S+)?  `).FindAllStringSubmatch(stdout.String(), -1) {
		options = append(options, m[1])
	}
	return stdout.String(), options
}

// TestHelp: the help of each verb shows how it is called, and has an example,
// whose options there are.
func TestHelp(t *testing.T) {
	word := regexp.MustCompile(`(^|[ \[])--?([A-Za-z][\w-]*)`)
	for _, verb := range verbs(t) {
		text, options := help(t, verb)
		head, rest, _ := strings.Cut(text, "\n\n")
		if !strings.HasPrefix(head, "usage: rootlun "+verb) {
			t.Errorf("rootlun %s --help begins with %q", verb, head)
		}
		example := "rootlun " + verb
		if verb == "init" { // its arguments are for the real init
			example = `exec rootlun "$@"`
		}
		var examples []string
		for line := range strings.Lines(rest) {
			if strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "  -") {
				examples = append(examples, line)
			}
		}
		if !strings.Contains(strings.Join(examples, ""), example) {
			t.Errorf("rootlun %s --help has no example", verb)
		}
		for _, line := range append(examples, head) {
			_, line, _ = strings.Cut(line, "rootlun "+verb) // what stands before is another program's
			line, _, _ = strings.Cut(line, " && mount")
			for _, m := range word.FindAllStringSubmatch(line, -1) {
				if !slices.Contains(options, m[2]) {
					t.Errorf("rootlun %s --help: there is no option %s, as in %q", verb, m[2], line)
				}
			}
		}
	}
}

// section returns what stands in a page below .SH name.
func section(t *testing.T, page, name string) string {
	_, text, ok := strings.Cut(page, "\n.SH "+name+"\n")
	text, _, _ = strings.Cut(text, "\n.SH ")
	if !ok {
		t.Fatalf("the page has no %s", name)
	}
	return text + "\n"
}

// TestManual: rootlun(8) has all verbs and all of their options, and no others.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("../../docs/rootlun.8")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	known := verbs(t)
	listed := func(name, pattern string) (found []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(section(t, page, name), -1) {
			if m[1] != "help" {
				found = append(found, m[1])
			}
		}
		slices.Sort(found)
		return slices.Compact(found)
	}
	sorted := slices.Sorted(slices.Values(known))
	if diff := cmp.Diff(sorted, listed("SYNOPSIS", `(?m)^\.B rootlun (\w+)`)); diff != "" {
		t.Errorf("SYNOPSIS has other verbs than rootlun --help (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sorted, listed("COMMANDS", `(?m)^\.TP\n\.B[RI]? (\w+)`)); diff != "" {
		t.Errorf("COMMANDS has other verbs than rootlun --help (-want +got):\n%s", diff)
	}

	options := map[string][]string{} // by verb
	for _, verb := range known {
		options[verb] = nil
	}
	for ss := range strings.SplitSeq(section(t, page, "OPTIONS"), "\n.SS ") {
		heading, body, _ := strings.Cut(ss, "\n")
		of := slices.DeleteFunc(strings.FieldsFunc(heading, func(r rune) bool { return r == ' ' || r == ',' }),
			func(word string) bool { return !slices.Contains(known, word) })
		for i, item := range strings.Split(body, ".TP\n") {
			m := regexp.MustCompile(`^\.BI? (?:\\-)+([\w\\-]+)`).FindStringSubmatch(item)
			if m == nil && i > 0 {
				t.Errorf("below %q: no option begins %q", heading, item)
			} else if m == nil {
				continue
			}
			for _, verb := range of {
				only := regexp.MustCompile(`^.*\n\.RB \( (\w+) \)\n`).FindStringSubmatch(item)
				not := regexp.MustCompile(`Not for\n\.BR (\w+) \.`).FindStringSubmatch(item)
				if (only == nil || only[1] == verb) && (not == nil || not[1] != verb) {
					options[verb] = append(options[verb], strings.ReplaceAll(m[1], `\-`, "-"))
				}
			}
		}
	}
	for _, verb := range slices.Sorted(maps.Keys(options)) {
		_, want := help(t, verb)
		slices.Sort(want)
		got := slices.Sorted(slices.Values(append(options[verb], "help"))) // which COMMANDS tells of
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: OPTIONS differs from rootlun %s --help (-want +got):\n%s", verb, verb, diff)
		}
	}
}
