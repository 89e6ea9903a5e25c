package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// option is a row of a command's table.
type option struct {
	name  string                   // without its dashes
	value string                   // what stands for the value in the help; "": a switch, bare it means "true"
	help  string                   // one line
	set   func(value string) error // called each time the option is given; its error shows no secret
}

// command is what a verb takes.
type command struct {
	name    string // of the verb
	usage   string // the help above the table of options
	options []option
	must    []string                 // options that have to be given, and not empty
	arg     func(value string) error // called for each argument that is no option; nil: the verb has none
}

var errHelp = errors.New("help is asked for")

// read reads a verb's arguments. After --help or a mistake, of which it tells
// the user, ok is false and code is the exit code.
func (c *command) read(args []string, stdout, stderr io.Writer) (code int, ok bool) {
	switch err := c.parse(args); err {
	case nil:
		return 0, true
	case errHelp:
		fmt.Fprint(stdout, c.usage)
		for _, o := range append(c.options, option{name: "help", help: "print this"}) {
			dashes := "--"
			if len(o.name) == 1 {
				dashes = "-"
			}
			fmt.Fprintf(stdout, "  %-24s  %s\n", strings.TrimSpace(dashes+o.name+" "+o.value), o.help)
		}
		return 0, false
	default:
		return c.fail(stderr, 2, err), false
	}
}

// fail prints an error in one line and returns the exit code; 2 is wrong usage.
func (c *command) fail(stderr io.Writer, code int, err error) int {
	fmt.Fprintf(stderr, "rootlun %s: %v\n", c.name, err)
	if code == 2 {
		fmt.Fprintf(stderr, "rootlun %s --help tells more\n", c.name)
	}
	return code
}

// parse takes --name VALUE and --name=VALUE, one dash as well as two, and -P3 as
// iscsiadm does; after -- nothing is an option. Its own errors show no value, as
// it may be a secret.
func (c *command) parse(args []string) error {
	given := map[string]bool{}
	for n, onlyArgs := 0, false; n < len(args); n++ {
		word := args[n]
		if !onlyArgs && word == "--" {
			onlyArgs = true
			continue
		}
		if onlyArgs || len(word) < 2 || word[0] != '-' {
			if c.arg == nil {
				return fmt.Errorf("argument %d belongs to no option", n+1)
			} else if err := c.arg(word); err != nil {
				return err
			}
			continue
		}
		if len(word) == 3 && word[:2] == "-P" {
			word = "-P=" + word[2:]
		}
		name, value, joined := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
		i := slices.IndexFunc(c.options, func(o option) bool { return o.name == name })
		switch {
		case i < 0 && (name == "help" || name == "h"):
			return errHelp
		case i < 0:
			return fmt.Errorf("there is no option --%s", name)
		case !joined && c.options[i].value == "":
			value = "true"
		case !joined && n+1 == len(args):
			return fmt.Errorf("--%s needs a value: %s", name, c.options[i].value)
		case !joined:
			n++
			value = args[n]
		}
		if err := c.options[i].set(value); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		given[name] = value != ""
	}
	for _, name := range c.must {
		if !given[name] {
			return fmt.Errorf("--%s is missing", name)
		}
	}
	return nil
}
