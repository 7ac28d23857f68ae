package ui

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

// Page prints a text, through the user's pager if it is longer than the terminal.
func Page(u *UI, text string) {
	size, terminal := u.TerminalSize()
	if !terminal || u.Pager == "" || u.Dumb || rowsOf(text, size) < size.Lines || pageBy(u, text) != nil {
		u.Printf("%s", text)
	}
}

// pageBy shows a text with the pager. If there is no such program that is an error. A pager
// that was closed before the end, or died, is not: the user has seen what he wanted.
func pageBy(u *UI, text string) error {
	cmd := exec.Command("/bin/sh", "-c", u.Pager) // a command with its flags, as in man(1)
	cmd.Stdout, cmd.Stderr = u.Stdout, u.Stderr
	cmd.Stdin = strings.NewReader(Printable(text))
	interrupts := make(chan os.Signal, 1) // Ctrl-C is for the pager, which goes on
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	if errors.As(err, &exit) && exit.ExitCode() != 126 && exit.ExitCode() != 127 { // sh found no such program
		return nil
	}
	return err
}

// rowsOf returns how many rows of a terminal a text takes.
func rowsOf(text string, size Size) (n int) {
	for line := range strings.Lines(text) {
		n += rows(Line{{Text: strings.TrimRight(line, "\n")}}.width(), size)
	}
	return n
}
