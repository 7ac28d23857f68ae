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

// fromInput has git read names from its input: ten thousand do not fit into the
// arguments of a process.
var fromInput = []string{"--pathspec-from-file=-", "--pathspec-file-nul"}

// Commit makes one commit of the files at paths, which lie below dir, as they
// are now: new, changed or removed. What else is staged stays so, and is no part
// of it. Paths of which neither git nor the disk knows anything are passed over.
// If git refuses, for a hook of the user's or anything else, the files and the
// index are as they were.
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

// change is [run] for what writes to the repository: hooks are run, as whoever commits
// has them. To tidy up is left to his own commits (git-maintenance(1)).
func change(ctx context.Context, dir string, input io.Reader, args ...string) ([]byte, error) {
	c, err := withoutFilters(ctx, dir, plain(ctx, dir, append([]string{"-c", "maintenance.auto=false"}, args...)...))
	if err != nil {
		return nil, err
	}
	return output(ctx, c, dir, input)
}

// sort returns those of the paths that git knows, and those that are new, as seen
// from dir.
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
