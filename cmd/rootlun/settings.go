package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/rootlun/rootlun/fw"
	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// toParam makes the set function of an option that is NAME=VALUE.
func toParam(cfg *session.Config) func(string) error {
	return func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want NAME=VALUE, such as node.session.queue_depth=64")
		}
		return cfg.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
}

// readCredentials applies what the credential file has for the target, or for
// discovery, which is how a secret stays out of the argument list. Warnings go to
// stderr.
func (c *caller) readCredentials(stderr io.Writer) error {
	file := c.credentials
	known, warnings, err := fw.ReadCredentials(os.DirFS(path.Dir(file)), path.Base(file), file)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(stderr, "rootlun: %s\n", w)
	}
	c.discovery = known.Discovery
	h := known.For(c.cfg.TargetName)
	if h == (fw.CHAP{}) {
		return nil
	}
	if weak := h.Weak(); weak != "" {
		c.cfg.Warnings = append(c.cfg.Warnings, weak)
	}
	var chap login.CHAP
	if c.cfg.CHAP != nil { // --param has digests, say
		chap = *c.cfg.CHAP
	}
	chap.Username, chap.Secret = cmp.Or(h.Username, chap.Username), cmp.Or(login.Secret(h.Password), chap.Secret)
	chap.UsernameIn, chap.SecretIn = cmp.Or(h.UsernameIn, chap.UsernameIn), cmp.Or(login.Secret(h.PasswordIn), chap.SecretIn)
	c.cfg.CHAP = &chap
	return nil
}
