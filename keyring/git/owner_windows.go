package git

import (
	"io/fs"
	"os/exec"
	"syscall"
)

// asOwner changes nothing: git runs as the user himself, and refuses by itself a repository
// of another user.
func asOwner(_ string, env []string) ([]string, *syscall.SysProcAttr) { return env, nil }

// stopGently does nothing: Windows cannot ask a program to end, so git is killed.
func stopGently(*exec.Cmd) {}

// giveTo has nothing to do: git runs as the user himself.
func giveTo(*exec.Cmd, string) error { return nil }

// ofOther does not find out the owner of a file: git itself refuses the repositories of
// others.
func ofOther(string, fs.FileInfo) string { return "" }

// isRun reports whether git runs a hook: Windows has no executable bit.
func isRun(fs.FileInfo) bool { return true }

// runsAs: git runs as the user himself.
func runsAs(string) string { return "" }

// owners does not find out the owner of a folder's repository.
func owners(string) (whose, mine string) { return "another user", "you" }
