package fw

import (
	"errors"
	"strings"
)

// assignment is NAME=VALUE of a shell's file.
type assignment struct {
	name, value string
	line        int
}

// shellError is what a line of it has that was not understood. It shows nothing
// of the line, which may hold a secret.
type shellError struct {
	line int
	err  error
}

// shellAssignments reads a file of POSIX shell assignments (POSIX.1-2017, 2.2,
// 2.3 and 2.9.1): comments, blanks, ';', export, quotes and backslashes. What a
// shell would run or expand is an error, and the rest is read all the same.
func shellAssignments(text string) (values []assignment, errs []shellError) {
	s := shellReader{text: text, line: 1}
	for !s.done() {
		line := s.line
		words, err := s.command()
		for i, w := range words {
			name, value, ok := strings.Cut(w.text, "=")
			switch {
			case i == 0 && w.text == "export" && w.bare == len(w.text):
			case ok && w.bare > len(name) && isShellName(name) && err == nil:
				values = append(values, assignment{name, value, w.line})
			case words[0].text == "export" && i > 0 && !ok && isShellName(name): // of a variable that is there
			case err == nil:
				line, err = w.line, errors.New("that is no assignment NAME=VALUE: a value with blanks stands in quotes, and nothing is run")
			}
		}
		if err != nil {
			errs = append(errs, shellError{line, err})
		}
	}
	return values, errs
}

func isShellName(s string) bool {
	return s != "" && !isDigit(rune(s[0])) && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && !isDigit(r) && !isLetter(r)
	}) < 0
}

// shellWord is a word, its quotes taken off.
type shellWord struct {
	text string
	bare int // how much of its start stood in no quotes
	line int
}

type shellReader struct {
	text string // what is still to read
	line int    // the line where it starts
}

func (s *shellReader) done() bool { return s.text == "" }

// next takes one byte.
func (s *shellReader) next() byte {
	b := s.text[0]
	s.text = s.text[1:]
	if b == '\n' {
		s.line++
	}
	return b
}

// continued skips backslashes in front of a line's end, which join two lines.
func (s *shellReader) continued() {
	for strings.HasPrefix(s.text, "\\\n") {
		s.text = s.text[2:]
		s.line++
	}
}

// command takes words up to the end of a line or a ';'. With an error it takes
// them all the same.
func (s *shellReader) command() (words []shellWord, err error) {
	for {
		s.continued()
		switch {
		case s.done():
			return words, err
		case s.text[0] == ' ' || s.text[0] == '\t':
			s.next()
		case s.text[0] == '\n' || s.text[0] == ';':
			s.next()
			return words, err
		case s.text[0] == '#':
			end := strings.IndexByte(s.text, '\n')
			if end < 0 {
				end = len(s.text)
			}
			s.text = s.text[end:]
		default:
			w, wordErr := s.word()
			words = append(words, w)
			if err == nil {
				err = wordErr
			}
		}
	}
}

// word takes one word.
func (s *shellReader) word() (w shellWord, err error) {
	w = shellWord{line: s.line, bare: -1}
	var b strings.Builder
	fail := func(why string) {
		if err == nil {
			err = errors.New(why)
		}
	}
	quoted := func() {
		if w.bare < 0 {
			w.bare = b.Len()
		}
	}
loop:
	for {
		s.continued()
		if s.done() || strings.IndexByte(" \t\n;", s.text[0]) >= 0 {
			break
		}
		switch ch := s.next(); ch {
		case '\'':
			quoted()
			end := strings.IndexByte(s.text, '\'')
			if end < 0 {
				fail("the ' that ends this value is missing")
				s.text = ""
				break loop
			}
			for range end {
				b.WriteByte(s.next())
			}
			s.next()
		case '"':
			quoted()
			for {
				s.continued()
				if s.done() {
					fail(`the " that ends this value is missing`)
					break loop
				}
				ch := s.next()
				if ch == '"' {
					break
				}
				if ch == '$' || ch == '`' {
					fail("the value is not expanded: write $ and ` in single quotes")
				}
				if ch == '\\' && !s.done() && strings.IndexByte("$`\"\\", s.text[0]) >= 0 {
					ch = s.next()
				}
				b.WriteByte(ch)
			}
		case '\\':
			quoted()
			if s.done() {
				fail("a backslash stands last")
				break loop
			}
			b.WriteByte(s.next())
		case '$', '`', '~':
			if ch != '~' || strings.HasSuffix(b.String(), "=") {
				fail("the value is not expanded: write $ and ` in single quotes")
			}
			b.WriteByte(ch)
		case '|', '&', '<', '>', '(', ')':
			fail("the character " + string(rune(ch)) + " stands in quotes")
		case '\r':
			fail("a line ends as on DOS, with a carriage return: the value would have it")
		case 0:
			fail("a NUL byte")
		default:
			b.WriteByte(ch)
		}
	}
	w.text = b.String()
	if w.bare < 0 {
		w.bare = len(w.text)
	}
	return w, err
}
