package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/rootlun/rootlun/boot"
	"github.com/rootlun/rootlun/fw"
)

// maxInput is how much of a file that is given is read: a table's offsets have
// 16 bits, and no kernel takes a longer command line.
const maxInput = 64 << 10

// input says what show, fw and check read: this machine, or what is given in
// place of it.
type input struct {
	ibft    string  // --ibft: a file, "-" is standard input
	cmdline *string // --cmdline: the text, or @ and a file
	root    string  // --root: a folder with another sys, proc and etc
	lease   fw.Lease

	stdin io.Reader
}

// options returns those of show and check.
func (in *input) options() []option {
	return append(in.firmwareOptions(),
		option{"cmdline", "TEXT|@FILE", "the kernel command line, or a file that holds it", func(s string) error {
			in.cmdline = &s
			return nil
		}},
		option{"dhcp", "NAME=VALUE", "what a DHCP server answers: root-path, initiator-name, host-name or bootfile-url; may be repeated", in.setLease})
}

// firmwareOptions returns those of fw.
func (in *input) firmwareOptions() []option {
	return []option{
		{"ibft", "FILE", "a raw iBFT in place of the firmware's; - is standard input", toText(&in.ibft)},
		{"root", "DIR", "the sys, proc and etc below this folder", toText(&in.root)},
	}
}

func (in *input) setLease(s string) error {
	in.lease.From = "DHCP (--dhcp)"
	name, value, ok := strings.Cut(s, "=")
	switch {
	case ok && name == "root-path":
		in.lease.RootPath = value
	case ok && name == "initiator-name":
		in.lease.InitiatorName = value
	case ok && name == "host-name":
		in.lease.Hostname = value
	case ok && name == "bootfile-url":
		in.lease.BootFileURL = value
	default:
		return errors.New("want root-path=, initiator-name=, host-name= or bootfile-url= and a value")
	}
	return nil
}

// read reads the plan. It is never nil; errors.Is finds fw.ErrNothing where
// nothing is wrong but that nothing asks for iSCSI.
func (in *input) read() (*fw.Plan, error) {
	s, err := in.sources()
	if err != nil {
		return &fw.Plan{}, err
	}
	plan, err := readPlan(s)
	if in.lease.From != "" && !errors.Is(err, fw.ErrNothing) {
		nic := 0
		for nic < len(plan.NICs) && !plan.NICs[nic].DHCP && !plan.NICs[nic].DHCP6 {
			nic++
		}
		err = errors.Join(err, plan.Lease(nic, in.lease))
	}
	return plan, err
}

// readPlan is fw.Read, and looks at what only a login would find wrong.
func readPlan(s fw.Sources) (*fw.Plan, error) {
	plan, err := fw.Read(s)
	if errors.Is(err, fw.ErrNothing) {
		return plan, err
	}
	return plan, errors.Join(err, boot.CheckParams(plan))
}

// sources opens what is to be read. With --ibft or --root another machine is
// meant, of which nothing is known but what is given. On an error the sources
// hold the rest.
func (in *input) sources() (fw.Sources, error) {
	var s fw.Sources
	var errs []error
	switch {
	case in.root != "":
		s.FS = os.DirFS(in.root)
		if info, err := os.Stat(in.root); err != nil {
			errs = append(errs, fmt.Errorf("--root: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("--root: %s is not a folder", in.root))
		}
	case in.ibft != "":
		s.FS, s.Cmdline = noFiles{}, new(string)
	default:
		s.FS, s.Credentials = os.DirFS("/"), os.Getenv("CREDENTIALS_DIRECTORY")
	}
	if in.cmdline != nil {
		s.Cmdline = in.cmdline
		if name, ok := strings.CutPrefix(*in.cmdline, "@"); ok {
			text, err := readInput(name, in.stdin)
			if err != nil {
				errs = append(errs, fmt.Errorf("--cmdline: %w", err))
			}
			line := string(text)
			s.Cmdline = &line
		}
	}
	if in.ibft != "" {
		table, err := readInput(in.ibft, in.stdin)
		if err != nil {
			errs = append(errs, fmt.Errorf("--ibft: %w", err))
		} else {
			s.Table, s.TableFrom = table, in.ibft
		}
	}
	return s, errors.Join(errs...)
}

// readInput reads a whole file, or stdin for "-". What it returns is not nil.
func readInput(name string, stdin io.Reader) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("%s has more than %d bytes", name, maxInput)
	}
	return b, err
}

// noFiles is a machine of which nothing is known.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
