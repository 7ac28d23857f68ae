package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// fromInput makes git read names from its input: ten thousand do not fit into the arguments
// of a process.
var fromInput = []string{"--pathspec-from-file=-", "--pathspec-file-nul"}

// Commit makes one commit of the files at paths, which are below dir, as they are now: new,
// changed or removed. Other staged changes stay staged and are not committed. Paths that
// neither git nor the disk knows are ignored. If git refuses, because of a hook of the
// user's or anything else, the files and the index are as they were.
func Commit(ctx context.Context, dir string, paths []string, message string) error {
	known, added, err := sort(ctx, dir, paths)
	if err != nil || len(known)+len(added) == 0 {
		return err
	}
	if len(added) > 0 {
		_, err = change(ctx, dir, list(added), append([]string{"add", "--intent-to-add"}, fromInput...)...)
	}
	if err == nil {
		args := append([]string{"commit", "--quiet", "--only", "--message", message}, fromInput...)
		_, err = change(ctx, dir, list(append(known, added...)), args...)
	}
	if err == nil || len(added) == 0 {
		return err
	}
	_, undo := change(context.WithoutCancel(ctx), dir, list(added), append([]string{"reset", "--quiet"}, fromInput...)...)
	return errors.Join(err, undo)
}

// change is [run] for commands that write to the repository: it runs hooks, as a commit of
// the user's does, but leaves maintenance to the user's own commits (git-maintenance(1)).
func change(ctx context.Context, dir string, input io.Reader, args ...string) ([]byte, error) {
	c, err := withoutFilters(ctx, dir, plain(ctx, dir, append([]string{"-c", "maintenance.auto=false"}, args...)...))
	if err != nil {
		return nil, err
	}
	return output(ctx, c, dir, input)
}

// sort divides the paths into those that git knows and those that are new, as seen from
// dir.
func sort(ctx context.Context, dir string, paths []string) (known, added []string, err error) {
	out, err := run(ctx, dir, nil, "ls-files", "-z", "--", ".")
	if err != nil {
		return nil, nil, err
	}
	tracked := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		tracked[name] = true
	}
	seen := map[string]bool{}
	for _, path := range paths {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, nil, err
		}
		if name = filepath.ToSlash(name); seen[name] {
			continue
		}
		seen[name] = true
		if tracked[name] {
			known = append(known, name)
		} else if _, err := os.Lstat(path); err == nil {
			added = append(added, name)
		}
	}
	return known, added, nil
}

func list(names []string) io.Reader {
	var b bytes.Buffer
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(0)
	}
	return &b
}
