// Package git asks the user's git for what wgkeys needs of it: what is staged,
// all that the history holds, and a commit of exactly the files that a command
// has changed. It is the user's own git, with its configuration, its hooks and
// its signatures.
//
// Out of scope are the network and every change of what is committed already.
package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/keyring/fault"
)

// Top returns the folder of the working tree that dir lies in. It starts no
// process. If there is none the error is [fs.ErrNotExist].
func Top(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		// A folder, or in a linked working tree and a submodule a file.
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fs.ErrNotExist
		}
	}
}

// command is git in dir. Names are taken as they are, never as patterns, and history
// as it was, not as replacements and grafts have it (git-replace(1)).
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "--literal-pathspecs"}, args...)...)
	c.Env = append(slices.DeleteFunc(os.Environ(), elsewhere), "GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null/none")
	return c
}

// elsewhere tells of a variable of the environment whether it leads git to another
// repository than that of the folder. The index that a hook is to look at is another
// matter.
func elsewhere(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"}, name)
}

// run returns what git writes. It never waits for a terminal: what git reads is
// input, and an editor is not asked for.
func run(ctx context.Context, dir string, input io.Reader, args ...string) ([]byte, error) {
	c := command(ctx, dir, args...)
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = input, &out, &said
	if err := c.Run(); err != nil {
		return nil, failed(err, dir, said.String())
	}
	return out.Bytes(), nil
}

// failed tells in git's words why it failed, or that it is not there.
func failed(err error, dir, said string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fault.New("cannot run", "git", "there is none on this machine", "apt install git")
	}
	why := strings.TrimSpace(said)
	if why == "" {
		why = err.Error()
	}
	hint := "git -C " + dir + " status"
	if strings.Contains(why, "not a git repository") {
		hint = "git init " + dir
	}
	return fault.New("git failed in", dir, strings.Join(strings.Fields(strings.ReplaceAll(why, "\n", "; ")), " "), hint)
}

// HookPath is the file of a hook of the working tree that dir lies in, where the
// user's git looks for it.
func HookPath(ctx context.Context, dir, hook string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--git-path", "hooks/"+hook)
	if err != nil {
		return "", err
	}
	path := strings.TrimSuffix(string(out), "\n")
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, nil
}

// Dir is the folder in which git keeps what all working trees of the repository share.
func Dir(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--git-common-dir")
	path := strings.TrimSuffix(string(out), "\n")
	if err == nil && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, err
}

// NotCheckedOut returns those of git's files below the folders that are in the index
// and not in the working tree, since the checkout is a sparse one or a submodule was not
// fetched. The folders lie in the working tree of which dir is the top.
func NotCheckedOut(ctx context.Context, dir string, folders ...string) (missing []string, err error) {
	out, err := run(ctx, dir, nil, append([]string{"ls-files", "-t", "-s", "-z", "--"}, folders...)...)
	if err != nil {
		return nil, err
	}
	const skipped, submodule = "S", "160000"
	for entry := range strings.SplitSeq(string(out), "\x00") {
		head, name, _ := strings.Cut(entry, "\t") // TAG MODE ID STAGE, then the name
		f := strings.Fields(head)
		if len(f) < 2 {
			continue
		}
		_, err := os.Lstat(filepath.Join(dir, name, ".git"))
		if f[0] == skipped || f[1] == submodule && err != nil {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// Ignored returns those of the files below the folders that no commit takes, for a
// .gitignore names them and git does not know them yet.
func Ignored(ctx context.Context, dir string, folders ...string) ([]string, error) {
	out, err := run(ctx, dir, nil, append([]string{"ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--"}, folders...)...)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// Changed returns those of the files that are not in the last commit as they are on
// the disk, as seen from the top of the working tree.
func Changed(ctx context.Context, dir string, paths ...string) ([]string, error) {
	out, err := run(ctx, dir, nil, append([]string{"status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--"}, paths...)...)
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
