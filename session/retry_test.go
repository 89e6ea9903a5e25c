package session

import (
	"errors"
	options "flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/targettest"
)

func TestRetry(t *testing.T) {
	op := func(err error) error { return &OpError{Op: "log in", Err: err} }
	status := func(code uint16) error { return &login.StatusError{Class: uint8(code >> 8), Detail: uint8(code)} }
	undone := errors.New("the session could not be destroyed")
	for name, tt := range map[string]struct {
		err  error
		want Pace
	}{
		"nobody listens":                    {op(unix.ECONNREFUSED), Normally},
		"no answer":                         {op(&awaited{"no answer", io.ErrUnexpectedEOF}), Normally},
		"connection lost":                   {op(kernel.TCPConnClose), Normally},
		"no such unit":                      {ErrNoLUN, Normally},
		"of no kind that is known":          {errors.New("what?"), Normally},
		"wrong secret":                      {op(status(0x0201)), Slowly},
		"wrapped":                           {fmt.Errorf("target: %w", op(status(0x0201))), Slowly},
		"wrong secret, and not undone":      {errors.Join(op(status(0x0201)), undone), Slowly},
		"bad configuration, and not undone": {errors.Join(undone, op(&login.ConfigError{})), Never},
		"one address dead, one refuses":     {errors.Join(op(unix.ECONNREFUSED), op(status(0x0201))), Normally},
		"one address busy, one refuses":     {errors.Join(op(status(0x0202)), op(status(0x0302))), Normally},
		"both refuse":                       {errors.Join(op(status(0x0202)), op(status(0x0201))), Slowly},
		"the target proves nothing":         {op(&login.AuthError{}), Slowly},
		"the target breaks the rules":       {op(&login.ProtocolError{Err: io.EOF}), Slowly},
		"in circles":                        {op(fmt.Errorf("gave up: %w", &login.RedirectError{})), Slowly},
		"moved to who is dead":              {op(errors.Join(unix.ECONNREFUSED)), Normally},
		"an offer that nobody may make":     {op(&login.ConfigError{}), Never},
	} {
		if got := Retry(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	// Each status as it comes.
	for code, want := range map[uint16]Pace{
		0x0200: Slowly, 0x0201: Slowly, 0x0202: Slowly, 0x0203: Normally, 0x0204: Slowly, 0x0205: Slowly, 0x0206: Normally, 0x0207: Slowly,
		0x0208: Slowly, 0x0209: Slowly, 0x020a: Slowly, 0x020b: Slowly, 0x02ff: Slowly, 0x0300: Normally, 0x0301: Normally, 0x0302: Normally,
		0x03ff: Normally, 0x0400: Slowly, 0x0103: Slowly, 0x0101: Slowly, // the last is without an address here
	} {
		target := targettest.New(t, targettest.Config{Script: targettest.Refuse(code)})
		_, in := newFakeKernel(t)
		if _, err := in.Login(t.Context(), config(t, target)); err == nil || Retry(err) != want {
			t.Errorf("status %04x: %v, want %v: %v", code, Retry(err), want, err)
		}
	}
	cfg := Default()
	if _, err := Discover(t.Context(), cfg); Retry(err) != Never {
		t.Errorf("a configuration that lacks everything: %v", err)
	}
}

var update = options.Bool("update", false, "write the tables of docs/rootlun.cmdline.7 anew")

// done says what Retry's answer means to who reads the manual.
func done(p Pace) string {
	switch p {
	case Never:
		return "It is not tried again."
	case Slowly:
		return fmt.Sprintf("It is tried again every %.0f seconds.", SlowPause.Seconds())
	}
	return "It is tried again, soon at first."
}

// TestManual holds two tables of the manual to the code: what is done after a
// login that failed, and which settings rd.iscsi.param= has.
func TestManual(t *testing.T) {
	var rows []string
	row := func(head string, err error, text string) {
		text = strings.ToUpper(text[:1]) + text[1:]
		rows = append(rows, ".TP\n.B "+roff(head)+"\n"+roff(text)+".\n"+done(Retry(err))+"\n")
	}
	rows = append(rows, ".TP\n.B 0101, 0102\nThe target has moved.\nIt is followed, "+fmt.Sprint(maxRedirects)+" times at most; the next login starts from the portal that is configured.\n")
	status := func(head string, code uint16) {
		for _, chap := range []bool{true, false} {
			e := &login.StatusError{Target: "T", Class: uint8(code >> 8), Detail: uint8(code), CHAP: chap, Algorithm: login.SHA256}
			_, text, _ := strings.Cut(e.Error(), fmt.Sprintf("%04x: ", code))
			text = strings.Replace(text, " by CHAP with SHA-256", "", 1)
			switch {
			case code != 0x0201:
				row(head, e, text)
				return
			case chap:
				row(head, e, text)
			default:
				row(head+", without credentials", e, text)
			}
		}
	}
	for code := uint16(0x0200); code <= 0x020b; code++ {
		status(fmt.Sprintf("%04x", code), code)
	}
	status("02xx", 0x02ff)
	for code := uint16(0x0300); code <= 0x0302; code++ {
		status(fmt.Sprintf("%04x", code), code)
	}
	status("03xx", 0x03ff)
	status("any other", 0x0400)
	row("no status", unix.ECONNREFUSED, "nobody answers, or the connection is refused or lost")
	row("no status, the target is to blame", &login.ProtocolError{}, "the target breaks the rules of iSCSI, sends us in circles, or does not prove itself")
	row("no unit", ErrNoLUN, "the target has no such logical unit")
	row("nothing is sent", &login.ConfigError{}, "the configuration can't work; the message says why")
	insert(t, "login failures", strings.Join(rows, ""))

	var names []string
	for _, r := range new(Config).records() {
		names = append(names, ".B "+roff(r.name)+"\n")
	}
	insert(t, "settings", strings.Join(names, ""))
}

func roff(s string) string { return strings.ReplaceAll(s, "-", `\-`) }

// insert holds what stands in the manual between two comments to text, or writes it.
func insert(t *testing.T, name, text string) {
	const file = "../docs/rootlun.cmdline.7"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := ".\\\" "+name+": made from the code\n", ".\\\" end of "+name+"\n"
	head, rest, ok1 := strings.Cut(string(old), begin)
	was, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: the lines are missing between which %s stand", file, name)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+text+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(text, was); diff != "" {
		t.Errorf("%s: %s are not as the code has them: go test ./session -run Manual -update\n%s", file, name, diff)
	}
}
