package labtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Hunt searches file systems for needles.
type Hunt struct {
	*Needles
	since   time.Time      // older files are skipped
	Skip    []string       // directories
	seen    map[inode]bool // roots of the trees that were searched
	Entries int
	Files   int
	Size    int64
	Found   map[string][]string // what was found, by path
	Errs    []error
}

// NewHunt returns a hunt for files changed since then, which skips some directories.
func NewHunt(n *Needles, since time.Time, skip ...string) *Hunt {
	return &Hunt{Needles: n, since: since, Skip: skip, seen: map[inode]bool{}, Found: map[string][]string{}}
}

type inode struct{ dev, number uint64 }

// kernelsOwn are types of file systems that store nothing.
var kernelsOwn = []string{"proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf",
	"pstore", "nsfs", "autofs", "binfmt_misc", "configfs", "fusectl", "efivarfs"}

// Process searches every file system that a process sees, from each of its mount points. It
// cannot see what another mount covers.
func (h *Hunt) Process(pid string) {
	mounts, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		h.Errs = append(h.Errs, err)
		return
	}
	root := "/proc/" + pid + "/root"
	if pid == "self" {
		root = ""
	}
	for line := range strings.Lines(string(mounts)) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw (proc(5))
		f := strings.Fields(line)
		end := slices.Index(f, "-")
		if len(f) > end+1 && !slices.Contains(kernelsOwn, f[end+1]) {
			h.tree(root + f[4])
		}
	}
}

// tree searches a file system from its mount point, unless it was searched from the same
// directory before. That a directory within it was searched is not enough: it may be
// mounted elsewhere too. If a mount is covered, its mount point is in what covers it.
func (h *Hunt) tree(top string) {
	var st syscall.Stat_t
	if err := syscall.Stat(top, &st); err != nil || h.seen[inode{st.Dev, st.Ino}] {
		return
	}
	h.seen[inode{st.Dev, st.Ino}] = true
	filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		var at syscall.Stat_t
		if err != nil || syscall.Lstat(path, &at) != nil {
			return nil // it was removed meanwhile
		}
		if at.Dev != st.Dev && d.IsDir() || slices.Contains(h.Skip, path) {
			return fs.SkipDir
		}
		if at.Dev != st.Dev && isNamespace(path) {
			return nil
		}
		h.Entries++
		if time.Unix(at.Ctim.Unix()).Before(h.since) {
			return nil
		}
		h.entry(path, d)
		return nil
	})
}

// entry searches the name of a file, the target of a link, and the content.
func (h *Hunt) entry(path string, d fs.DirEntry) {
	found := func(what string) { h.Found[path] = append(h.Found[path], what) }
	h.In([]byte(d.Name()), found)
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		if to, err := os.Readlink(path); err == nil {
			h.In([]byte(to), found)
		}
	case d.Type().IsRegular():
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				h.Errs = append(h.Errs, err)
			}
			return
		}
		defer f.Close()
		size, err := h.stream(f, found)
		if err != nil {
			h.Errs = append(h.Errs, err)
		}
		h.Files, h.Size = h.Files+1, h.Size+size
	}
}

// isNamespace reports whether a file is a named namespace, as of ip-netns(8), which has no
// content.
func isNamespace(path string) bool {
	var at unix.Statfs_t
	return unix.Statfs(path, &at) == nil && at.Type == unix.NSFS_MAGIC
}
