package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Versions calls do with each version that a file at one of paths ever had in the
// history of the commit that is checked out, of at most limit bytes, and with the
// commit that it was first in, older ones first. What other branches have, also those
// that were only fetched, is no part of it: the working tree does not come from there.
// Where there is no commit yet it calls nothing.
func Versions(ctx context.Context, dir string, limit int, paths []string, do func(first string, b Blob) error) error {
	if _, err := run(ctx, dir, nil, "rev-parse", "--quiet", "--verify", "HEAD^{commit}"); err != nil {
		return unborn(ctx, dir, err)
	}
	args := append([]string{"rev-list", "--topo-order", "--reverse", "--full-history", "HEAD", "--"}, paths...)
	commits, err := run(ctx, dir, nil, args...)
	if err != nil {
		return err
	}
	// -m: a merge may bring what neither side had.
	args = append([]string{"diff-tree", "--stdin", "-m", "-r", "--root", "--raw", "--no-abbrev", "--no-renames", "--"},
		paths...)
	out, err := run(ctx, dir, bytes.NewReader(commits), args...)
	if err != nil {
		return err
	}
	first, ids := firstCommits(string(out))
	return blobs(ctx, dir, ids, limit, func(b Blob) error { return do(first[b.ID], b) })
}

// unborn tells a branch without a commit from a git that fails.
func unborn(ctx context.Context, dir string, err error) error {
	if _, other := run(ctx, dir, nil, "rev-parse", "--git-dir"); other != nil {
		return other
	}
	if _, other := run(ctx, dir, nil, "symbolic-ref", "--quiet", "HEAD"); other != nil {
		return err
	}
	return nil
}

// firstCommits reads what diff-tree says: a commit, and a line for each file that it
// changes (":100644 100644 OLD NEW M", then the name).
func firstCommits(text string) (first map[string]string, ids *bytes.Buffer) {
	first, ids = map[string]string{}, new(bytes.Buffer)
	commit := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, ":") {
			commit, _, _ = strings.Cut(line, " ")
			continue
		}
		f := strings.Fields(line)
		if len(f) < 5 || strings.Trim(f[3], "0") == "" { // removed
			continue
		}
		if _, ok := first[f[3]]; !ok {
			first[f[3]] = commit
			fmt.Fprintf(ids, "%s -\n", f[3])
		}
	}
	return first, ids
}

// IsAncestor reports whether a commit is another one or came before it.
func IsAncestor(ctx context.Context, dir, before, after string) (bool, error) {
	err := command(ctx, dir, "merge-base", "--is-ancestor", before, after).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// IsShallow reports whether the history of the working tree is cut short.
func IsShallow(ctx context.Context, dir string) (bool, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--is-shallow-repository")
	return strings.TrimSpace(string(out)) == "true", err
}
