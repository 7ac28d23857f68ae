package boot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wgkeys/deploy/install"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// Self is this program's own file. It is placed if that is what [Program] is.
func Self() (path string, placed bool, err error) {
	path, err = os.Executable()
	if err != nil {
		return "", false, fault.Wrap(err, "cannot find this program's own file", "", "")
	}
	real, err := filepath.EvalSymlinks(Program())
	return path, err == nil && real == path, nil
}

// A Replacement says what this program may replace at [Program].
type Replacement struct {
	Version   string // of this program, as --version prints it
	Others    bool   // also a program that is not wgkeys
	Downgrade bool   // also a newer wgkeys
}

// Check refuses to replace what the program self may not replace.
func (r Replacement) Check(ctx context.Context, self string) error {
	if err := install.IsOurs(Program()); err != nil && lexists(Program()) && !r.Others {
		return fault.WrapFile(err, "cannot replace", Program(), "sudo "+words.ForShell(self)+" install -y")
	}
	if its := versionOf(ctx, Program()); install.Older(r.Version, its) && !r.Downgrade {
		return fault.NewFile("a newer wgkeys is at", Program(), "it is "+its+", and this one "+r.Version,
			"to replace it all the same: sudo "+words.ForShell(self)+" install --downgrade")
	}
	return nil
}

// versionOf is what a wgkeys says of its version; "" where it says nothing in time.
func versionOf(ctx context.Context, program string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Place copies the program self to [Program], by a rename: a running program cannot be written to.
func Place(self string) error {
	in, err := os.Open(self)
	if err == nil {
		defer in.Close()
		err = files.Replace(Program(), in, files.Replacement{Mode: 0o755})
	}
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot install", Program(), "sudo wgkeys install")
	}
	return nil
}
