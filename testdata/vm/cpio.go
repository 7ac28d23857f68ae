package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"
)

// An archive is a cpio archive in the "newc" format, which the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). Several can
// follow each other; a file of a later one replaces one of an earlier.
type archive struct {
	buf  bytes.Buffer
	seen map[string]bool
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// dir adds a folder and those above it, once.
func (a *archive) dir(name string, perm uint32) {
	name = path.Clean(merged(name))
	if name == "/" || a.seen[name] {
		return
	}
	a.dir(path.Dir(name), 0o755)
	a.entry(name, modeDir|perm, nil)
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	a.dir(path.Dir(name), 0o755)
	a.entry(name, modeLink|0o777, []byte(target))
}

// file adds a file, once.
func (a *archive) file(name string, perm uint32, content []byte) {
	name = path.Clean(merged(name))
	if a.seen[name] {
		return
	}
	a.dir(path.Dir(name), 0o755)
	a.entry(name, modeFile|perm, content)
}

// copy adds a file by the name that it has here.
func (a *archive) copy(name string) error { return a.copyAs(name, name) }

// copyAs adds the file at path as name, following symbolic links.
func (a *archive) copyAs(path, name string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	a.file(name, uint32(st.Mode().Perm()), content)
	return nil
}

// merged spells a path as it is on a system with a merged /usr, where /bin and
// its like are links (file-hierarchy(7)).
func merged(name string) string {
	for _, dir := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(name, dir) {
			return "/usr" + name
		}
	}
	return name
}

func (a *archive) entry(name string, mode uint32, content []byte) {
	if a.seen == nil {
		a.seen = make(map[string]bool)
	}
	a.seen[name] = true
	a.header(strings.TrimPrefix(name, "/"), mode, len(content), len(a.seen))
	a.buf.Write(content)
	a.pad()
}

// header writes 13 numbers of 8 hexadecimal digits, the first 5 of which are
// inode, mode, owner, group and links; then time, size, two device numbers,
// the length of the name, and a checksum that is not used.
func (a *archive) header(name string, mode uint32, size, inode int) {
	fmt.Fprintf(&a.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (a *archive) bytes() []byte {
	a.header("TRAILER!!!", 0, 0, 0)
	return a.buf.Bytes()
}
