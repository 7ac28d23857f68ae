// Package git asks the user's git what wgkeys needs to know: what is staged, the whole
// history, and it makes commits of exactly the files that a command has changed. It is the
// user's own git, with its configuration, its hooks and its signatures; root runs it as the
// owner of the repository. No program that the content of a repository names is run: no
// fsmonitor, no filter, no hook that is in the worktree or belongs to others.
//
// Out of scope are the network and any change of existing commits.
package git

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Top returns the top folder of the working tree that contains dir. It starts no process.
// If there is none the error is [fs.ErrNotExist].
func Top(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		// It is a folder, or in a linked working tree and a submodule a file.
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fs.ErrNotExist
		}
	}
}

// always are the options of every git. Names are literal, never patterns. git runs no
// core.fsmonitor, which the repository's configuration can set to any program, and takes no
// committed folder that looks like a bare repository for one: its configuration could name
// programs, too (safe.bareRepository in git-config(1)).
var always = []string{"--literal-pathspecs", "-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false"}

// command returns a git in dir that answers a question and runs no program that the
// repository chooses. It runs no hooks, which git does even when it refreshes the index, and
// fetches nothing that a partial clone lacks, for which the configuration can name any
// program. For filters see [withoutFilters].
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := plain(ctx, dir, append([]string{"-c", "core.hooksPath=/dev/null"}, args...)...)
	c.Env = append(c.Env, "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none")
	return c
}

// cleanUp is how long a git that is interrupted may take to remove its lock files. A hook
// or a program that signs may run on after that; it is not waited for.
const cleanUp = 2 * time.Second

// plain returns a git in dir that runs as the owner of the repository, and with hooks. It
// sees the real history, without replacements and grafts (git-replace(1)).
func plain(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "git", slices.Concat([]string{"-C", dir}, always, args)...)
	c.WaitDelay = cleanUp
	stopGently(c)
	env := ownIndex(dir, slices.DeleteFunc(inEnglish(os.Environ()), elsewhere))
	env = append(env, "GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null/none")
	c.Env, c.SysProcAttr = asOwner(dir, env)
	return c
}

// inEnglish is an environment in which git speaks as [failed] knows it, and has its
// characters as before: LC_ALL would come before LC_MESSAGES, and LANGUAGE before
// either (locale(7), and "The LANGUAGE variable" of GNU gettext).
func inEnglish(env []string) []string {
	english := make([]string, 0, len(env)+1)
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "LANGUAGE", "LC_MESSAGES":
		case "LC_ALL":
			if value != "" {
				english = append(english, "LC_CTYPE="+value)
			}
		default:
			english = append(english, v)
		}
	}
	return append(english, "LC_MESSAGES=C")
}

// run returns the output of a git that answers a question.
func run(ctx context.Context, dir string, input io.Reader, args ...string) ([]byte, error) {
	return output(ctx, command(ctx, dir, args...), dir, input)
}

// output runs a git. It never waits for a terminal: its input is input, and it starts no
// editor.
func output(ctx context.Context, c *exec.Cmd, dir string, input io.Reader) ([]byte, error) {
	var out bytes.Buffer
	if err := outputTo(ctx, c, dir, input, &out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func outputTo(ctx context.Context, c *exec.Cmd, dir string, input io.Reader, out io.Writer) error {
	var said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = input, out, &said
	if err := c.Run(); err != nil {
		return failed(ctx, c, err, dir, said.String())
	}
	return nil
}

// HookPath is the file of a hook of the working tree of dir, where the user's git looks for
// it.
func HookPath(ctx context.Context, dir, hook string) (string, error) {
	folder, err := hooksDir(ctx, dir)
	return filepath.Join(folder, hook), err
}

// hooksDir is the folder of all hooks, which core.hooksPath may name.
func hooksDir(ctx context.Context, dir string) (string, error) {
	out, err := output(ctx, plain(ctx, dir, "rev-parse", "--git-path", "hooks"), dir, nil)
	if err != nil {
		return "", err
	}
	path := strings.TrimSuffix(string(out), "\n")
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, nil
}

// Init makes a git repository in dir.
func Init(ctx context.Context, dir string) error {
	_, err := output(ctx, plain(ctx, dir, "init", "--quiet"), dir, nil)
	return err
}

// Dir is the folder in which git keeps what all working trees of the repository share
// (git-rev-parse(1), "--git-common-dir").
func Dir(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--git-common-dir")
	path := strings.TrimSuffix(string(out), "\n")
	if err == nil && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, err
}

// Ignored returns those of the files below the folders that no commit includes, because a
// .gitignore names them and git does not track them yet.
func Ignored(ctx context.Context, dir string, folders ...string) ([]string, error) {
	out, err := run(ctx, dir, nil, append([]string{"ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--"},
		folders...)...)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// Changed returns those of the files that differ from the last commit, as seen from the top
// of the working tree.
func Changed(ctx context.Context, dir string, paths ...string) ([]string, error) {
	paths = slices.Clone(paths)
	for i, path := range paths {
		// Git compares names with that of the working tree, which has no link in it.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			paths[i] = real
		}
	}
	status := append([]string{"status", "--porcelain", "-z", "--no-renames", "--untracked-files=all",
		"--ignore-submodules=all", "--"}, paths...)
	c, err := withoutFilters(ctx, dir, command(ctx, dir, status...))
	if err != nil {
		return nil, err
	}
	out, err := output(ctx, c, dir, nil)
	if err != nil {
		return nil, err
	}
	var changed []string
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if len(entry) > 3 { // XY NAME
			changed = append(changed, entry[3:])
		}
	}
	return changed, nil
}

// Prefix is where dir lies below the top of its working tree: "" or "infra/".
func Prefix(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--show-prefix")
	return strings.TrimSuffix(string(out), "\n"), err
}
