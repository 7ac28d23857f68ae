package leak

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"wgkeys/keyring/files"
)

// MaxFile is the size of a file that is still searched, in bytes. A larger one
// is no file of keys, but may still hold one: it is not found.
const MaxFile = 16 << 20

// Tree calls found, from several goroutines, for each hit in the files below dir.
// Symbolic links and git's own folders are left out, and so is what cannot be
// read: unreadable is told of each such path. What is in seen, which may be nil, is
// not read again.
func (k *Known) Tree(dir string, seen *files.Snapshot, found func(path string, h Hit),
	unreadable func(path string, err error)) {
	t := &tree{k: k, seen: seen, found: found, unreadable: unreadable, more: make(chan struct{}, 2*runtime.NumCPU())}
	t.dir(dir)
	t.wait.Wait()
}

type tree struct {
	k          *Known
	seen       *files.Snapshot
	found      func(string, Hit)
	unreadable func(string, error)
	more       chan struct{} // room for another goroutine
	wait       sync.WaitGroup
}

// dir searches a folder, and the folders in it beside it while there is room.
func (t *tree) dir(path string) {
	for _, e := range t.entries(path) {
		name := filepath.Join(path, e.Name())
		switch {
		case e.IsDir() && e.Name() == ".git":
		case e.IsDir():
			select {
			case t.more <- struct{}{}:
				t.wait.Go(func() {
					t.dir(name)
					<-t.more
				})
			default:
				t.dir(name)
			}
		case e.Type().IsRegular():
			t.file(name)
		}
	}
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
	if text, ok := t.seen.Text(path); ok {
		t.find(path, text)
		return
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
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
	t.find(path, text[:n])
}

func (t *tree) find(path string, text []byte) {
	for _, h := range t.k.Find(path, text) {
		t.found(path, h)
	}
}
