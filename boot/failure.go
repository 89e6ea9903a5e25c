package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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
	step := &StepError{Step: "boot", Err: err}
	errors.As(err, &step)
	fmt.Fprintf(&b, "  failed:   %s\n", step.Step)
	label := "because:"
	for line := range strings.SplitSeq(step.Err.Error(), "\n") {
		fmt.Fprintf(&b, "  %-9s %s\n", label, printable(line))
		label = ""
	}
	if step.Took > 0 {
		fmt.Fprintf(&b, "  tried:    ")
		if step.Tries > 0 {
			fmt.Fprintf(&b, "%d times in ", step.Tries)
		}
		fmt.Fprintf(&b, "%s\n", elapsed(step.Took, step.Limit))
	}
	label = "check:"
	for _, line := range advice(step.Err) {
		fmt.Fprintf(&b, "  %-9s %s\n", label, line)
		label = ""
	}
	fmt.Fprintf(&b, "  next:     %s\n%s\n", next, rule)
	io.WriteString(w, b.String())
}

// advice says what to check, by what went wrong.
func advice(err error) []string {
	var timeout interface{ Timeout() bool }
	var missing *notThereError
	var auth *login.AuthError
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
	case errors.Is(err, login.ErrAuthFailed), errors.As(err, &auth):
		return []string{
			"do user name and secret agree with the target's, in both directions?",
			"does the target let this initiator name in (ACL)?",
		}
	case errors.Is(err, login.ErrNotAuthorized):
		return []string{
			"does the target let this initiator name in (ACL)? `plan: initiator` above shows it and its source",
		}
	case errors.Is(err, login.ErrTargetUnavailable):
		return []string{
			"is the target in service, and its name written as on the target?",
			"does it let this initiator name in (ACL)? `plan: initiator` above shows it",
		}
	case errors.Is(err, login.ErrTargetNotFound):
		return []string{
			"is the target's name written as on the target?",
			"is it bound to this portal, and this initiator allowed to see it?",
		}
	case errors.Is(err, session.ErrNoLUN):
		return []string{
			"does the target have a unit of that number, mapped to this initiator?",
			"LUNs in netroot= and in root-path are hexadecimal (RFC 4173)",
		}
	case errors.Is(err, unix.ECONNREFUSED):
		return []string{
			"does the target's daemon run, and listen on that port?",
			"does a firewall reject the connection?",
		}
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return []string{
			"are address, prefix and gateway of this machine right?",
			"is the target switched on and in this network?",
		}
	case errors.As(err, &missing):
		return []string{"does root= name what is on this LUN?", "is this the right LUN?"}
	case errors.Is(err, errNoFilesystem):
		return []string{"is this the right LUN?", "is its driver in the image, if it is a file system that rootlun does not know?"}
	case errors.As(err, &timeout) && timeout.Timeout():
		return []string{
			"can the target be reached from here (cable, VLAN, route, firewall)?",
			"is the target overloaded? rd.rootlun.timeout= gives it longer",
		}
	}
	return []string{"the lines above, from the first one that is not as expected"}
}

// Fail shows the failure and then does what rd.emergency= or panic= asks for.
// It does not return.
func Fail(c *Console, plan *fw.Plan, err error) {
	policy := fw.Failure{}
	if plan != nil {
		policy = plan.Failure
	}
	action, wait := failureAction(policy, fileExists("/bin/sh"))
	Explain(c.out, err, describeAction(action, wait))
	if wait > 0 {
		<-time.After(wait)
	}
	if action == "shell" {
		runShell(c)
		action = "reboot"
	}
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
	return "halt", 0
}

func describeAction(action string, wait time.Duration) string {
	switch {
	case action == "shell":
		return "a shell; the machine reboots when it ends"
	case action == "halt":
		return "the machine halts (rd.emergency=reboot|poweroff|shell or panic=SECONDS changes that)"
	case wait > 0:
		return fmt.Sprintf("%s in %.0f s (panic=)", action, wait.Seconds())
	}
	return action
}

// restart ends the machine.
func restart(action string) {
	commands := map[string]int{
		"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
		"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
		"halt":     unix.LINUX_REBOOT_CMD_HALT,
	}
	unix.Reboot(commands[action])
	select {} // a halted kernel keeps PID 1
}

// runShell runs /bin/sh on the console and waits for its end.
func runShell(c *Console) {
	p, err := os.StartProcess("/bin/sh", []string{"sh"}, &os.ProcAttr{
		Dir: "/", Env: initEnvironment(os.Environ()), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		c.Printf("no shell: %v", err)
		return
	}
	p.Wait()
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
