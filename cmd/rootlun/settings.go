package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rootlun/rootlun/session"
)

// setParam applies NAME=VALUE.
func setParam(cfg *session.Config, s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want NAME=VALUE, such as node.session.queue_depth=64")
	}
	return cfg.Set(strings.TrimSpace(name), strings.TrimSpace(value))
}

// readCredentials applies the node.session.auth.* settings of a file, which is
// how a secret stays out of the argument list.
func readCredentials(cfg *session.Config, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if !strings.HasPrefix(line, "node.session.auth.") {
			return fmt.Errorf("%s, line %d: want a node.session.auth.* setting", path, n)
		}
		if err := setParam(cfg, line); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
	}
	return nil
}
