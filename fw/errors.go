package fw

import (
	"errors"
	"strconv"
	"strings"
)

// ErrNothing says that nothing asks for iSCSI: no word of the kernel command
// line and no target of the firmware.
var ErrNothing = errors.New("nothing asks for an iSCSI disk: the kernel command line has no netroot=iscsi:… and the firmware names no target")

// Error is one thing that a source says and that was not understood.
type Error struct {
	Place string // "kernel command line", or a path
	Word  string // the word, its secrets replaced by ***; empty when the whole place is meant
	Form  string // the right form; empty when there is none to show
	Err   error  // what is wrong
}

// Error names the place, the word, what is wrong, and the right form.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Place + ": ")
	if e.Word != "" {
		b.WriteString(quote(e.Word) + ": ")
	}
	b.WriteString(e.Err.Error())
	if e.Form != "" {
		b.WriteString("; the right form is " + e.Form)
	}
	return b.String()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// mistake is an Error; an empty word or form is left out of its text.
func mistake(place, word, form string, err error) *Error { return &Error{place, word, form, err} }

// report is what one source has to complain about.
type report struct {
	place    string // what the source is called, "kernel command line"
	errs     []error
	warnings []string
}

func (r *report) fail(err error) { r.errs = append(r.errs, err) }

func (r *report) warn(parts ...string) {
	r.warnings = append(r.warnings, strings.Join(parts, ""))
}

// quote makes text from outside fit for one line of a console: control
// characters are escaped, and what is very long is cut.
func quote(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}
