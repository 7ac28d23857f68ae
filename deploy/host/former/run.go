package former

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wgkeys/keyring/fault"
)

// runs is how long a command may take.
const runs = 30 * time.Second

// run runs a command of the host; its output becomes part of the error.
func run(ctx context.Context, stdin, name string, args ...string) (out string, err error) {
	ctx, cancel := context.WithTimeout(ctx, runs)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(stdin)
	var said, wrong strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &wrong
	if err := cmd.Run(); err != nil {
		why := strings.TrimSpace(wrong.String())
		if why == "" {
			why = err.Error()
		}
		return said.String(), fault.New("cannot run", name+" "+strings.Join(args, " "), why, "")
	}
	return said.String(), nil
}

// booted reports whether systemd runs the host (sd_booted(3)).
func booted() bool { return isThere("/run/systemd/system") }

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// readIfThere returns a file's text, "" if there is none.
func readIfThere(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.WrapFile(fault.Errno(err), "cannot read", path, fault.AsRoot)
	}
	return string(text), nil
}

// base is the name under which a file is moved away, different for two files of one name.
func base(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(filepath.Clean(path), "/"), "/", "%")
}
