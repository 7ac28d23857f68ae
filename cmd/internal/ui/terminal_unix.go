//go:build unix

package ui

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func openTerminal() (terminal, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	return terminal{tty, tty}, err
}

// nobodyReads reports whether a write error means that the reader of a pipe has gone.
func nobodyReads(err error) bool { return errors.Is(err, unix.EPIPE) }

// hideTyping makes the terminal not show what is typed, until show is called.
func hideTyping(tty *os.File) (show func(), err error) {
	fd := int(tty.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, setTermios, &hidden); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(fd, setTermios, before) }, nil
}
