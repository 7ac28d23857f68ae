package leak

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"wgkeys/keyring/files"
)

// MaxFile is the largest size of a file that is searched, in bytes. A secret in a larger
// one is not found.
const MaxFile = 16 << 20

// Tree calls found, from several goroutines, for each hit in the files below dir. Symbolic
// links and git's own folders are left out. For each path that cannot be read unreadable is
// called. A file in seen, which may be nil, is not read again.
func (k *Known) Tree(dir string, seen *files.Snapshot, found func(path string, h Hit),
	unreadable func(path string, err error)) {
	t := &tree{k: k, seen: seen, found: found, unreadable: unreadable,
		workers: runtime.NumCPU() + 2} // some wait for the disk
	t.dir(dir, t.entries(dir))
}

type tree struct {
	k          *Known
	seen       *files.Snapshot
	found      func(string, Hit)
	unreadable func(string, error)
	workers    int // for the subfolders of a folder with many
}

// dir searches a folder. Its subfolders are searched in parallel if there are many, unless
// it is itself one of many.
func (t *tree) dir(path string, entries []fs.DirEntry) {
	var below []fs.DirEntry
	for _, e := range entries {
		switch {
		case e.IsDir() && e.Name() != ".git":
			below = append(below, e)
		case e.Type().IsRegular():
			t.entry(path, e)
		}
	}
	const many = 64
	if t.workers == 1 || len(below) < many {
		for _, e := range below {
			t.folder(path, e)
		}
		return
	}
	one := *t
	one.workers = 1
	var next atomic.Int64
	var wait sync.WaitGroup
	for range t.workers {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(below)); i = next.Add(1) - 1 {
				one.folder(path, below[i])
			}
		})
	}
	wait.Wait()
}

// folder searches a folder in a folder.
func (t *tree) folder(dir string, e fs.DirEntry) {
	path := dir + string(filepath.Separator) + e.Name()
	if seen, ok := e.(files.Seen); ok {
		if entries, known := seen.Entries(); known {
			t.dir(path, entries)
			return
		}
	}
	t.dir(path, t.entries(path))
}

// entry searches a file in a folder: its text in the snapshot, or else the file on the
// disk.
func (t *tree) entry(dir string, e fs.DirEntry) {
	if seen, ok := e.(files.Seen); ok {
		if text, whole := seen.Text(); whole {
			for _, h := range t.k.Find(e.Name(), text) {
				t.found(filepath.Join(dir, e.Name()), h)
			}
			return
		}
	}
	t.file(filepath.Join(dir, e.Name()))
}

func (t *tree) entries(path string) []fs.DirEntry {
	if entries, ok := t.seen.Entries(path); ok {
		return entries
	}
	d, err := files.OpenDir(path)
	if err != nil {
		t.unreadable(path, err)
		return nil
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		t.unreadable(path, err)
	}
	return entries
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (t *tree) file(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|files.NoFollow|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.unreadable(path, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxFile {
		return
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	size := int(info.Size())
	if cap(*buffer) < size {
		*buffer = make([]byte, size)
	}
	text := (*buffer)[:size]
	defer clear(text)
	n, err := io.ReadFull(f, text)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		t.unreadable(path, err)
		return
	}
	for _, h := range t.k.Find(path, text[:n]) {
		t.found(path, h)
	}
}
