package fw

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// initramfsVariables are the names that open-iscsi's local-top script reads
// from it. In lower case they are parameters of the kernel command line.
const initramfsVariables = "ISCSI_AUTO ISCSI_INITIATOR ISCSI_TARGET_NAME ISCSI_TARGET_IP ISCSI_TARGET_PORT ISCSI_TARGET_GROUP " +
	"ISCSI_USERNAME ISCSI_PASSWORD ISCSI_IN_USERNAME ISCSI_IN_PASSWORD"

// readInitramfsFile reads /etc/iscsi.initramfs (open-iscsi's README.Debian), shell
// assignments that say what the command line could say; on an installed system,
// the file that its initramfs would get. One that is not there says nothing.
func readInitramfsFile(fsys fs.FS) *command {
	const most = 64 << 10
	for _, name := range []string{"etc/iscsi.initramfs", "etc/iscsi/iscsi.initramfs"} {
		text, err := readSmall(fsys, name, most)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		place := "/" + name
		c := parseInitramfsFile(string(text), place)
		switch {
		case err != nil:
			c.fail(mistake(place, "", "", err))
		case len(text) == most:
			c.fail(mistake(place, "", "", errors.New("it is longer than 64 KiB")))
		}
		info, err := fs.Stat(fsys, name)
		if err == nil && info.Mode().Perm()&0o004 != 0 && (c.chap.Password != "" || c.chap.PasswordIn != "") {
			c.warn(place, ": it holds a password, and everybody may read it: chmod 600 ", place)
		}
		return c
	}
	return new(command)
}

// parseInitramfsFile understands such a file. Of a variable that is assigned
// twice the last one counts, and an empty one is as if it were not there.
func parseInitramfsFile(text, place string) *command {
	c := &command{report: report{place: place}}
	values, errs := shellAssignments(text)
	for _, e := range errs {
		c.fail(mistake(place+", line "+strconv.Itoa(e.line), "", "", e.err))
	}
	table := parameters()
	for _, v := range values {
		var e *Error
		p, _ := lookup(table, strings.ToLower(v.name))
		known := strings.Contains(" "+initramfsVariables+" ", " "+v.name+" ")
		switch {
		case known && v.value != "" && p != nil:
			w := word{v.name, v.value, true}
			if err := p.set(c, w); err != nil {
				_, example, _ := strings.Cut(p.form, "=")
				e = mistake("", redact(p, w), v.name+"="+first(example, "true"), err)
			}
		case !known && strings.HasPrefix(v.name, "ISCSI_"):
			e = mistake("", v.name, "one of "+initramfsVariables, errors.New("there is no such variable"))
		}
		if e != nil {
			e.Place = place + ", line " + strconv.Itoa(v.line)
			c.fail(e)
		}
	}
	c.chap.From = place
	return c
}

// below lays what a file says under what the command line says, value by value;
// a target of the command line hides the file's. ip= is the command line's alone.
func (c *command) below(f *command) {
	c.errs = append(c.errs, f.errs...)
	c.warnings = append(c.warnings, f.warnings...)
	c.asks = c.asks || f.asks || len(f.errs) > 0
	if c.firmware == unset {
		c.firmware = f.firmware
	}
	if c.names.Name == "" && f.names.Name != "" {
		c.names = Initiator{f.names.Name, f.place}
	}
	if c.rootTarget == nil && len(c.targets) == 0 && !c.single.given {
		c.single = f.single
		c.single.place, c.single.from = f.place, f.place
	}
	c.chap = c.chap.over(&f.chap)
}
