package qemutests

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Who keeps the root's session: the columns of the table of docs/survival.md.
const (
	besideISCSID = "rootlun, before and after iscsid"
	iscsid       = "iscsid, by rootlun's records"
	noISCSID     = "rootlun, without open-iscsi"
)

// survival is what was survived, as docs/survival.md has it in a table.
type survival struct {
	mu    sync.Mutex
	cells map[[2]string]string // by what, and who kept the session
}

// add notes that a system survived something.
func (s *survival) add(what, keeper string) { s.note(what, keeper, "survives") }

// lost notes that it did not, and can't.
func (s *survival) lost(what, keeper string) { s.note(what, keeper, "**is lost**") }

func (s *survival) note(what, keeper, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells == nil {
		s.cells = map[[2]string]string{}
	}
	s.cells[[2]string{what, keeper}] = how
}

// table is the table of docs/survival.md. Its rows are in the order of the test.
func (s *survival) table() string {
	columns := []string{besideISCSID, iscsid, noISCSID}
	var b strings.Builder
	fmt.Fprintf(&b, "| while the root is written to | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, what := range trials() {
		fmt.Fprintf(&b, "| %s |", what)
		for _, column := range columns {
			b.WriteString(strings.TrimRight(" "+s.cells[[2]string{what, column}], " ") + " |")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// compare holds the table of docs/survival.md against what was survived; with -update it writes it.
func (s *survival) compare(t *testing.T) {
	t.Helper()
	const begin, end = "<!-- What survives what: made by go test ./qemu-tests -run Survival -update -->\n", "<!-- end -->\n"
	const file = "../docs/survival.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Errorf("%s has no place for the table", file)
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+s.table()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case table != s.table():
		t.Errorf("%s says\n%s\nbut it is\n%s", file, table, s.table())
	}
	for cell := range s.cells {
		if !slices.Contains(trials(), cell[0]) {
			t.Errorf("%q has no row", cell[0])
		}
	}
}
