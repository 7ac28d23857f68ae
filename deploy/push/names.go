//go:build unix

package push

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Only a key is replaced, or a partial key under the name of a key file, and a new file has
// to have such a name. So a user who may run wgkeys receive as root can replace keys and
// nothing else: a line of base64 in /etc/ld.so.preload would be the path of a library.

const (
	maxBlank = 64
	keyChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)

// part reports whether text may be overwritten: only white space, or the beginning of a
// key. A truncated file lacks the newline at its end.
func part(text []byte) bool {
	if len(text) <= maxBlank && len(bytes.Trim(text, " \t\r\n\v\f")) == 0 {
		return true
	}
	return len(text) <= 44 && len(bytes.Trim(bytes.TrimSuffix(text, []byte("=")), keyChars)) == 0
}

// real resolves the symbolic links in the folders of path, some of which may not exist yet.
// Folders that users other than root can change are refused: they could make root write
// anywhere.
func real(path string) (string, error) {
	dir, rest := filepath.Dir(path), filepath.Base(path)
	for {
		found, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(found, rest), ownFolders(found)
		}
		if !errors.Is(err, os.ErrNotExist) || dir == "/" {
			return "", err
		}
		if _, err := os.Lstat(dir); err == nil {
			return "", fmt.Errorf("the link %s leads nowhere", dir)
		}
		dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest)
	}
}

// ownFolders refuses a folder if it, or one above it, can be changed by others, as sshd
// does with StrictModes (safe_path in its misc.c). In a sticky folder nobody else can
// replace root's files.
func ownFolders(dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		shared := info.Mode()&0o002 != 0 || info.Mode()&0o020 != 0 && ok && owner.Gid != 0
		if !ok || owner.Uid != 0 && allUsers() || shared && info.Mode()&os.ModeSticky == 0 {
			return errors.New(othersChange + dir)
		}
		if dir == "/" {
			return nil
		}
	}
}

// allUsers reports whether this process sees all users: in a user namespace the owner of
// the folders above ours is nobody (user_namespaces(7)).
func allUsers() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || slices.Equal(strings.Fields(string(text)), []string{"0", "0", "4294967295"})
}
