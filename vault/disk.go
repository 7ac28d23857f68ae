package vault

import (
	"os"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// flush syncs the file system of the vault: [files.Flush]. It reports write errors since
// dir, the vault's folder, was opened.
func flush(dir *os.File, hint string) error {
	if err := files.Flush(dir); err != nil {
		return fault.WrapFile(err, "may not have reached the disk:", dir.Name(), hint)
	}
	return nil
}
