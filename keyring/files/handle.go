package files

import "io/fs"

// A status is what is known of a file or a folder.
type status struct {
	mode fs.FileMode
	size int64
}

// read returns what is in a regular file, and its status. The text is nil if there is more
// than limit bytes, or it is no regular file. If it is not as long as the status says the
// file has grown or shrunk meanwhile, or that was never true.
func (h handle) read(name string, limit int64) (text []byte, is status, err error) {
	return h.readTo(name, limit, func(n int) []byte { return make([]byte, n) })
}

// mode is that of a file, as far as it is one.
func (h handle) mode(name string) (fs.FileMode, bool) {
	is, err := h.lstat(name)
	return is.mode.Perm(), err == nil && is.mode.IsRegular()
}
