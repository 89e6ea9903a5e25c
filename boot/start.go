package boot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/boot/keep"
	"github.com/rootlun/rootlun/boot/timer"
	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// Started is what came of one target of StartSessions.
type Started struct {
	*session.Session // nil: none was made, as it is there already if Err is nil
	Err              error
}

// StartSessions logs in to all targets of a plan, at once, and has the kernel look
// for all their units, but with the setting node.session.scan=manual: what
// iscsistart does. The NICs are somebody else's. What may pass is tried again for
// as long as the settings say (deadline); what a target refuses is not. In an
// initramfs a keeper looks after the new sessions from then on, unless
// rd.rootlun.keep=0 stands on the kernel command line. The error is that the
// kernel has no iSCSI.
func StartSessions(ctx context.Context, c *Console, plan *fw.Plan) ([]Started, error) {
	initiator, err := loadInitiator(c)
	if err != nil {
		return nil, err
	}
	defer initiator.Close()
	limit := deadline(plan)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	all := make([]Started, len(plan.Targets))
	var logins sync.WaitGroup
	for i, t := range plan.Targets {
		if slices.ContainsFunc(plan.Targets[:i], func(o fw.Target) bool { return o.Name == t.Name && o.Portal() == t.Portal() }) {
			continue // another of its units: one session has all
		}
		logins.Go(func() {
			defer c.Wait(fmt.Sprintf("%s at %s", t.Name, t.Portal()), limit)()
			all[i].Session, all[i].Err = startSession(ctx, c, initiator, plan, t)
		})
	}
	logins.Wait()
	if machine, _ := fw.Read(sources()); inInitramfs() && !machine.NoKeep {
		var list strings.Builder
		for _, s := range all {
			if s.Session != nil {
				fmt.Fprintf(&list, "session %d 0\n\n", s.SID)
			}
		}
		if list.Len() > 0 {
			err := runPrograms("/run")
			if err == nil {
				err = keep.Start(list.String())
			}
			if err != nil {
				c.Printf("warning: no keeper repairs the session: %v", err)
			}
		}
	}
	return all, nil
}

// inInitramfs says whether / is the kernel's first root, which no disk holds.
func inInitramfs() bool {
	var root unix.Statfs_t
	return unix.Statfs("/", &root) == nil && (root.Type == unix.RAMFS_MAGIC || root.Type == unix.TMPFS_MAGIC)
}

// startSession makes attempts until there is a session, or none can be hoped for.
func startSession(ctx context.Context, c *Console, initiator *session.Initiator, plan *fw.Plan, t fw.Target) (*session.Session, error) {
	why := ""
	for backoff := (session.Backoff{}); ; {
		s, err := tryStart(ctx, c, initiator, plan, t)
		status, refused := errors.AsType[*login.StatusError](err)
		if pace(err) != session.Normally || refused && !status.Temporary() || err == nil {
			return s, err
		}
		if cause := session.Cause(err); cause != why && ctx.Err() == nil {
			c.Printf("%v; trying again", err)
			why = cause
		}
		if timer.Wait(ctx, backoff.Next()) != nil {
			return nil, err
		}
	}
}

// tryStart makes one attempt, at one of the addresses of the portal after the other.
func tryStart(ctx context.Context, c *Console, initiator *session.Initiator, plan *fw.Plan, t fw.Target) (*session.Session, error) {
	looking, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	lookUp := func(ctx context.Context, host string) (addrs []netip.Addr, err error) {
		return resolve(ctx, os.DirFS("/"), &fw.Plan{}, nil, host)
	}
	hosts, err := lookUp(looking, t.Host)
	if err != nil {
		return nil, &configError{err}
	}
	var errs []error
	for _, host := range hosts {
		t.Host = host.String()
		if name := fw.Session(os.DirFS("/"), t); name != "" {
			c.Step("login", "%s is there already: %s at %s", name, t.Name, t.Portal())
			return nil, nil
		}
		cfg, err := sessionConfig(plan, &t)
		if err != nil {
			return nil, err
		}
		cfg.Resolve = lookUp
		s, err := initiator.Login(ctx, *cfg)
		if err == nil {
			c.Step("login", "session %d: %s at %s, %s", s.SID, cfg.TargetName, cfg.Portal, authentication(s))
			if !scans(plan) {
				return s, nil
			}
			if err = units(ctx, c, s); err == nil {
				return s, nil
			}
			errs = append(errs, s.Logout(context.Background()))
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// scans says whether the kernel is to look for a session's units.
func scans(plan *fw.Plan) bool {
	manual := false
	for _, p := range plan.Params {
		if p.Name == "node.session.scan" {
			manual = p.Value == "manual"
		}
	}
	return !manual
}
