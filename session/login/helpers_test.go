package login_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
	"github.com/rootlun/rootlun/session/targettest"
)

const (
	secret   = "secret-of-the-node"
	secretIn = "secret-of-the-disk"
)

// The three kinds of target that most tests start from.
func noAuth() targettest.Config { return targettest.Config{} }
func oneWay() targettest.Config {
	return targettest.Config{Username: "node", Secret: secret}
}
func mutual() targettest.Config {
	return targettest.Config{Username: "node", Secret: secret, UsernameIn: "disk", SecretIn: secretIn}
}

// try logs in to a target and fails on an error that shows a secret.
func try(t *testing.T, tc targettest.Config, edit ...func(*login.Config)) (*login.Result, *targettest.Target, error) {
	t.Helper()
	target := targettest.New(t, tc)
	cfg := target.Login()
	for _, f := range edit {
		f(&cfg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	res, err := login.Login(ctx, target.Dial(), cfg)
	if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), secretIn)) {
		t.Errorf("the error shows a secret: %v", err)
	}
	if (res == nil) == (err == nil) {
		t.Errorf("result %v with error %v", res, err)
	}
	return res, target, err
}

// good wants a login to succeed in so many exchanges.
func good(t *testing.T, exchanges int, tc targettest.Config, edit ...func(*login.Config)) *login.Result {
	t.Helper()
	res, target, err := try(t, tc, edit...)
	if err != nil {
		t.Fatal(err)
	}
	if res.Exchanges != exchanges || len(target.Requests()) != exchanges {
		t.Errorf("%d exchanges reported, %d on the wire, want %d", res.Exchanges, len(target.Requests()), exchanges)
	}
	return res
}

// bad wants a login to fail with an error of type E that has the words.
func bad[E error](t *testing.T, words string, tc targettest.Config, edit ...func(*login.Config)) E {
	t.Helper()
	_, _, err := try(t, tc, edit...)
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("got error %T: %v; want %T", err, err, e)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("error %q does not say %q", err, words)
	}
	return e
}

// with adds a script to a target.
func with(tc targettest.Config, s targettest.Script) targettest.Config {
	tc.Script = s
	return tc
}

// set changes one key of the answer at one exchange.
func set(exchange int, key, value string) targettest.Script {
	return targettest.At(exchange, func(a *targettest.Answer) { a.Set(key, value) })
}

// keysOf returns the text of a request.
func keysOf(t *testing.T, m pdu.LoginRequest) map[string]string {
	t.Helper()
	pairs, err := pdu.ParseText(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, p := range pairs {
		keys[p.Key] = p.Value
	}
	return keys
}
