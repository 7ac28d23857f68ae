package git

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// CouldCommit finds out whether [Commit] could make a commit in the working tree of dir,
// before there is anything to commit. What a hook will decide cannot be known. A hook that
// is not the user's own is refused, since our commit must not run it, unless trusted
// accepts its text.
func CouldCommit(ctx context.Context, dir string, trusted func(hook []byte) bool) error {
	top, err := Top(dir)
	if err != nil {
		return fault.NewFile("no commit can be made in", dir, "it is not in git", ToInit(dir))
	}
	for _, ready := range []func(context.Context, string) error{finished, identified, signed} {
		if err := ready(ctx, top); err != nil {
			return err
		}
	}
	return ownHooks(ctx, top, trusted)
}

func cannot(top, why, hint string) error {
	return fault.NewFile("no commit can be made in", top, why+"; nothing was changed", hint)
}

// finished refuses while a merge or another operation is under way, since git then refuses
// a commit of some files, or makes it part of the operation, and while another git is at
// work.
func finished(ctx context.Context, top string) error {
	own, err := OwnDir(ctx, top)
	if err != nil {
		return err
	}
	op := underway(own)
	g := "git -C " + words.ForShell(top)
	if op.Name != "" {
		return cannot(top, op.Name+" is not finished there", g+" "+op.Finish+", or "+g+" "+op.abort())
	}
	index, err := ReadIndex(ctx, top)
	if err != nil {
		return err
	}
	left, err := index.Unmerged(ctx, 0)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return cannot(top, left[0].Path+" is not merged", g+" status")
	}
	lock := filepath.Join(own, "index.lock")
	if _, err := os.Lstat(lock); err == nil {
		return cannot(top, "another git is at work there", "wait until it is done; if there is none: rm "+
			words.ForShell(lock))
	}
	return nil
}

// abort is the command that cancels an operation.
func (o Operation) abort() string {
	verb, found := strings.CutSuffix(strings.TrimPrefix(o.Finish, "-c core.editor=true "), " --continue")
	if !found {
		verb = "merge"
	}
	return verb + " --abort"
}

// identified refuses if git does not know who commits (git-var(1)).
func identified(ctx context.Context, top string) error {
	for _, who := range []string{"GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"} {
		_, err := output(ctx, plain(ctx, top, "var", who), top, nil)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			if whose := runsAs(top); whose != "" { // root's own configuration is not read then
				g := "sudo -u " + words.ForShell(whose) + " git -C " + words.ForShell(top) + " config "
				return cannot(top, "git runs as the repository's owner "+whose+", and does not know who that is",
					g+`user.name "NAME", and `+g+"user.email ADDRESS")
			}
			return cannot(top, "git does not know who you are",
				`git config --global user.name "NAME", and git config --global user.email ADDRESS`)
		}
	}
	return nil
}

// signed refuses if all commits have to be signed and git cannot sign.
func signed(ctx context.Context, top string) error {
	out, err := output(ctx, plain(ctx, top, "config", "--type=bool", "commit.gpgSign"), top, nil)
	if ctx.Err() != nil {
		return err
	}
	if err != nil || strings.TrimSpace(string(out)) != "true" { // it is not set, for instance
		return nil
	}
	if err := ownSigner(ctx, top); err != nil {
		return err
	}
	return signs(ctx, top)
}

// ownSigner refuses if the repository's own configuration names the program that signs, or
// that finds the key.
func ownSigner(ctx context.Context, top string) error {
	all, err := configured(ctx, top, `^gpg\..*(program|defaultkeycommand)$|^gpg\.program$`)
	for _, s := range all {
		if s.scope == "local" || s.scope == "worktree" {
			return cannot(top, fmt.Sprintf("its own configuration says what signs commits: %s = %s", s.name, s.value),
				fmt.Sprintf("if you trust it: git config --global %s %s, and git -C %s config --unset %[1]s", s.name,
					words.ForShell(s.value), words.ForShell(top)))
		}
	}
	return err
}

// signs makes git sign an empty commit. The objects go to a temporary folder, which is
// removed.
func signs(ctx context.Context, top string) error {
	objects, err := os.MkdirTemp("", "wgkeys-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(objects)
	try := func(args ...string) ([]byte, error) {
		c := plain(ctx, top, args...)
		c.Env = append(c.Env, "GIT_OBJECT_DIRECTORY="+objects)
		if err := giveTo(c, objects); err != nil {
			return nil, err
		}
		return output(ctx, c, top, nil)
	}
	tree, err := try("mktree")
	if err == nil {
		_, err = try("commit-tree", "-S", "-m", "wgkeys tries whether git can sign", strings.TrimSpace(string(tree)))
	}
	if err != nil {
		return fault.WrapFile(err, "no commit can be made in", top, "fix that, then this again; or without --commit")
	}
	return nil
}

// run by a commit (githooks(5)).
var hooks = []string{"pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-index-change",
	"reference-transaction"}

// ownHooks refuses hooks that came with the repository's files, or that somebody else can
// write to.
func ownHooks(ctx context.Context, top string, trusted func([]byte) bool) error {
	folder, err := hooksDir(ctx, top)
	if err != nil {
		return err
	}
	for _, name := range hooks {
		real, err := filepath.EvalSymlinks(filepath.Join(folder, name))
		if err != nil { // there is none
			continue
		}
		info, err := os.Stat(real)
		if err != nil || !info.Mode().IsRegular() || !isRun(info) {
			continue
		}
		text, _ := ReadHook(real)
		if why := notOwn(top, real, info); why != "" && !trusted(text) {
			return cannot(top, "the hook "+real+" is not your own: "+why,
				"look at it; to have it run: the same without --commit, and git -C "+words.ForShell(top)+" commit")
		}
	}
	return nil
}

// maxHook is how much of a hook is read, in bytes: one may be a program of any size.
const maxHook = 64 << 10

// ReadHook reads the beginning of a hook.
func ReadHook(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxHook))
}

func notOwn(top, hook string, info fs.FileInfo) string {
	if whose := ofOther(top, info); whose != "" {
		return "it belongs to " + whose
	}
	in, err := filepath.Rel(top, hook)
	if err == nil && filepath.IsLocal(in) && !slices.Contains(strings.Split(filepath.ToSlash(in), "/"), ".git") {
		return "it is a file of the working tree"
	}
	return ""
}
