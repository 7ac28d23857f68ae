package git

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A Version is a content that files had in some commit.
type Version struct {
	First string   // the first commit with it
	Paths []string // the names of all files that ever had it
	Text  []byte   // valid during the call
}

// Commits selects the commits whose history is asked for.
type Commits string

const (
	// CheckedOut is the commit that is checked out. Other branches, also fetched ones, are
	// not included: the working tree does not come from them.
	CheckedOut Commits = "HEAD"
	Everywhere Commits = "--all" // all that branches and tags reach
	// what they ever reached in this clone, as before a reset, or in a stash (git-reflog(1))
	Before Commits = "--reflog"
)

// Versions calls do with each version, of at most limit bytes, that a file at one of paths
// ever had in the history of some commits, older ones first. Without any commit it calls
// nothing.
func Versions(ctx context.Context, dir string, of Commits, limit int, paths []string, do func(Version) error) error {
	if _, err := run(ctx, dir, nil, "rev-parse", "--quiet", "--verify", "HEAD^{commit}"); err != nil {
		return unborn(ctx, dir, err)
	}
	args := append([]string{"rev-list", "--topo-order", "--reverse", "--full-history", string(of), "--"}, paths...)
	commits, err := run(ctx, dir, nil, args...)
	if err != nil {
		return err
	}
	// -m: a merge commit may have a content that neither parent had.
	args = append([]string{"diff-tree", "--stdin", "-m", "-r", "--root", "--raw", "--no-abbrev", "--no-renames", "--"},
		paths...)
	out, err := run(ctx, dir, bytes.NewReader(commits), args...)
	if err != nil {
		return err
	}
	all, ids := versionsIn(string(out))
	return blobs(ctx, dir, ids, limit, func(b Blob) error {
		v := all[b.ID]
		v.Text = b.Text
		return do(*v)
	})
}

// unborn distinguishes a branch without a commit from a git that fails.
func unborn(ctx context.Context, dir string, err error) error {
	if _, other := run(ctx, dir, nil, "rev-parse", "--git-dir"); other != nil {
		return other
	}
	if _, other := run(ctx, dir, nil, "symbolic-ref", "--quiet", "HEAD"); other != nil {
		return err
	}
	return nil
}

// versionsIn parses the output of diff-tree: a commit, and a line for each file that it
// changes (":100644 100644 OLD NEW M", then the name). It returns the versions by ID.
func versionsIn(text string) (all map[string]*Version, ids *bytes.Buffer) {
	all, ids = map[string]*Version{}, new(bytes.Buffer)
	commit := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, ":") {
			commit, _, _ = strings.Cut(line, " ")
			continue
		}
		entry, name, _ := strings.Cut(line, "\t")
		f := strings.Fields(entry)
		if len(f) < 5 || strings.Trim(f[3], "0") == "" { // removed
			continue
		}
		v := all[f[3]]
		if v == nil {
			v = &Version{First: commit}
			all[f[3]] = v
			fmt.Fprintf(ids, "%s -\n", f[3])
		}
		if !slices.Contains(v.Paths, name) {
			v.Paths = append(v.Paths, name)
		}
	}
	return all, ids
}

// LastChange returns the lines that were removed and added below path when a line that matches
// an extended regular expression last was: since the last commit, or by one.
func LastChange(ctx context.Context, dir, path, expression string) (removed, added string, err error) {
	how := []string{"-U0", "-G", expression, "--pickaxe-all", "--no-ext-diff", "--no-textconv", "--no-color",
		"--no-renames", "--ignore-submodules=all"}
	for _, what := range [][]string{{"diff", "HEAD"}, {"log", "-1", "-p", "--format="}} {
		args := slices.Concat(what, how, []string{"--", path})
		c, err := withoutFilters(ctx, dir, command(ctx, dir, args...))
		if err != nil {
			return "", "", err
		}
		out, err := output(ctx, c, dir, nil)
		if err != nil {
			return "", "", err
		}
		for line := range strings.Lines(string(out)) {
			switch {
			case strings.HasPrefix(line, "-"):
				removed += line[1:]
			case strings.HasPrefix(line, "+"):
				added += line[1:]
			}
		}
		if removed+added != "" {
			break
		}
	}
	return removed, added, nil
}

// IsAncestor reports whether a commit is another one or an ancestor of it.
func IsAncestor(ctx context.Context, dir, before, after string) (bool, error) {
	c := command(ctx, dir, "merge-base", "--is-ancestor", before, after)
	_, err := output(ctx, c, dir, nil)
	if err != nil && c.ProcessState.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// isShallow reports whether the clone is a shallow one.
func isShallow(ctx context.Context, dir string) (bool, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--is-shallow-repository")
	return strings.TrimSpace(string(out)) == "true", err
}

// Has reports whether a commit has all the files, which are below dir.
func Has(ctx context.Context, dir, commit string, files ...string) bool {
	for _, file := range files {
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return false
		}
		if _, err := run(ctx, dir, nil, "cat-file", "-e", commit+":"+filepath.ToSlash(name)); err != nil {
			return false
		}
	}
	return true
}
