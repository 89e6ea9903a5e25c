package main

import (
	"errors"
	"strconv"
	"time"
)

// These make the set function of an option. Their errors do not repeat the value.

func toText(p *string) func(string) error {
	return func(s string) error { *p = s; return nil }
}

func toBool(p *bool) func(string) error {
	return func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return errors.New("want true or false")
		}
		return nil
	}
}

// toNumber takes decimal, or hexadecimal after 0x.
func toNumber(p *uint64) func(string) error {
	return func(s string) (err error) {
		if *p, err = strconv.ParseUint(s, 0, 64); err != nil {
			return errors.New("want a number from 0")
		}
		return nil
	}
}

func toDuration(p *time.Duration) func(string) error {
	return func(s string) (err error) {
		if *p, err = time.ParseDuration(s); err != nil || *p <= 0 {
			return errors.New("want a time above 0, such as 30s or 2m")
		}
		return nil
	}
}
