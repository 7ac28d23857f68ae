package push

import (
	"io"

	"wgkeys/keyring/fault"
)

// Receive would take key files on this machine.
func Receive(io.Reader, io.Writer, []string) error {
	return fault.New("this machine cannot be a host:", "windows", "hosts run Linux", "")
}
