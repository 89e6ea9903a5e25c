package modules

import "strings"

// normalize makes hyphens of a pattern underscores, except in brackets.
func normalize(pattern string) string {
	if !strings.Contains(pattern, "-") {
		return pattern
	}
	b := []byte(pattern)
	inside := false
	for i, c := range b {
		switch {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case c == '-' && !inside:
			b[i] = '_'
		}
	}
	return string(b)
}

// match is fnmatch(3) without flags: * and ? stand for slashes and leading dots
// too. path.Match does not do that.
func match(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last star, and where in s what follows it is tried
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, from = p, i
			p++
			continue
		}
		if n := matchOne(pattern[p:], s[i]); n > 0 {
			p, i = p+n, i+1
			continue
		}
		if star < 0 {
			return false
		}
		from++
		p, i = star+1, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne returns how many bytes of the pattern match c, 0 if none do.
func matchOne(pattern string, c byte) int {
	switch {
	case pattern == "":
		return 0
	case pattern[0] == '?':
		return 1
	case pattern[0] == '\\' && len(pattern) > 1:
		if pattern[1] == c {
			return 2
		}
		return 0
	case pattern[0] == '[':
		if n, in := matchBracket(pattern, c); n > 0 {
			if in {
				return n
			}
			return 0
		}
	}
	if pattern[0] == c {
		return 1
	}
	return 0
}

// matchBracket reads [abc], [a-z], [!a] or [^a], and returns its length and
// whether c is in it. A bracket that is not closed has length 0.
func matchBracket(pattern string, c byte) (n int, in bool) {
	p := 1
	negated := p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^')
	if negated {
		p++
	}
	for first := p; p < len(pattern); {
		if pattern[p] == ']' && p > first {
			return p + 1, in != negated
		}
		low, high := pattern[p], pattern[p]
		p++
		if p+1 < len(pattern) && pattern[p] == '-' && pattern[p+1] != ']' {
			high = pattern[p+1]
			p += 2
		}
		in = in || low <= c && c <= high
	}
	return 0, false
}
