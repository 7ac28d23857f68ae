package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCommitInterrupted: a commit that is interrupted while a hook runs leaves the index as
// it was, and no lock that the next git would refuse.
func TestCommitInterrupted(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(Init(t.Context(), dir))
	for _, set := range [][]string{{"user.name", "anna"}, {"user.email", "anna@example.net"}} {
		_, err := run(t.Context(), dir, nil, append([]string{"config"}, set...)...)
		must(err)
	}
	started := filepath.Join(dir, ".git", "started")
	hook := "#!/bin/sh\ntouch '" + started + "'\nsleep 60\n"
	must(os.MkdirAll(filepath.Join(dir, ".git", "hooks"), 0o755))
	must(os.WriteFile(filepath.Join(dir, ".git", "hooks", "pre-commit"), []byte(hook), 0o755))
	file := filepath.Join(dir, "file")
	must(os.WriteFile(file, []byte("text\n"), 0o644))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Commit(ctx, dir, []string{file}, "a file") }()
	for {
		if _, err := os.Stat(started); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended before its hook began: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a commit that was interrupted: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".git", "*.lock")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	out, err := run(t.Context(), dir, nil, "status", "--porcelain")
	must(err)
	if string(out) != "?? file\n" {
		t.Errorf("git status: %q", out)
	}
}

// TestIsAncestorFails: if git cannot tell, the error has git's own reason.
func TestIsAncestorFails(t *testing.T) {
	dir := t.TempDir()
	if err := Init(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	const none = "1234567890123456789012345678901234567890"
	_, err := IsAncestor(t.Context(), dir, none, none)
	if err == nil || !strings.Contains(err.Error(), "Not a valid commit name") {
		t.Errorf("got %v", err)
	}
}
