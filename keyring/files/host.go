package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Replacement says what else is to be true of a file that [Replace] writes.
type Replacement struct {
	Mode     fs.FileMode
	Inherit  bool                    // it belongs to whom its folder belongs, see [Give]
	Unsynced bool                    // after a loss of power nobody asks for it
	Readers  bool                    // the group that may read the old one may read it, see [KeepReaders]
	Prepare  func(f *os.File) error  // is done with the empty file; may be nil
	Check    func(temp string) error // has to succeed before it takes the place; may be nil
}

// Temporary is what the names of the temporary files of [Replace] begin with; the
// process that made it follows, and a dot.
const Temporary = ".wgkeys."

// Replace puts what is read from text in the place of a file anywhere on this host, or
// where there is none: at every moment there is the old one or the new one, whole. A
// temporary file beside it, private from birth, is on disk before it gets the name, and
// the name is on disk before Replace returns. The folder has to be there. What a process
// that was killed has left has a name that begins with [Temporary].
func Replace(path string, text io.Reader, r Replacement) error {
	dir := filepath.Dir(path)
	f, err := createTemp(dir, temporaryHere(), r.Mode)
	if err != nil {
		return err
	}
	temp := f.Name()
	if err = errors.Join(r.fill(f, text), f.Close()); err == nil && r.Check != nil {
		err = r.Check(temp)
	}
	if err == nil && r.Readers {
		err = KeepReaders(path, temp)
	}
	if err == nil {
		err = replaceFile(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	if r.Unsynced {
		return nil
	}
	return Sync(dir)
}

// temporaryHere is the pattern of names of this process' temporary files.
func temporaryHere() string { return fmt.Sprintf("%s%d.*", Temporary, os.Getpid()) }

// fill gives the temporary file its owner, its content and its mode.
func (r Replacement) fill(f *os.File, text io.Reader) error {
	if r.Prepare != nil {
		if err := r.Prepare(f); err != nil {
			return err
		}
	}
	if _, err := io.Copy(f, text); err != nil {
		return err
	}
	if r.Mode != 0o600 {
		if err := f.Chmod(r.Mode); err != nil {
			return err
		}
	}
	if r.Inherit {
		if err := Give(f, r.Mode); err != nil {
			return err
		}
	}
	if r.Unsynced {
		return nil
	}
	return f.Sync()
}
