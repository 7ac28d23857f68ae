package files

import "io/fs"

// A status is what is known about a file or a folder.
type status struct {
	mode fs.FileMode
	size int64
}

// read returns the content of a regular file, and its status. The text is nil if it has
// more than limit bytes, or if the file is not regular. If its length differs from the
// status, the file has changed meanwhile, or the file system reports no size.
func (h handle) read(name string, limit int64) (text []byte, is status, err error) {
	return h.readTo(name, limit, func(n int) []byte { return make([]byte, n) })
}

// mode returns the mode of the status.
func (h handle) mode(name string) (fs.FileMode, bool) {
	is, err := h.lstat(name)
	return is.mode.Perm(), err == nil && is.mode.IsRegular()
}
