package fw

import (
	"flag"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of parameters anew, from docs/parameters")

// documented is a block of docs/parameters: one row of the tables.
type documented struct {
	heading                 string // that starts here; empty: none
	forms, dialect, meaning string
	examples                []string
}

func readParameters(t *testing.T) (rows []documented) {
	text, err := os.ReadFile("../docs/parameters")
	if err != nil {
		t.Fatal(err)
	}
	heading := ""
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		if h, ok := strings.CutPrefix(block, "## "); ok {
			heading = h
			continue
		}
		if strings.HasPrefix(block, "#") {
			continue
		}
		f := strings.Split(block, "\n")
		if len(f) < 3 {
			t.Fatalf("docs/parameters: %q has less than a form, a dialect and a meaning", block)
		}
		rows = append(rows, documented{heading, f[0], f[1], f[2], f[3:]})
		heading = ""
	}
	return rows
}

// TestDocs: parameters.md and the man page hold the same rows, those of
// docs/parameters; each parameter that is read has one, and no row has one
// that is not read; each example is understood.
func TestDocs(t *testing.T) {
	rows := readParameters(t)
	insert(t, "../docs/parameters.md", "<!-- parameters: made from docs/parameters -->\n", "<!-- end of parameters -->\n", markdown(rows))
	insert(t, "../docs/rootlun.cmdline.7", ".\\\" parameters: made from docs/parameters\n", ".\\\" end of parameters\n", roff(rows))

	found := make(map[string]bool)
	table := parameters()
	for _, row := range rows {
		for form := range strings.SplitSeq(row.forms, ", ") {
			name, _, _ := strings.Cut(form, "=")
			if p, _ := lookup(table, name); p == nil {
				t.Errorf("%s is documented, and not read", form)
			}
			found[name] = true
		}
		for dialect := range strings.SplitSeq(row.dialect, ", ") {
			if !strings.Contains(" dracut Debian kernel rootlun ", " "+dialect+" ") {
				t.Errorf("%s: %q is no dialect", row.forms, dialect)
			}
		}
		if len(row.examples) == 0 && !strings.HasPrefix(row.meaning, "Refused") {
			t.Errorf("%s has no example", row.forms)
		}
		for _, example := range row.examples {
			checkExample(t, row, example)
		}
	}
	for _, p := range table {
		for _, name := range []string{p.name, p.old} {
			if name != "" && !found[name] {
				t.Errorf("%s is read, and not in docs/parameters", name)
			}
		}
	}
}

// checkExample reads an example, on a machine that has else what a boot needs.
func checkExample(t *testing.T, row documented, example string) {
	line := example
	if !strings.Contains(line, "=iscsi:") && !strings.Contains(line, "target") {
		line = "netroot=iscsi:192.168.50.1::::iqn.2009-06.com.example:disk " + line
	}
	p, err := Read(Sources{FS: fstest.MapFS{
		"proc/cmdline":            {Data: []byte(line)},
		"etc/rootlun/credentials": {Data: []byte("node.session.auth.username = u\nnode.session.auth.password = secret-of-u\n"), Mode: 0o600},
		"etc/initiatorname.iscsi": {Data: []byte("InitiatorName=iqn.2009-06.com.example:host\n")},
	}})
	if err != nil || len(p.Targets) == 0 {
		t.Errorf("%s: %v, targets %v", example, err, p.Targets)
	}
	named := false
	for form := range strings.SplitSeq(row.forms, ", ") {
		name, _, _ := strings.Cut(form, "=")
		for _, w := range split(example) {
			named = named || w.name == name
		}
	}
	if !named {
		t.Errorf("%s is no example of %s", example, row.forms)
	}
}

// insert holds what stands in a file between two lines to text, or writes it.
func insert(t *testing.T, file, begin, end, text string) {
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(old), begin)
	was, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: the lines are missing between which the table stands", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+text+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(text, was); diff != "" {
		t.Errorf("%s is not as docs/parameters has it: go test ./fw -run Docs -update\n%s", file, diff)
	}
}

func markdown(rows []documented) string {
	var b strings.Builder
	code := func(s string) string { return "`" + strings.ReplaceAll(s, "|", `\|`) + "`" }
	for _, row := range rows {
		if row.heading != "" {
			b.WriteString("\n**" + row.heading + "**\n\n| parameter | dialect | meaning | example |\n|---|---|---|---|\n")
		}
		var forms, examples []string
		for form := range strings.SplitSeq(row.forms, ", ") {
			forms = append(forms, code(form))
		}
		for _, e := range row.examples {
			examples = append(examples, code(e))
		}
		b.WriteString("| " + strings.Join(forms, ", ") + " | " + row.dialect + " | " + row.meaning + " | " + strings.Join(examples, "<br>") + " |\n")
	}
	return b.String() + "\n"
}

// breakable lets a word be broken behind a colon, as there may be no blank in a line.
func breakable(s string) string { return strings.ReplaceAll(s, ":", `:\:`) }

func roff(rows []documented) string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\&...`, "'", `\(aq`, "`", `\(ga`)
	for _, row := range rows {
		if row.heading != "" {
			b.WriteString(".SS " + row.heading + "\n")
		}
		for i, form := range strings.Split(row.forms, ", ") {
			b.WriteString(map[bool]string{true: ".TP\n", false: ".TQ\n"}[i == 0] + ".B " + breakable(escape.Replace(form)) + "\n")
		}
		b.WriteString("\\&" + escape.Replace(row.meaning) + "\n(" + row.dialect + ")\n")
		for _, e := range row.examples {
			b.WriteString(".br\n.I \"" + strings.ReplaceAll(breakable(escape.Replace(e)), `"`, `\(dq`) + "\"\n")
		}
	}
	return b.String()
}
