package network

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAwaitUdev(t *testing.T) {
	run := t.TempDir()
	h, l := host{run: run}, &link{index: 7, name: "eth0"}
	if err := h.awaitUdev(t.Context(), l, nil); err != nil {
		t.Errorf("where no udev runs: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(run, "udev/control"), 0o755); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- h.awaitUdev(ctx, l, nil) }()
	for _, name := range []string{"n6", "n77", "c1:1"} {
		write(t, filepath.Join(run, "udev/data"), name)
	}
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that is given up: %v", err)
	}
	go func() { ended <- h.awaitUdev(t.Context(), l, nil) }()
	write(t, filepath.Join(run, "udev/data"), "n7")
	if err := <-ended; err != nil {
		t.Errorf("when udev has seen to it: %v", err)
	}
}

// write makes a file as udev does, under another name first.
func write(t *testing.T, dir, name string) {
	t.Helper()
	temporary := filepath.Join(dir, ".#"+name)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(temporary, nil, 0o644), os.Rename(temporary, filepath.Join(dir, name))); err != nil {
		t.Fatal(err)
	}
}
