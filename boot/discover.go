package boot

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// AskFunc is session.Discover, or what stands for it in a test.
type AskFunc func(context.Context, session.Config) ([]session.TargetRecord, error)

// Discover asks the portal of cfg for its targets, with credentials only where
// it wants some: own, those for discovery, else those of cfg.
func Discover(ctx context.Context, ask AskFunc, cfg *session.Config, own *fw.CHAP) ([]session.TargetRecord, error) {
	open := *cfg
	open.CHAP = nil
	records, err := ask(ctx, open)
	if !errors.Is(err, login.ErrAuthFailed) && !errors.Is(err, login.ErrNoCredentials) {
		return records, err
	}
	if open.CHAP = cfg.CHAP; own.Password != "" {
		open.CHAP = loginCHAP(own)
	}
	if open.CHAP != nil {
		records, err = ask(ctx, open)
	}
	return records, err
}

// name completes the target that no source names, and its configuration: it is
// the only one that its portal lists.
func (n *nicSet) name(ctx context.Context, ask AskFunc, t *fw.Target, cfg *session.Config) error {
	known := &n.plan.Credentials // no lease adds to these
	records, err := Discover(ctx, ask, cfg, &known.Discovery)
	if err != nil {
		return err
	}
	if len(records) != 1 {
		err := fmt.Errorf("no source names the target, and %v lists %s to %s", cfg.Portal, names(records), cfg.InitiatorName)
		if len(records) > 1 {
			return &configError{err}
		}
		return err // it may be starting
	}
	t.Name, cfg.TargetName = records[0].Name, records[0].Name
	if known.Targets[t.Name].Password != "" {
		own := known.For(t.Name)
		t.CHAP, cfg.CHAP = &own, loginCHAP(&own)
	}
	return nil
}
