package qemutests

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Report is what the root's init wrote: the text of each file by its path, and
// the output of each command by "$ " and the command.
type Report map[string]string

// parseReport reads the lines that guest/root-init writes: "@ NAME" begins an
// entry, "|TEXT" is one of its lines, "@ end" ends the report.
func parseReport(text string) (Report, error) {
	report := Report{}
	name := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if next, ok := strings.CutPrefix(line, "@ "); ok {
			name = next
			report[name] = ""
		} else if line, ok := strings.CutPrefix(line, "|"); ok {
			report[name] += line + "\n"
		}
	}
	if len(report) == 0 {
		return nil, errors.New("the root's init did not run")
	}
	if name != "end" {
		return report, fmt.Errorf("the root's init did not come to the end of its report: %s is the last entry", name)
	}
	return report, nil
}

// Text returns the entry of a file without its last newline. The path's "*"
// stand for any text without a slash; it is empty when no file matches, or
// more than one.
func (r Report) Text(path string) string {
	found := r.Match(path)
	if len(found) != 1 {
		return ""
	}
	return strings.TrimSuffix(r[found[0]], "\n")
}

// Match returns the names of the entries that a pattern of path.Match fits.
func (r Report) Match(pattern string) []string {
	var found []string
	for name := range r {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}
