package main

import (
	"fmt"
	"io"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/boot/handoff"
	"github.com/rootlun/rootlun/boot/json"
)

const statusUsage = `usage: rootlun status [--json]

Prints the iSCSI sessions of this system, who repairs them, the timers in force,
and of those that carry the root what is not safe and how to mend it. It changes
nothing; root's rights let it see all.

The exit code is 0 when the root is safe, 1 when not, 21 when there is no session.

  rootlun status

`

// runStatus is rootlun status.
func runStatus(args []string, stdout, stderr io.Writer) int {
	asJSON := false
	cmd := command{name: "status", usage: statusUsage, options: []option{
		{"json", "", "for programs", toBool(&asJSON)},
	}}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	return printStatus(boot.LookAtStatus(), asJSON, stdout)
}

// printStatus returns the exit code.
func printStatus(st boot.Status, asJSON bool, stdout io.Writer) int {
	if asJSON {
		stdout.Write(json.Marshal(st))
	} else {
		var p page
		for i := range st.Sessions {
			p.session(st.Manager, &st.Sessions[i])
		}
		io.WriteString(stdout, p.String())
	}
	switch {
	case len(st.Sessions) == 0:
		return exitNothing
	case !st.Safe:
		return 1
	}
	return 0
}

func (p *page) session(manager string, s *boot.SessionStatus) {
	carries := ""
	if s.Root {
		carries = "the root"
	}
	p.row(fmt.Sprint("session ", s.SID), words(s.Target+" at "+s.Portal+","+s.TPGT, s.State), carries)
	p.row("  manager", manager, "")
	timers := fmt.Sprintf("replacement %d s", s.ReplacementTimeout)
	if s.ReplacementTimeout < 0 {
		timers = "replacement never"
	}
	if s.NoopOutInterval == 0 {
		timers += ", no NOPs"
	} else {
		timers += fmt.Sprintf(", a NOP every %d s that may take %d s", s.NoopOutInterval, s.NoopOutTimeout)
	}
	p.row("  timers", timers, "")
	p.row("  record", s.Record, "")
	for _, problem := range s.Problems {
		p.row("  not safe", problem.What, "")
		p.row("  mend", problem.Mend, "")
	}
}

const recordsUsage = `usage: rootlun records

Shows the node records and the initiator name of this boot, which lie below /run,
to this system's open-iscsi, by mounts. What is there already stays. Units that
the boot leaves below /run call it; where the root is read-only then, it is taken
to stay so.

  rootlun records

`

// runRecords is rootlun records.
func runRecords(args []string, stdout, stderr io.Writer) int {
	cmd := command{name: "records", usage: recordsUsage}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	if err := handoff.Lay("/", "/run", true); err != nil {
		return cmd.fail(stderr, 1, err)
	}
	return 0
}

// runShutdown ends the machine; systemd-shutdown calls it as PID 1.
func runShutdown(args []string, stdout io.Writer) int {
	action := "reboot"
	if len(args) > 0 {
		action = args[0]
	}
	boot.Shutdown(boot.NewConsole(stdout, start), action)
	return 1
}
