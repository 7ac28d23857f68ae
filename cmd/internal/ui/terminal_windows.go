package ui

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func openTerminal() (terminal, error) {
	in, err := os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return terminal{}, err
	}
	out, err := os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		in.Close()
	}
	return terminal{in, out}, err
}

// nobodyReads reports whether a write error means that the reader of a pipe has gone.
func nobodyReads(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}

// hideTyping makes the terminal not show what is typed, until show is called.
func hideTyping(tty *os.File) (show func(), err error) {
	h := windows.Handle(tty.Fd())
	var before uint32
	if err := windows.GetConsoleMode(h, &before); err != nil {
		return nil, err
	}
	// Without line editing there is nothing to hide, so that is turned on, too.
	hidden := before&^windows.ENABLE_ECHO_INPUT | windows.ENABLE_LINE_INPUT | windows.ENABLE_PROCESSED_INPUT
	if err := windows.SetConsoleMode(h, hidden); err != nil {
		return nil, err
	}
	return func() { windows.SetConsoleMode(h, before) }, nil
}
