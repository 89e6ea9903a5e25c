package main

import (
	"io"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/boot/keep"
)

const keepUsage = `usage: rootlun keep <LIST

Repairs iSCSI sessions whose connection breaks, for as long as they live, and
leaves them to iscsid whenever that runs. A boot starts it before it hands over
to the real init. It tells the kernel's log what it does.

The list on the standard input has a paragraph "session SID 0" for each. The exit
code is 0 when none is left, 1 when it can't start.

  echo "session 1 0" | rootlun keep &

`

// runKeep is rootlun keep.
func runKeep(args []string, stdout, stderr io.Writer) int {
	own := false
	cmd := command{name: "keep", usage: keepUsage, options: []option{
		{"own-root", "", "its mount namespace is its own: leave the initramfs and the root", toBool(&own)},
	}}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	var err error
	if own {
		err = boot.LeaveInitramfs(boot.NewConsole(stderr, start))
	}
	if err == nil {
		err = keep.Run()
	}
	if err != nil {
		return cmd.fail(stderr, 1, err)
	}
	return 0
}
