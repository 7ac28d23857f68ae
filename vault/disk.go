package vault

import (
	"os"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// flush brings the vault to the disk, with what else is written on its file
// system: [files.Flush]. It tells of errors of writing since dir, the vault's folder,
// was opened.
func flush(dir *os.File, hint string) error {
	if err := files.Flush(dir); err != nil {
		return fault.WrapFile(err, "not certain to be on disk:", dir.Name(), hint)
	}
	return nil
}
