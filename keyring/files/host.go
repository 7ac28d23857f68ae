package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Replacement says what else holds for a file that [Replace] writes.
type Replacement struct {
	Mode     fs.FileMode
	Inherit  bool                    // it gets the owner of its folder, see [Give]
	Unsynced bool                    // it need not survive a power failure
	Readers  bool                    // a group that may read the old file may read the new one, see [KeepReaders]
	Prepare  func(f *os.File) error  // called with the empty file; may be nil
	Check    func(temp string) error // called with the path of the written file before it replaces the old one; may be nil
}

// errNoFile is the error for something that has the name of a file.
var errNoFile = errors.New("it is there, and no ordinary file")

// Temporary is the prefix of the temporary files of [Replace]; the process ID and a dot
// follow.
const Temporary = ".wgkeys."

// Replace writes the content of text to a file anywhere on this host, over an existing one
// if there is one: at every moment there is the old file or the new one, whole. A temporary
// file beside it, private from birth, is on disk before it gets the name, and the name is
// on disk before Replace returns. The folder has to exist. A killed process leaves a file
// whose name begins with [Temporary]. A device, such as /dev/null, is not replaced, nor a
// folder, but a link is.
func Replace(path string, text io.Reader, r Replacement) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type()&^fs.ModeSymlink != 0 {
		return errNoFile
	}
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

// temporaryHere is the pattern for os.CreateTemp of this process' temporary files.
func temporaryHere() string { return fmt.Sprintf("%s%d.*", Temporary, os.Getpid()) }

// fill writes the content of the temporary file, and sets its owner and mode.
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
