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

// command is git in dir. Names are taken as they are, never as patterns.
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "git", append([]string{"-C", dir, "--literal-pathspecs"}, args...)...)
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

// Prefix is where dir lies below the top of its working tree: "" or "infra/".
func Prefix(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--show-prefix")
	return strings.TrimSuffix(string(out), "\n"), err
}
