package git

import (
	"context"
	"slices"
	"strings"

	"wgkeys/keyring/words"
)

// branch returns the branch that is checked out; "" if HEAD is detached (git-checkout(1),
// "DETACHED HEAD").
func branch(ctx context.Context, dir string) string {
	return line(ctx, dir, "symbolic-ref", "--quiet", "--short", "HEAD")
}

// KeepHint is the command that makes a branch of the commit that is checked out; "" if a
// branch has it.
func KeepHint(ctx context.Context, dir string) string {
	if branch(ctx, dir) != "" {
		return ""
	}
	commit := line(ctx, dir, "rev-parse", "--short", "HEAD")
	if commit == "" {
		return ""
	}
	return "git -C " + words.ForShell(dir) + " branch wgkeys-" + commit + " " + commit
}

// BranchWith returns a branch of this clone that contains a commit and is not checked out;
// "" if there is none.
func BranchWith(ctx context.Context, dir, commit string) string {
	branches := lines(ctx, dir, "for-each-ref", "--format=%(refname:short)", "--contains", commit, "refs/heads")
	here := branch(ctx, dir)
	if slices.Contains(branches, here) || len(branches) == 0 {
		return ""
	}
	return branches[0]
}

// Published reports whether a branch or a tag, of this clone or of another one, has a commit.
func Published(ctx context.Context, dir, commit string) bool {
	return len(lines(ctx, dir, "for-each-ref", "--count=1", "--format=%(refname)", "--contains", commit, "refs/heads",
		"refs/remotes", "refs/tags")) > 0
}

// CatchUp is the command that brings a working tree up to date: with a branch of this
// clone, or if that is "", from its upstream. It is "" if neither is known.
func CatchUp(ctx context.Context, dir, with string) string {
	shallow, _ := isShallow(ctx, dir)
	here := branch(ctx, dir)
	switch {
	case with != "" && here == "":
		return "git switch " + words.ForShell(with)
	case with != "":
		return "git merge " + words.ForShell(with)
	case here == "" && shallow:
		return "git fetch --unshallow, git switch to the branch that has it"
	case here == "":
		return comeBack(ctx, dir)
	case shallow:
		return "git pull --unshallow"
	}
	if pull := pullFrom(ctx, dir, here); pull != "" {
		return pull
	}
	return ""
}

// comeBack leads from a detached commit to a branch that contains it.
func comeBack(ctx context.Context, dir string) string {
	after := lines(ctx, dir, "for-each-ref", "--format=%(refname:short)", "--contains", "HEAD", "refs/heads")
	if len(after) == 0 {
		after = lines(ctx, dir, "for-each-ref", "--format=%(refname:short)", "refs/heads")
	}
	if len(after) == 0 {
		return ""
	}
	back := "git switch " + words.ForShell(after[0])
	if pull := pullFrom(ctx, dir, after[0]); pull != "" {
		back += " && " + pull
	}
	return back
}

// pullFrom makes a branch take what is new in its upstream: git pull alone fails without
// one.
func pullFrom(ctx context.Context, dir, branch string) string {
	if line(ctx, dir, "for-each-ref", "--format=%(upstream)", "refs/heads/"+branch) != "" {
		return "git pull"
	}
	remotes := lines(ctx, dir, "remote")
	if len(remotes) == 0 {
		return ""
	}
	remote := remotes[0]
	if slices.Contains(remotes, "origin") {
		remote = "origin"
	}
	main := strings.TrimPrefix(line(ctx, dir, "symbolic-ref", "--quiet", "--short", "refs/remotes/"+remote+"/HEAD"),
		remote+"/")
	if main == "" {
		main = branch
	}
	return "git pull " + words.ForShell(remote) + " " + words.ForShell(main)
}

// lines returns the lines of git's output; none if it fails.
func lines(ctx context.Context, dir string, args ...string) []string {
	out, err := run(ctx, dir, nil, args...)
	if err != nil {
		return nil
	}
	return strings.Fields(string(out)) // no name of a branch or a remote has a blank (git-check-ref-format(1))
}

func line(ctx context.Context, dir string, args ...string) string {
	if all := lines(ctx, dir, args...); len(all) > 0 {
		return all[0]
	}
	return ""
}
