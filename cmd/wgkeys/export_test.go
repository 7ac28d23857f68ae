package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
)

// TestExportInterrupted: an export that is told to end does not write the rest, and leaves nothing.
func TestExportInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	net, above := filepath.Join(dir, "net"), filepath.Join(dir, "above")
	ctx, cancel := context.WithCancelCause(t.Context())
	command := func(args ...string) error {
		u := &ui.UI{Stdout: io.Discard, Stderr: io.Discard}
		return run(func(*ui.UI, string) context.Context { return ctx }, u, append([]string{"wgkeys"}, args...))
	}
	text := []byte("[hosts.hub]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/32\"]\n")
	if err := errors.Join(command("init", "-q", "--classic", net),
		os.WriteFile(filepath.Join(net, "tunnels/wg0.toml"), text, 0o644),
		command("gen", "-q", "-C", net, "hub")); err != nil {
		t.Fatal(err)
	}
	cancel(fault.Interrupted)
	if err := command("export", "-C", net, "--all", filepath.Join(above, "out")); !errors.Is(err, fault.Interrupted) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(above); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left is %s: %v", above, err)
	}
}
