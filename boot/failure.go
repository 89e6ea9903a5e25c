package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/boot/timer"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// StepError says at which step the boot ended, why, after how many tries and
// how long.
type StepError struct {
	Step  string
	Err   error
	Tries int           // 0: the step is not one that is tried again
	Took  time.Duration // 0: it ended at once
	Limit time.Duration // 0: the step has no deadline of its own
	Final bool          // another try would end the same way
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// rule frames the screen, so that it is found among the kernel's lines.
const rule = "----------------------------------------------------------------------"

// Explain writes one screen: what failed, what was tried, how long it took,
// what to check, and what happens next.
func Explain(w io.Writer, err error, next string) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\nrootlun could not boot this machine.\n\n", rule)
	step, ok := errors.AsType[*StepError](err)
	if !ok {
		step = &StepError{Step: "boot", Err: err}
	}
	fmt.Fprintf(&b, "  failed:   %s\n", step.Step)
	var causes, hints []string
	for _, line := range strings.Split(step.Err.Error(), "\n") {
		cause, hint, _ := strings.Cut(line, "; check ")
		causes = add(causes, printable(cause))
		if hint != "" {
			hints = add(hints, printable(hint))
		}
	}
	if hints = append(hints, advice(step.Err)...); len(hints) == 0 {
		hints = []string{"the lines above, from the first one that is not as expected"}
	}
	paragraph(&b, "because:", causes)
	if step.Tries > 0 || step.Took > time.Second {
		paragraph(&b, "tried:", []string{tried(step)})
	}
	paragraph(&b, "check:", hints)
	paragraph(&b, "next:", []string{next})
	fmt.Fprintf(&b, "%s\n", rule)
	io.WriteString(w, b.String())
}

// add appends a text, once.
func add(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// paragraph writes a label, and beside it each text on a line of its own. Long
// ones are left to the terminal, as what is broken is not found by grep.
func paragraph(b *strings.Builder, label string, texts []string) {
	for _, text := range texts {
		fmt.Fprintf(b, "  %-9s %s\n", label, text)
		label = ""
	}
}

// tried says how often and how long, and why no longer.
func tried(s *StepError) string {
	text := elapsed(s.Took, s.Limit)
	switch {
	case s.Tries == 1:
		text = "once, " + text
	case s.Tries > 1:
		text = fmt.Sprintf("%d times in %s", s.Tries, text)
	}
	if s.Final {
		text += "; another try would end the same way"
	}
	return text
}

// advice says what to check beyond what the error itself says ("; check …"), by
// what went wrong.
func advice(err error) []string {
	timeout, slow := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	_, missing := errors.AsType[*notThereError](err)
	_, auth := errors.AsType[*login.AuthError](err)
	_, nic := errors.AsType[*network.Error](err)
	switch {
	case errors.Is(err, fw.ErrNothing):
		return []string{
			"does the firmware publish an iBFT? (iSCSI boot enabled, iPXE: sanhook with keep-san)",
			"or name the target: netroot=iscsi:ADDRESS::::TARGETNAME ip=dhcp",
		}
	case errors.Is(err, login.ErrNoCredentials):
		return []string{
			"give CHAP's user name and secret in the firmware's iSCSI settings (iPXE: set username, set password)",
			"or netroot=iscsi:USER:SECRET@ADDRESS::::TARGETNAME, which users of the booted system can read",
			"or let this initiator name in without (on the target)",
		}
	case auth:
		return []string{"do user name and secret agree with the target's, in both directions?"}
	case errors.Is(err, login.ErrNotAuthorized), errors.Is(err, login.ErrTargetNotFound), errors.Is(err, login.ErrTargetUnavailable):
		return []string{"is this initiator let in (ACL)? `plan: initiator` above shows its name and source"}
	case errors.Is(err, session.ErrNoLUN):
		return []string{
			"does the target have that unit, mapped to this initiator?",
			"LUNs in netroot= and in root-path are hexadecimal (RFC 4173)",
			"from 256 on targets number them in two ways: LUN 300 is 12c for LIO, 412c for tgt",
		}
	case nic:
		return []string{"is it the right NIC, with its driver in the image, and cabled to the right network?"}
	case missing:
		return []string{"does root= name what is on this LUN?", "is this the right LUN?"}
	case errors.Is(err, errNoFilesystem):
		return []string{"is this the right LUN?", "is its driver in the image, if it is a file system that rootlun does not know?"}
	case slow && timeout.Timeout():
		return []string{
			"can the target be reached from here (cable, VLAN, route, firewall)?",
			"is the target overloaded? rd.rootlun.timeout= gives it longer",
		}
	}
	return nil
}

// Fail shows the failure and then does what rd.emergency= or panic= asks for.
// It does not return.
func Fail(c *Console, plan *fw.Plan, err error) {
	policy := fw.Failure{}
	if plan != nil {
		policy = plan.Failure
	}
	action, wait := failureAction(policy, exists(os.DirFS("/"), "bin/sh"))
	if policy.Action == "shell" && action != "shell" {
		c.Printf("warning: rd.emergency=shell, and the image has no /bin/sh")
	}
	Explain(c.out, err, describeAction(action, wait))
	if wait > 0 {
		<-timer.After(wait)
	}
	if action == "shell" {
		runShell(c)
		action = "reboot"
	}
	_ = unix.Unmount(sysroot, 0) // where it came so far
	unix.Sync()
	restart(action)
}

// failureAction decides what happens after a failure, and after how long.
func failureAction(p fw.Failure, shell bool) (action string, wait time.Duration) {
	switch p.Action {
	case "shell":
		if shell {
			return "shell", 0
		}
	case "reboot", "poweroff", "halt":
		return p.Action, 0
	}
	if p.Panic != 0 { // kernel/panic.c: negative reboots at once, positive after seconds
		return "reboot", time.Duration(max(p.Panic, 0)) * time.Second
	}
	return "wait", 0
}

func describeAction(action string, wait time.Duration) string {
	switch {
	case action == "shell":
		return "a shell; the machine reboots when it ends"
	case action == "wait":
		return "nothing; Ctrl-Alt-Del reboots (rd.emergency= and panic= do more)"
	case wait > 0:
		return fmt.Sprintf("%s in %.0f s (panic=)", action, wait.Seconds())
	}
	return action
}

// restart ends the machine, or waits for somebody who does.
func restart(action string) {
	commands := map[string]int{
		"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
		"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
		"halt":     unix.LINUX_REBOOT_CMD_HALT,
	}
	if command, ok := commands[action]; ok {
		unix.Reboot(command)
	}
	for {
		unix.Pause() // PID 1 must not end
	}
}

// shellPath is where an image's programs are; those of u-root's images are in /bbin.
const shellPath = "/usr/sbin:/usr/bin:/sbin:/bin:/bbin"

// runShell runs /bin/sh on the console and waits for its end. The console is its
// controlling terminal, so that ctrl-C ends what it runs, and not the shell.
func runShell(c *Console) {
	start := func(control bool) (pid int, err error) {
		return syscall.ForkExec("/bin/sh", []string{"/bin/sh"}, &syscall.ProcAttr{
			Dir: "/", Env: append(initEnvironment(os.Environ()), "PATH="+shellPath), Files: []uintptr{0, 1, 2},
			Sys: &syscall.SysProcAttr{Setsid: true, Setctty: control},
		})
	}
	pid, err := start(true)
	if err != nil { // not every console is a terminal
		pid, err = start(false)
	}
	if err != nil {
		c.Printf("no shell: %v", err)
		return
	}
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Wait4(pid, nil, 0, nil)
	}
}
