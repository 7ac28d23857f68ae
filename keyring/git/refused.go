package git

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"wgkeys/keyring/child"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// failed returns git's own reason for a failure, or that git is not installed.
func failed(ctx context.Context, c *exec.Cmd, err error, dir, said string) error {
	if child.Interrupted(c.ProcessState, ctx.Done()) {
		return fault.WrapFile(context.Cause(ctx), "stopped git in", dir, "")
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fault.New("cannot run", "git", "there is none on this machine, and what it knows of "+dir+" is not known here",
			howToInstall())
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) { // of setuid(2), in some container
		return somebodyElses(dir)
	}
	why := strings.TrimSpace(said)
	if why == "" {
		why = err.Error()
	}
	why = strings.Join(strings.Fields(strings.ReplaceAll(why, "\n", "; ")), " ")
	hint := "git -C " + words.ForShell(dir) + " status"
	switch {
	case strings.Contains(why, "dubious ownership"), strings.Contains(why, "unsafe repository"):
		return somebodyElses(dir)
	case strings.Contains(why, "cannot change to") && strings.Contains(why, "Permission denied"):
		return noWay(dir)
	case strings.Contains(why, "promisor remote"), strings.Contains(why, "lazy fetching disabled"):
		return partial(dir, "files of earlier commits are not here")
	case strings.Contains(why, "GIT_DISCOVERY_ACROSS_FILESYSTEM"):
		hint = "export GIT_DISCOVERY_ACROSS_FILESYSTEM=1, then this again"
	case strings.Contains(why, "not a git repository") && !inGit(dir):
		hint = ToInit(dir)
	}
	return fault.NewFile("git failed in", dir, why, hint)
}

func inGit(dir string) bool {
	_, err := Top(dir)
	return err == nil
}

// somebodyElses is the error if git does not answer because the repository belongs to
// another user ("dubious ownership", safe.directory in git-config(1)).
func somebodyElses(dir string) error {
	top := dir
	if t, err := Top(dir); err == nil {
		top = t
	}
	whose, mine := owners(dir)
	return fault.NewFile("git refuses to answer for", top, "it belongs to "+whose+" and not to "+mine+
		", so which keys are in use is not known",
		"if you trust who owns it: git config --global --add safe.directory "+words.ForShell(top))
}

// noWay is the error if root runs git as the owner of a checkout, and that user may not
// enter a folder above it.
func noWay(dir string) error {
	whose, _ := owners(dir)
	d := words.ForShell(dir)
	return fault.NewFile("git cannot enter", dir,
		"it is run as "+whose+", whose checkout it is, and a folder above lets only others in",
		"namei -l "+d+" shows which one; where the checkout is to be yours: chown -R $(id -un): "+d)
}

// ToInit is the command that makes a repository of dir, after the one that brings git where there
// is none.
func ToInit(dir string) string {
	init := "git init " + words.ForShell(dir)
	if !Installed() {
		return howToInstall() + ", then " + init
	}
	return init
}

// Installed reports whether there is a git on this machine.
func Installed() bool {
	_, err := exec.LookPath("git")
	return err == nil
}

// howToInstall is the command that installs git on this system.
func howToInstall() string {
	switch runtime.GOOS {
	case "windows":
		return "winget install Git.Git"
	case "darwin":
		return "xcode-select --install"
	}
	return "apt install git"
}
