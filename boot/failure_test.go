package boot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

func TestExplain(t *testing.T) {
	refused := fmt.Errorf("iqn.2026-01.net.example:disk at 192.0.2.1:3260: connect, after 7ms: %w; check that the target runs", unix.ECONNREFUSED)
	cause := errors.Join(refused, refused, errors.New("eth0\x1b[2J: a line\rthat forges…"))
	var b strings.Builder
	Explain(&b, &StepError{Step: "reach the root's disk", Err: cause, Tries: 7, Took: 12 * time.Second, Limit: 10 * time.Second}, "reboot")
	want := `
----------------------------------------------------------------------
rootlun could not boot this machine.

  failed:   reach the root's disk
  because:  iqn.2026-01.net.example:disk at 192.0.2.1:3260: connect, after 7ms: connection refused
            eth0?[2J: a line?that forges...
  tried:    7 times in 12 s of 10 s
  check:    that the target runs
  next:     reboot
----------------------------------------------------------------------
`
	if b.String() != want {
		t.Errorf("got %s", b.String())
	}
}

// What to check is what the error says, else what is known of its kind; and no
// line says the same twice.
func TestExplainAdvice(t *testing.T) {
	for _, tt := range []struct {
		err  StepError
		want []string
	}{
		{StepError{Err: &network.Error{NIC: "eth0", Message: "not there", Err: context.DeadlineExceeded}}, []string{"is it the right NIC"}},
		{StepError{Err: fmt.Errorf("find LUN 7: %w", session.ErrNoLUN), Tries: 1, Took: time.Second / 5, Limit: 9 * time.Second, Final: true},
			[]string{"hexadecimal (RFC 4173)", "once, 0 s of 9 s; another try would end the same way"}},
		{StepError{Err: errors.New("a")}, []string{"the lines above"}},
	} {
		var b strings.Builder
		Explain(&b, &tt.err, "halt")
		for _, want := range tt.want {
			if strings.Count(b.String(), want) != 1 {
				t.Errorf("%q is not there once in %s", want, b.String())
			}
		}
	}
}

// What a target says when it refuses us, and what is to be checked then.
func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err   error
		words string
	}{
		{&login.StatusError{Class: 2, Detail: 1}, "netroot=iscsi:USER:SECRET@"},
		{&login.StatusError{Class: 2, Detail: 1, CHAP: true, Algorithm: login.MD5}, "user name and secret on both sides"},
		{&login.AuthError{Reason: "the target could not prove itself"}, "do user name and secret agree"},
		{&login.StatusError{Class: 2, Detail: 2}, "is this initiator let in (ACL)?"},
		{&login.StatusError{Class: 2, Detail: 3}, "            is this initiator let in (ACL)?"}, // after what the error says
		{&login.StatusError{Class: 3, Detail: 1}, "is this initiator let in (ACL)?"},
	} {
		var b strings.Builder
		Explain(&b, &StepError{Err: fmt.Errorf("portal: %w", c.err)}, "halt")
		if !strings.Contains(b.String(), c.words) {
			t.Errorf("%v: %s", c.err, b.String())
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
		{fw.Failure{}, false, "wait", 0},
		{fw.Failure{}, true, "wait", 0}, // a console that anybody reaches gives no shell unasked
		{fw.Failure{Action: "shell"}, true, "shell", 0},
		{fw.Failure{Action: "shell", Panic: 5}, false, "reboot", 5 * time.Second},
		{fw.Failure{Action: "poweroff", Panic: 5}, true, "poweroff", 0},
		{fw.Failure{Action: "halt"}, true, "halt", 0},
		{fw.Failure{Action: "reboot"}, false, "reboot", 0},
		{fw.Failure{Panic: -1}, false, "reboot", 0},
		{fw.Failure{Panic: 30}, false, "reboot", 30 * time.Second},
	} {
		if action, wait := failureAction(tt.policy, tt.shell); action != tt.action || wait != tt.wait {
			t.Errorf("%+v, shell %v: %s after %s, want %s after %s", tt.policy, tt.shell, action, wait, tt.action, tt.wait)
		}
	}
}
