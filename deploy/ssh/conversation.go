package ssh

import "io"

// A conversation is the standard input of a [Session].
type conversation struct{ *io.PipeReader }

// talks reports whether a command's standard input is that of a session. Any other is there
// in full from the beginning.
func talks(stdin io.Reader) bool {
	_, yes := stdin.(conversation)
	return yes
}
