package main

import "strings"

// getopt is a row of the options of a program whose command line the GNU C
// library's getopt_long reads.
type getopt struct {
	short byte
	long  string
	value string // what stands for the value in the help; "": it takes none
	help  string // one line
}

// eachOption takes a command line apart as getopt_long does: short options in
// one word (-bd3), a value in the same word or the next, a long name by as much
// of it as no other begins with, options before, behind and between words that
// are none, which it passes over; "--" ends them. act is called for each option,
// in their order, until it returns false. mistake is what getopt_long says of
// what it stops at, without the values, as one may be a secret.
func eachOption(args []string, table []getopt, act func(short byte, value string) bool) (mistake string) {
	for n := 0; n < len(args); n++ {
		word := args[n]
		if word == "--" {
			return ""
		}
		if len(word) < 2 || word[0] != '-' {
			continue
		}
		if long, ok := strings.CutPrefix(word, "--"); ok {
			name, value, joined := strings.Cut(long, "=")
			o, mistake := longOption(name, table)
			switch {
			case mistake != "":
				return mistake
			case joined && o.value == "":
				return "option '--" + o.long + "' doesn't allow an argument"
			case !joined && o.value != "" && n+1 == len(args):
				return "option '--" + o.long + "' requires an argument"
			case !joined && o.value != "":
				n++
				value = args[n]
			}
			if !act(o.short, value) {
				return ""
			}
			continue
		}
		for letters := word[1:]; letters != ""; {
			o := shortOption(letters[0], table)
			if o == nil {
				return "invalid option -- '" + letters[:1] + "'"
			}
			value := ""
			letters = letters[1:]
			if o.value != "" {
				value, letters = letters, ""
				if value == "" && n+1 == len(args) {
					return "option requires an argument -- '" + string(o.short) + "'"
				} else if value == "" {
					n++
					value = args[n]
				}
			}
			if !act(o.short, value) {
				return ""
			}
		}
	}
	return ""
}

func shortOption(letter byte, table []getopt) *getopt {
	for i := range table {
		if table[i].short == letter {
			return &table[i]
		}
	}
	return nil
}

// longOption returns the option of that name, or the only one that begins so.
func longOption(name string, table []getopt) (found *getopt, mistake string) {
	possible := ""
	for i := range table {
		switch o := &table[i]; {
		case o.long == name:
			return o, ""
		case strings.HasPrefix(o.long, name):
			found = o
			possible += " '--" + o.long + "'"
		}
	}
	switch strings.Count(possible, " ") {
	case 0:
		return nil, "unrecognized option '--" + name + "'"
	case 1:
		return found, ""
	}
	return nil, "option '--" + name + "' is ambiguous; possibilities:" + possible
}
