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

// setParam applies NAME=VALUE.
func setParam(cfg *session.Config, s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want NAME=VALUE, such as node.session.queue_depth=64")
	}
	return cfg.Set(strings.TrimSpace(name), strings.TrimSpace(value))
}

// readCredentials applies what a credential file has for the target, which is
// how a secret stays out of the argument list. Warnings go to stderr.
func readCredentials(cfg *session.Config, file string, stderr io.Writer) error {
	c, warnings, err := fw.ReadCredentials(os.DirFS(path.Dir(file)), path.Base(file), file)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(stderr, "rootlun login: %s\n", w)
	}
	h := c.For(cfg.TargetName)
	if h == (fw.CHAP{}) {
		return nil
	}
	var chap login.CHAP
	if cfg.CHAP != nil { // --param has digests, say
		chap = *cfg.CHAP
	}
	chap.Username, chap.Secret = cmp.Or(h.Username, chap.Username), cmp.Or(login.Secret(h.Password), chap.Secret)
	chap.UsernameIn, chap.SecretIn = cmp.Or(h.UsernameIn, chap.UsernameIn), cmp.Or(login.Secret(h.PasswordIn), chap.SecretIn)
	cfg.CHAP = &chap
	return nil
}
