package fw

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/rootlun/rootlun/ibft"
)

// firmware is what one place of the firmware's says, or several that add up.
// A zero value says nothing. Its errors are of tables, targets and fields that
// cannot be used.
type firmware struct {
	report
	from      string // where it was found; empty: nowhere
	initiator Initiator
	nics      []NIC    // in the order of the place
	targets   []Target // the one to try first stands first
	tables    []Table  // that all of it is from; none for Open Firmware
}

// place reads what one place has: one firmware a table, in their order. A table
// that is refused is one that has errors alone.
type place func(fsys fs.FS, lenient bool) []*firmware

// readFirmware takes the table that is given, else the first place that names
// a target. Without any it takes the first that can be read at all. What is
// refused on the way is in its errors. With lenient a table may have a wrong
// checksum or revision.
func readFirmware(s *Sources, lenient bool) *firmware {
	places := []place{readACPI, readIBFT, readLowMemory, readAdapters, readOpenFirmware}
	if s.Table != nil {
		places = []place{func(fs.FS, bool) []*firmware { return dump(s.Table, s.TableFrom, lenient) }}
	}
	out := new(firmware)
	for _, read := range places {
		for _, f := range read(s.FS, lenient) {
			out.take(f)
			if len(out.targets) > 0 {
				return out
			}
		}
	}
	return out
}

// take goes over to g where it says more; what both complain about adds up.
func (f *firmware) take(g *firmware) {
	all := report{f.place, append(f.errs, g.errs...), append(f.warnings, g.warnings...)}
	if f.from == "" || len(g.targets) > 0 {
		*f = *g
	}
	f.report = all
}

// add puts g's NICs and targets after those of f.
func (f *firmware) add(g *firmware) {
	for i := range g.targets {
		if t := &g.targets[i]; t.NIC >= 0 {
			t.NIC += len(f.nics)
		}
	}
	f.targets = append(f.targets, g.targets...)
	f.nics, f.tables = append(f.nics, g.nics...), append(f.tables, g.tables...)
	f.errs, f.warnings = append(f.errs, g.errs...), append(f.warnings, g.warnings...)
	f.from = first(f.from, g.from)
	switch {
	case f.initiator.Name == "":
		f.initiator = g.initiator
	case g.initiator.Name != "" && g.initiator.Name != f.initiator.Name:
		f.warn(g.from, ": its initiator name ", quote(g.initiator.Name), " is not used: it is ",
			quote(f.initiator.Name), " by ", f.initiator.From)
	}
	f.sort()
}

// sort puts boot-selected targets before valid ones before others.
func (f *firmware) sort() {
	rank := func(t *Target) int {
		switch {
		case t.Boot && t.Valid:
			return 0
		case t.Valid:
			return 1
		}
		return 2
	}
	var sorted []Target
	for want := range 3 {
		for i := range f.targets {
			if t := &f.targets[i]; rank(t) == want {
				sorted = append(sorted, *t)
			}
		}
	}
	f.targets = sorted
}

// readTable decodes a table that lies at file, for errors. from is what the
// From of its values says.
func readTable(raw []byte, file, from string, lenient bool) *firmware {
	parse := ibft.Parse
	if lenient {
		parse = ibft.ParseLenient
	}
	t, err := parse(raw)
	if err == nil {
		return fromTable(t, from)
	}
	if format, ok := errors.AsType[*ibft.FormatError](err); ok && format.Tolerable {
		err = fmt.Errorf("%w; rd.rootlun.ibft=lenient takes the table all the same", err)
	}
	return refused(file, err)
}

// refused is what a place says that cannot be read.
func refused(place string, err error) *firmware {
	f := &firmware{}
	f.fail(mistake(place, "", "", err))
	return f
}

func setLenient(c *command, w word) error {
	if w.value != "lenient" {
		return errors.New("only lenient can be asked for")
	}
	c.lenient = true
	return nil
}
