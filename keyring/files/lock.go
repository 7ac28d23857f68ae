package files

import "errors"

// ErrLocked is the error for a folder or a file that another process has locked.
var ErrLocked = errors.New("another process has locked it")
