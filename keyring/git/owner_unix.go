//go:build unix

package git

import (
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// asOwner makes root run git as the owner of the repository of dir: its configuration names
// programs that git runs, and root must not run programs that somebody else chooses. Git
// itself lets root do so under sudo (SUDO_UID in git-config(1), "safe.directory"). If
// another user asks for somebody else's repository, git itself refuses.
func asOwner(dir string, env []string) ([]string, *syscall.SysProcAttr) {
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "SUDO_") })
	if os.Geteuid() != 0 || !maySetID() {
		return env, nil
	}
	owner, ok := ownerOf(dir)
	if !ok || owner.Uid == 0 {
		return env, nil
	}
	keep := func(v string) bool { // the rest describes root, not the owner
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"PATH", "LANG", "TZ", "TERM", "GIT_INDEX_FILE"}, name) ||
			strings.HasPrefix(name, "LC_")
	}
	env = slices.DeleteFunc(env, func(v string) bool { return !keep(v) })
	as := &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	if u, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
		env = append(env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
		as.Gid, as.Groups = groupsOf(u, owner.Gid)
	}
	var of syscall.Stat_t
	if home := os.Getenv("HOME"); syscall.Stat(home, &of) == nil && of.Uid == owner.Uid { // sudo may leave it
		env = append(env, "HOME="+home)
	}
	return env, &syscall.SysProcAttr{Credential: as}
}

// ownerOf returns the owner of the repository of a folder: that of its ".git", or of the
// folder if it is in no repository.
func ownerOf(dir string) (owner syscall.Stat_t, ok bool) {
	if top, err := Top(dir); err == nil {
		dir = filepath.Join(top, ".git")
	}
	err := syscall.Lstat(dir, &owner)
	return owner, err == nil
}

// groupsOf returns the primary group of a user, or that of his file if it is not known, and
// his other groups.
func groupsOf(u *user.User, file uint32) (group uint32, others []uint32) {
	group = file
	if n, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
		group = uint32(n)
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			others = append(others, uint32(n))
		}
	}
	return group, others
}

// stopGently makes an interrupt end git with a signal on which it removes its lock files.
func stopGently(c *exec.Cmd) {
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
}

// giveTo gives a folder to the user that a git runs as.
func giveTo(c *exec.Cmd, folder string) error {
	if c.SysProcAttr == nil || c.SysProcAttr.Credential == nil {
		return nil
	}
	return os.Chown(folder, int(c.SysProcAttr.Credential.Uid), -1)
}

// ofOther returns the name of a file's owner if that is neither root nor the user who runs
// git.
func ofOther(top string, info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	as := uint32(os.Geteuid())
	if owner, ok := ownerOf(top); ok && as == 0 {
		as = owner.Uid
	}
	if ok && st.Uid != as && st.Uid != 0 {
		return nameOf(int(st.Uid))
	}
	return ""
}

// isRun reports whether git runs a hook.
func isRun(hook fs.FileInfo) bool { return hook.Mode()&0o111 != 0 }

// owners returns the name of the owner of a folder's repository, and that of the user who
// asks git.
func owners(dir string) (whose, mine string) {
	whose = "another user"
	if owner, ok := ownerOf(dir); ok && int(owner.Uid) != os.Geteuid() {
		whose = nameOf(int(owner.Uid))
	}
	return whose, nameOf(os.Geteuid())
}

// runsAs returns the user that git runs as for root, as sudo takes it; "" for anybody else.
func runsAs(dir string) string {
	owner, ok := ownerOf(dir)
	if !ok || os.Geteuid() != 0 || owner.Uid == 0 || !maySetID() {
		return ""
	}
	if u, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
		return u.Username
	}
	return "#" + strconv.Itoa(int(owner.Uid))
}

func nameOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(uid)
}
