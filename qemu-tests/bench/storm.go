package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	qemutests "github.com/rootlun/rootlun/qemu-tests"
)

// storms has machines log in to one tgt on the loopback all at once: to one that
// stays, and to one that goes away when half of them are there.
func storms(ctx context.Context, initiators int) error {
	dir, err := os.MkdirTemp("", "rootlun-storm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%d initiators at once, in one process, against tgt on the loopback\n", initiators)
	fmt.Printf("%-16s %10s %10s %9s %8s %8s %7s\n", "target", "all there", "since back", "attempts", "failed", "lost", "of one")
	for _, away := range []time.Duration{0, 5 * time.Second, 30 * time.Second} {
		if err := storm(ctx, dir, image, initiators, away); err != nil {
			return fmt.Errorf("storm: %w", err)
		}
	}
	return nil
}

// storm prints a row, and below it the attempts of each second.
func storm(ctx context.Context, dir, image string, initiators int, away time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tgt, err := qemutests.StartTGT(ctx, dir, qemutests.Target{Name: target, Image: image, LUN: 1})
	if err != nil {
		return err
	}
	defer func() { tgt.Close() }()
	s := qemutests.Storm{Initiators: initiators, Portal: fmt.Sprintf("127.0.0.1:%d", tgt.Port), Target: target}
	name := "stays"
	if away > 0 {
		name = fmt.Sprintf("away for %v", away)
		s.Restart = func(ctx context.Context) error { return tgt.Restart(ctx, away) }
	}
	r, err := s.Run(ctx)
	if err != nil {
		return err
	}
	attempts, most := 0, 0
	for _, of := range r.Attempts {
		attempts, most = attempts+len(of), max(most, len(of))
	}
	back := "-"
	if away > 0 {
		back = fmt.Sprintf("%.2f s", (r.All - r.Back).Seconds())
	}
	fmt.Printf("%-16s %8.2f s %10s %9d %8d %8d %7d\n", name, r.All.Seconds(), back, attempts, r.Failed, r.Lost, most)
	if away > 0 {
		seconds := make([]int, int(r.All.Seconds())+1)
		for _, of := range r.Attempts {
			for _, a := range of {
				seconds[min(int(a.At.Seconds()), len(seconds)-1)]++
			}
		}
		fmt.Printf("  from second %.1f to %.1f; attempts by the second: %s\n", r.Away.Seconds(), r.Back.Seconds(), strings.Trim(fmt.Sprint(seconds), "[]"))
	}
	return nil
}
