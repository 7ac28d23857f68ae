package vault

import (
	"time"

	"wgkeys/keyring/fault"
	"wgkeys/vault/ageplugin"
)

// An Asker speaks with the user on the terminal.
type Asker = ageplugin.Asker

// ErrInterrupted is the error of a wait if the user has ended the run.
var ErrInterrupted = ageplugin.ErrInterrupted

// patience is how long to wait for an age plugin, or for the writer of an identity into a
// pipe, that says nothing. It is long enough to fetch a hardware key.
var patience = 2 * time.Minute

func client(a Asker) ageplugin.Client { return ageplugin.Client{Asker: a, Patience: patience} }

// askPassphrase asks for the passphrase of the file at path.
func askPassphrase(a Asker, path string) (string, error) {
	if a == nil {
		return "", fault.NewFile("cannot ask for the passphrase of", path, "there is nobody to ask", "")
	}
	return a.Ask("passphrase of "+path, true)
}
