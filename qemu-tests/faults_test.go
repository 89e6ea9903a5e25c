package qemutests

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/session/targettest"
)

// TestFaults: whatever ends or stops a connection in its login, in the scan, or
// while the kernel reads the disk's partition table, the attempt ends, and
// nothing of it is left in the kernel. The bytes are those of tgt's answers: 324
// are the login.
func TestFaults(t *testing.T) {
	s := newScene(t)
	image, sum := s.disk("disk")
	open := Target{Name: targetName, Image: image, LUN: 1}
	locked := Target{Name: targetName + ".locked", Image: image, LUN: 1, Username: "node", Secret: "secret-of-node"}
	tgt := fmt.Sprintf("127.0.0.1:%d", s.tgts(open, locked))
	var list []attempt
	type check struct {
		proxy *targettest.Proxy
		fault targettest.Fault
	}
	checks := map[string]check{}
	add := func(name string, target Target, f targettest.Fault, options string) {
		p, err := targettest.StartProxy(func(int) targettest.Fault { return f })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		checks[name] = check{p, f}
		list = append(list, attempt{name, fmt.Sprintf("%s:%d", HostAddress, p.Addr().Port), target.Name, target.LUN, options})
	}
	const chap, short = "--param node.session.auth.chap_algs=MD5 --credentials /credentials", "--timeout 2s"
	for _, n := range []int{0, 1, 47, 48, 200, 459} {
		add(fmt.Sprint("reset-request-", n), open, targettest.Fault{To: tgt, End: targettest.Reset, At: targettest.AtRequest(n)}, "")
	}
	for _, n := range []int{0, 1, 47, 48, 200, 323, 324, 345, 424, 524, 700, 1500, 2600, 3000} {
		add(fmt.Sprint("reset-answer-", n), open, targettest.Fault{To: tgt, End: targettest.Reset, At: targettest.AtAnswer(n)}, "")
	}
	for _, n := range []int{48, 345, 3000} {
		add(fmt.Sprint("close-answer-", n), open, targettest.Fault{To: tgt, End: targettest.Close, At: targettest.AtAnswer(n)}, "")
	}
	for _, n := range []int{60, 200, 400} {
		add(fmt.Sprint("chap-reset-answer-", n), locked, targettest.Fault{To: tgt, End: targettest.Reset, At: targettest.AtAnswer(n)}, chap)
	}
	for _, n := range []int{100, 345, 3000} {
		add(fmt.Sprint("silent-answer-", n), open, targettest.Fault{To: tgt, End: targettest.Silence, At: targettest.AtAnswer(n)}, short)
	}
	add("silent", open, targettest.Fault{}, short)
	add("late", open, targettest.Fault{To: tgt, Delay: 4 * time.Second}, short)
	add("none", open, targettest.Fault{To: tgt}, "")
	add("none-chap", locked, targettest.Fault{To: tgt}, chap)

	said := s.attempts(list, s.credentials(locked))
	for name, c := range checks {
		got := said[name]
		if !strings.HasPrefix(name, "none") {
			if !strings.Contains(got, "code: 1\nsockets: 0\nthere:\n") {
				t.Errorf("%s: after it there is:\n%s", name, got)
			}
			passed := c.proxy.Passed()
			if len(passed) != 1 || c.fault.End != 0 && passed[0].Requests != c.fault.At.Requests && passed[0].Answers != c.fault.At.Answers {
				t.Errorf("%s: the fault was not met: %+v", name, passed)
			}
		} else if !strings.Contains(got, "code: 0\n") || !strings.Contains(got, sum) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	if got := said["none-chap"]; !regexp.MustCompile(`\nthere: session\d+ session\d+ connection\S+ connection\S+ host\d host\d sda sdb\n`).MatchString(got) {
		t.Errorf("not two sessions:\n%s", got)
	}
}
