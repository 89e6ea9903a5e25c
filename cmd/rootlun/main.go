// Rootlun boots Linux from an iSCSI disk. It is the /init of an initramfs, and
// the command that does each step of it alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/rootlun/rootlun/boot"
)

// version is set by the linker.
var version = "unversioned"

// start is when the program began; the boot's times count from here.
var start = time.Now()

const usage = `rootlun boots Linux from an iSCSI disk.

usage: rootlun COMMAND [OPTION…]; --help after a command tells more
  rootlun init      boot, as PID 1 of an initramfs (also when called as /init)
  rootlun attach    do all of a boot but mount the root, in another initramfs
  rootlun handoff   let the system on a mounted root take over from attach
  rootlun network   bring up the NICs that lead to the root, and tell the next system
  rootlun login     log in to a target and print its disk
  rootlun discover  ask a portal for its targets
  rootlun sessions  print the kernel's iSCSI sessions
  rootlun rescan    look for new disks of the sessions
  rootlun logout    end sessions whose disks are not in use
  rootlun keep      repair sessions that break, while no iscsid does
  rootlun show      print what a boot would do, and which source says so
  rootlun check     try what a boot would need, on the machine that runs
  rootlun fw        print what the firmware says, and nothing else
  rootlun status    print how safe the root's sessions are in the booted system
  rootlun records   show this boot's node records to open-iscsi
  rootlun version   print the version
Called as iscsistart it takes the options of open-iscsi's program of that name.
`

// verb is one command: it takes its arguments and returns the exit code.
type verb func(args []string, stdout, stderr io.Writer) int

func main() { os.Exit(dispatch(os.Args, os.Getpid(), os.Stdout, os.Stderr)) }

// dispatch runs the verb that the arguments name, or the name that the program
// is called by; PID 1 is always init, or shutdown. It returns the exit code.
func dispatch(argv []string, pid int, stdout, stderr io.Writer) int {
	verbs := map[string]verb{
		"init":     runInit,
		"attach":   runAttach,
		"handoff":  runHandoff,
		"network":  runNetwork,
		"login":    runLogin,
		"discover": runDiscover,
		"keep":     runKeep,
		"sessions": runSessions,
		"rescan":   runRescan,
		"logout":   runLogout,
		"status":   runStatus,
		"records":  runRecords,
		"show":     runShow,
		"check":    runCheck,
		"fw":       runFirmware,
		"version":  printVersion, "--version": printVersion,
		"help": printUsage, "--help": printUsage, "-h": printUsage,
	}
	name, args := path.Base(argv[0]), argv[1:]
	switch {
	case name == "init": // the kernel's arguments are for the real init
	case name == "rootlun-generator" && len(args) == 3:
		return runGenerator(args, stderr)
	case pid == 1 && len(args) > 1 && args[0] == "shutdown": // handoff.Install's script, by its name and arguments
		return runShutdown(args[2:], stdout)
	case pid == 1: // also of a busybox, which hides that it is called as /init
		name = "init"
	case name == "iscsistart":
		return runISCSIStart(args, stdout, stderr)
	default:
		name = ""
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
	}
	run, ok := verbs[name]
	if !ok {
		if name != "" {
			fmt.Fprintf(stderr, "rootlun: there is no command %q\n\n", name)
		}
		fmt.Fprint(stderr, usage)
		return 2
	}
	return run(args, stdout, stderr)
}

// runGenerator is rootlun as one of systemd's generators: its three folders are
// all that it is given.
func runGenerator(dirs []string, stderr io.Writer) int {
	if err := boot.Generate(os.DirFS("/"), dirs[0], dirs[1], dirs[2]); err != nil {
		fmt.Fprintf(stderr, "rootlun-generator: %v\n", err)
		return 1
	}
	return 0
}

const versionUsage = `usage: rootlun version

Prints the version.

  rootlun version

`

func printVersion(args []string, stdout, stderr io.Writer) int {
	cmd := command{name: "version", usage: versionUsage}
	if code, ok := cmd.read(args, stdout, stderr); !ok {
		return code
	}
	fmt.Fprintf(stdout, "rootlun %s\n", version)
	return 0
}

func printUsage(_ []string, stdout, _ io.Writer) int {
	fmt.Fprint(stdout, usage)
	return 0
}

const initUsage = `usage: rootlun init

Boots the machine, as PID 1 of an initramfs, whatever its arguments are: those are
for the real init. rootlun-initramfs makes an image with rootlun as /init. A script
in that place goes on by

  exec rootlun "$@"

`

// runInit boots the machine. It returns only when it was not started as PID 1.
func runInit(args []string, stdout, stderr io.Writer) int {
	if os.Getpid() != 1 {
		cmd := command{name: "init", usage: initUsage, arg: func(string) error { return nil }}
		if code, ok := cmd.read(args, stdout, stderr); !ok {
			return code
		}
		return cmd.fail(stderr, 2, errors.New("only PID 1 can do this, in an initramfs"))
	}
	console := boot.NewConsole(stdout, start)
	plan, err := boot.Init(context.Background(), console, version)
	boot.Fail(console, plan, err)
	return 1
}
