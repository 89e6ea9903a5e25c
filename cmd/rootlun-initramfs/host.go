package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/initramfs/host"
)

const hostUsage = `Usage: rootlun-initramfs host [--credentials FILE]

Prints what an image for this machine has to be told of the root that it runs from,
where that is on an iSCSI disk: the words of a kernel command line, as far as
neither the firmware nor this boot's command line says the same; for
/etc/cmdline.d of an image. dracut's module of rootlun calls it.

  --credentials FILE  add the secrets of the root's sessions to this credential
                      file, as far as they are not known; it becomes mode 0600
  --root DIR          the proc, sys, run and etc below this folder

The exit code is 0 where the root is on an iSCSI disk, 21 where it is not, 1 where
that can't be told, 2 for wrong arguments.

Example:
  rootlun-initramfs host --credentials /etc/rootlun/credentials
`

// exitLocal is open-iscsi's ISCSI_ERR_NO_OBJS_FOUND.
const exitLocal = 21

// runHost is rootlun-initramfs host.
func runHost(args []string, stdout, stderr io.Writer) int {
	m := host.Machine{RouteTo: network.RouteTo, Addresses: network.Addresses}
	credentials := ""
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&credentials, "credentials", "", "")
	f.StringVar(&m.Root, "root", "/", "")
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, hostUsage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "rootlun-initramfs host: %v\n\n%s", err, hostUsage)
		return 2
	}
	needs, err := m.Read()
	if err == nil && credentials != "" && needs.Credentials != "" {
		err = addCredentials(credentials, needs.Credentials)
	}
	if err != nil {
		fmt.Fprintf(stderr, "rootlun-initramfs host: %v\n", err)
		if errors.Is(err, host.ErrLocal) {
			return exitLocal
		}
		return 1
	}
	for _, w := range needs.Warnings {
		fmt.Fprintf(stderr, "rootlun-initramfs host: warning: %s\n", w)
	}
	for _, line := range needs.Cmdline {
		fmt.Fprintln(stdout, line)
	}
	return 0
}

// addCredentials adds to a file that root alone can read before there is a secret
// in it.
func addCredentials(name, text string) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekEnd)
	last := []byte{'\n'}
	if err == nil && end > 0 {
		_, err = f.ReadAt(last, end-1)
	}
	if err == nil && last[0] != '\n' {
		text = "\n" + text
	}
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	return err
}
