package modules

import (
	"strings"
	"testing"
	"time"
)

func TestRunProgram(t *testing.T) {
	for _, test := range []struct {
		limit  time.Duration
		script string
		want   string // in the error
	}{
		{time.Minute, "exit 0", ""},
		{time.Minute, "exit 3", "/bin/sh ended with code 3"},
		{time.Minute, "kill $$", "/bin/sh ended with code -1"},
		{time.Millisecond, "exec sleep 60", "/bin/sh did not end within"},
	} {
		err := runProgram(test.limit, []string{"/bin/sh", "-c", test.script})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.script, err, test.want)
		}
	}
	if err := runProgram(time.Minute, []string{"/nonexistent"}); err == nil {
		t.Error("a program that is not there ran")
	}
}
