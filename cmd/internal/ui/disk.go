package ui

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"wgkeys/keyring/fault"
)

// aboutDisk is the hint for a file that could not be written, where the error has none of its
// own: any file may be the one for which there is no room.
func aboutDisk(err error) string {
	file, elsewhere := "", false
	fault.Each(err, func(f *fault.Fault) {
		elsewhere = elsewhere || f.Host != ""
		if f.File != "" {
			file = f.File // the innermost could not be written; one around it may be where it went instead
		}
	})
	if elsewhere || file == "" {
		return ""
	}
	at := filepath.Dir(file)
	for _, err := os.Stat(at); err != nil && at != filepath.Dir(at); _, err = os.Stat(at) {
		at = filepath.Dir(at) // it was not made, or is gone again
	}
	folder := Quoted(at)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "df -h " + folder + "; df -i " + folder
	case errors.Is(err, syscall.EROFS):
		return "findmnt -T " + folder
	}
	return ""
}
