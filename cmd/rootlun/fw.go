package main

import (
	"errors"
	"io"
	"os"

	"github.com/rootlun/rootlun/fw"
)

const firmwareUsage = `usage: rootlun fw [--json | --iscsistart] [--ibft FILE] [--root DIR]

Prints what the firmware says of iSCSI, and nothing else. --iscsistart gives it
in the form of open-iscsi's "iscsistart -f", in which --show-secrets is needed
for the secrets that iscsistart prints.

The exit code is 0 when the firmware names a target, 1 when what it says has
errors, 21 when it says nothing.

  rootlun fw
  rootlun fw --iscsistart --ibft table.bin

`

// runFirmware is rootlun fw.
func runFirmware(args []string, stdout, stderr io.Writer) int {
	in, v := input{stdin: os.Stdin}, view{}
	records := false
	options := append(v.options(), option{"iscsistart", "", `in the form of "iscsistart -f"`, toBool(&records)})
	cmd := command{name: "fw", usage: firmwareUsage, options: append(options, in.firmwareOptions()...)}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	s, err := in.sources()
	s = fw.FirmwareOnly(s)
	switch {
	case records && err != nil:
		return cmd.fail(stderr, 1, err)
	case records:
		text := records218(s.FS, fw.Tables(s), v.showSecrets)
		io.WriteString(stdout, text)
		if text == "" {
			return cmd.fail(stderr, exitNothing, errors.New("the firmware names no target by a NIC that is there"))
		}
		return 0
	case err != nil:
		return v.print(&fw.Plan{}, err, stdout, stderr)
	}
	plan, err := readPlan(s)
	return v.print(plan, err, stdout, stderr)
}
