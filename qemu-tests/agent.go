package qemutests

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Agent runs commands in a booted system, by system/rootlun-agent at the other end
// of the machine's second serial port. It needs nothing that a fault takes away:
// no network, and of the root only what a command itself reads.
type Agent struct {
	file  *os.File
	lines *bufio.Reader
	heard bool // it has said that it is there: what it was told before that is lost
}

// Run has the system's shell run a command line, and returns what that printed on
// both its outputs, and its exit code. The commands run one after the other, in
// one shell. The first one waits until the system has come to its agent. It fails
// when the deadline passes, or the machine ends, before the command has; the agent
// is of no use from then on.
func (a *Agent) Run(deadline time.Time, command string) (out string, code int, err error) {
	if strings.Contains(command, "\n") {
		return "", 0, fmt.Errorf("%q has more than one line", command)
	}
	_ = a.file.SetDeadline(deadline)
	for !a.heard {
		line, err := a.lines.ReadString('\n')
		if err != nil {
			return "", 0, fmt.Errorf("the system's agent does not run: %w", err)
		}
		a.heard = strings.TrimSpace(line) == "@ ready"
	}
	if _, err = fmt.Fprintln(a.file, command); err != nil {
		return "", 0, fmt.Errorf("%s: %w", command, err)
	}
	var text strings.Builder
	for {
		line, err := a.lines.ReadString('\n')
		if err != nil {
			return text.String(), 0, fmt.Errorf("%s: after %q: %w", command, text.String(), err)
		}
		line = strings.TrimRight(line, "\r\n")
		if out, ok := strings.CutPrefix(line, "|"); ok {
			text.WriteString(out + "\n")
		} else if number, ok := strings.CutPrefix(line, "@ "); ok {
			code, err = strconv.Atoi(number)
			return text.String(), code, err
		}
	}
}

// Again is to be called when the system has been told to start anew: what runs
// commands from then on is the new one's agent.
func (a *Agent) Again() { a.heard = false }
