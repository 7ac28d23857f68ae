package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// needles are secrets in all the forms in which a program could leave them
// somewhere, to be looked for all at once.
type needles struct {
	start   [1 << 16]bool       // by the first two bytes
	by      map[uint64][]needle // by the first eight
	longest int
}

// A needle is one form of one secret; what names both.
type needle struct {
	text []byte
	what string
}

// add adds the forms of a key: its bytes, as the kernel takes them; base64, with
// and without padding, in both alphabets, and once more, as JSON has the bytes of a
// key file; hexadecimal, as the device in user space takes it; and as programs
// print bytes.
func (n *needles) add(key []byte, of string) {
	text := base64.StdEncoding.EncodeToString(key)
	n.put(key, of+", raw")
	n.put([]byte(strings.TrimRight(text, "=")), of+", base64")
	n.put([]byte(base64.RawURLEncoding.EncodeToString(key)), of+", base64url")
	n.put([]byte(base64.RawStdEncoding.EncodeToString([]byte(text[:42]))), of+", base64 of base64")
	n.put([]byte(hex.EncodeToString(key)), of+", hex")
	n.put([]byte(strings.ToUpper(hex.EncodeToString(key))), of+", HEX")
	for _, form := range []string{"%d ", "%d,", "%d, ", `\x%02x`, "%02x:", "0x%02x, "} {
		var b strings.Builder
		for _, c := range key[:31] {
			fmt.Fprintf(&b, form, c)
		}
		n.put([]byte(b.String()), of+", as "+form)
	}
}

// put adds one form.
func (n *needles) put(text []byte, what string) {
	if n.by == nil {
		n.by = map[uint64][]needle{}
	}
	n.start[binary.LittleEndian.Uint16(text)] = true
	first := binary.LittleEndian.Uint64(text)
	n.by[first] = append(n.by[first], needle{bytes.Clone(text), what})
	n.longest = max(n.longest, len(text))
}

// in calls found for each needle in text.
func (n *needles) in(text []byte, found func(what string)) {
	for i := 0; i+8 <= len(text); i++ {
		if !n.start[uint16(text[i])|uint16(text[i+1])<<8] {
			continue
		}
		for _, x := range n.by[binary.LittleEndian.Uint64(text[i:])] {
			if bytes.HasPrefix(text[i:], x.text) {
				found(x.what)
			}
		}
	}
}

const searchBuffer = 1 << 20

// stream looks through all of r. What crosses the end of a buffer is found, for
// the next one begins with the end of it; it may be found twice.
func (n *needles) stream(r io.Reader, found func(what string)) (size int64, err error) {
	buffer := make([]byte, searchBuffer)
	kept := 0
	for {
		got, err := io.ReadFull(r, buffer[kept:])
		size += int64(got)
		n.in(buffer[:kept+got], found)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		kept = copy(buffer, buffer[len(buffer)-n.longest:])
	}
}

// A hunt goes through file systems for needles.
type hunt struct {
	*needles
	since   time.Time      // what was not changed since then holds none of them
	skip    []string       // folders
	seen    map[inode]bool // where trees began
	entries int
	files   int
	size    int64
	found   map[string][]string // what, by path
	errs    []error
}

func newHunt(n *needles, since time.Time, skip ...string) *hunt {
	return &hunt{needles: n, since: since, skip: skip, seen: map[inode]bool{}, found: map[string][]string{}}
}

type inode struct{ dev, number uint64 }

// kernelsOwn are file systems that keep nothing.
var kernelsOwn = []string{"proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf", "pstore", "nsfs", "autofs", "binfmt_misc", "configfs", "fusectl", "efivarfs"}

// process looks through every file system that a process sees, from each folder of
// it that is mounted. What another one has mounted over cannot be seen.
func (h *hunt) process(pid string) {
	mounts, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		h.errs = append(h.errs, err)
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

// tree looks through one file system, from where it is mounted, unless it did so
// from the same folder before. That a folder of it was searched does not say that
// all of it was: it may be mounted elsewhere too, and where another mount is covered
// its mount point lies in what covers it.
func (h *hunt) tree(top string) {
	var st syscall.Stat_t
	if err := syscall.Stat(top, &st); err != nil || h.seen[inode{st.Dev, st.Ino}] {
		return
	}
	h.seen[inode{st.Dev, st.Ino}] = true
	filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		var at syscall.Stat_t
		if err != nil || syscall.Lstat(path, &at) != nil {
			return nil // gone by now
		}
		if at.Dev != st.Dev && d.IsDir() || slices.Contains(h.skip, path) {
			return fs.SkipDir
		}
		if at.Dev != st.Dev && isNamespace(path) {
			return nil
		}
		h.entries++
		if time.Unix(at.Ctim.Unix()).Before(h.since) {
			return nil
		}
		h.entry(path, d)
		return nil
	})
}

// entry looks at what was changed: its name, where a link leads, and the content.
func (h *hunt) entry(path string, d fs.DirEntry) {
	found := func(what string) { h.found[path] = append(h.found[path], what) }
	h.in([]byte(d.Name()), found)
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		if to, err := os.Readlink(path); err == nil {
			h.in([]byte(to), found)
		}
	case d.Type().IsRegular():
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				h.errs = append(h.errs, err)
			}
			return
		}
		defer f.Close()
		size, err := h.stream(f, found)
		if err != nil {
			h.errs = append(h.errs, err)
		}
		h.files, h.size = h.files+1, h.size+size
	}
}

// isNamespace reports whether a file is a namespace that has a name, as those of
// ip-netns(8): there is nothing to read in it.
func isNamespace(path string) bool {
	var at unix.Statfs_t
	return unix.Statfs(path, &at) == nil && at.Type == unix.NSFS_MAGIC
}
