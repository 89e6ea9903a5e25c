package boot

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, log strings.Builder
		c := NewConsole(&out, time.Now())
		c.LogTo(&log)
		c.Step("network", "eth0 up\x1b]0;forged\a")
		done := c.Wait("a carrier on eth0", 60*time.Second)
		time.Sleep(22 * time.Second)
		done()
		done() // twice does no harm
		c.Printf("warning: slow")
		want := "rootlun   0.000 s  network: eth0 up?]0;forged?\n" +
			"rootlun  10.000 s  waiting for a carrier on eth0, 10 s of 60 s\n" +
			"rootlun  20.000 s  waiting for a carrier on eth0, 20 s of 60 s\n" +
			"rootlun  22.000 s  warning: slow\n"
		if out.String() != want {
			t.Errorf("console:\n%s", out.String())
		}
		if n := len(regexp.MustCompile(`(?m)^<7>rootlun: `).FindAllString(log.String(), -1)); n != 4 {
			t.Errorf("%d lines in the kernel's log:\n%s", n, log.String())
		}
		steps := c.Steps()
		if len(steps) != 4 || steps[0].Name != "network" || steps[3].Time != 22*time.Second {
			t.Errorf("steps: %+v", steps)
		}
	})
}
