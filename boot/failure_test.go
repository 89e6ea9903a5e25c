package boot

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session/login"
)

func TestExplain(t *testing.T) {
	cause := errors.Join(
		fmt.Errorf("connect to iqn.2026-01.net.example:disk at 192.0.2.1:3260: %w", unix.ECONNREFUSED),
		errors.New("eth0\x1b[2J: a line\rthat forges"))
	var b strings.Builder
	Explain(&b, &StepError{Step: "reach the root's disk", Err: cause, Tries: 7, Took: 12 * time.Second, Limit: 10 * time.Second}, "reboot")
	want := `
----------------------------------------------------------------------
rootlun could not boot this machine.

  failed:   reach the root's disk
  because:  connect to iqn.2026-01.net.example:disk at 192.0.2.1:3260: connection refused
            eth0?[2J: a line?that forges
  tried:    7 times in 12 s of 10 s
  check:    does the target's daemon run, and listen on that port?
            does a firewall reject the connection?
  next:     reboot
----------------------------------------------------------------------
`
	if b.String() != want {
		t.Errorf("got %s", b.String())
	}
}

// TestAdvice: what a target says when it refuses us, and what is to be checked.
func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err   error
		words string
	}{
		{&login.StatusError{Class: 2, Detail: 1}, "netroot=iscsi:USER:SECRET@"},
		{&login.StatusError{Class: 2, Detail: 1, CHAP: true}, "do user name and secret agree"},
		{&login.AuthError{Reason: "the target could not prove itself"}, "do user name and secret agree"},
		{&login.StatusError{Class: 2, Detail: 2}, "let this initiator name in"},
		{&login.StatusError{Class: 2, Detail: 3}, "is the target's name written"},
		{&login.StatusError{Class: 3, Detail: 1}, "is the target in service"},
	} {
		if got := strings.Join(advice(fmt.Errorf("portal: %w", c.err)), "\n"); !strings.Contains(got, c.words) {
			t.Errorf("%v: %s", c.err, got)
		}
	}
}

func TestFailureAction(t *testing.T) {
	for _, tt := range []struct {
		policy fw.Failure
		shell  bool
		action string
		wait   time.Duration
	}{
		{fw.Failure{}, false, "halt", 0},
		{fw.Failure{}, true, "halt", 0}, // a console that anybody reaches gives no shell unasked
		{fw.Failure{Action: "shell"}, true, "shell", 0},
		{fw.Failure{Action: "shell", Panic: 5}, false, "reboot", 5 * time.Second},
		{fw.Failure{Action: "poweroff", Panic: 5}, true, "poweroff", 0},
		{fw.Failure{Action: "reboot"}, false, "reboot", 0},
		{fw.Failure{Panic: -1}, false, "reboot", 0},
		{fw.Failure{Panic: 30}, false, "reboot", 30 * time.Second},
	} {
		if action, wait := failureAction(tt.policy, tt.shell); action != tt.action || wait != tt.wait {
			t.Errorf("%+v, shell %v: %s after %s, want %s after %s", tt.policy, tt.shell, action, wait, tt.action, tt.wait)
		}
	}
}
