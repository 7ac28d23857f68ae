package main

// This file is the user interface. The rules are:
//
//   - Results go to standard output, and nothing else does.
//   - Everything that wgkeys says about its work goes to standard error with
//     the prefix "wgkeys: ". No capital at the beginning, no period at the end.
//   - An error is one line "error:" and at least one line "hint:" where
//     something can be run or done about it.
//   - Questions go to the terminal and nowhere else. Only rotate has one, and -y
//     is the answer where there is no terminal; passphrases, and what a hardware
//     key wants, are asked for there too. ssh asks by itself.
//   - A bar shows how far work is that takes more than two seconds, on a
//     terminal.
//   - Every line is made printable here, once: names, comments and errors come
//     from repositories and hosts that somebody else may have written.
//   - No secret passes through here, but for the one that show --secret was asked
//     for by name.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// The exit codes.
const (
	exitDone     = 0 // done, or nothing to do
	exitFailed   = 1
	exitUsage    = 2
	exitSome     = 3 // some hosts failed
	exitFindings = 4 // there is something to do
)

// A ui talks to the person who runs the command.
type ui struct {
	stdout, stderr io.Writer
	quiet, verbose bool
	ended          <-chan struct{} // closed when the person has ended the run
}

// An exitError ends the command with a code of its own. Err may be nil:
// everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

// usage returns the error of a command that was called wrongly.
func usage(what, who, why, hint string) error {
	return &exitError{exitUsage, fault.New(what, who, why, hint)}
}

// printf writes a result.
func (u *ui) printf(format string, args ...any) {
	io.WriteString(u.stdout, printable(fmt.Sprintf(format, args...)))
}

// json writes a result for programs.
func (u *ui) json(v any) error {
	e := json.NewEncoder(&screen{w: u.stdout})
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// takesSecret reports whether a secret may go to standard output: a terminal or a
// pipe. In a file it would lie on the disk in the clear, which this program never
// does.
func (u *ui) takesSecret(host string) error {
	if f, ok := u.stdout.(*os.File); ok {
		info, err := f.Stat()
		if err == nil && (info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 || term.IsTerminal(int(f.Fd()))) {
			return nil
		}
	}
	return fault.New("no secret is written to", "standard output", "it is neither a terminal nor a pipe, and the key would stay there",
		"wgkeys show --secret "+host+" | wg pubkey")
}

// secret writes a secret after takesSecret.
func (u *ui) secret(text []byte) error {
	_, err := u.stdout.Write(text)
	return err
}

// event writes something that happened, for programs: one line.
func (u *ui) event(v any) { json.NewEncoder(&screen{w: u.stdout}).Encode(v) }

// ask asks a question on the terminal, whatever standard input and output are.
func (u *ui) ask(question string) (yes bool, err error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false, usage("cannot ask", question, "there is no terminal", "-y answers yes")
	}
	defer tty.Close()
	fmt.Fprintf(tty, "wgkeys: %s [y/N] ", printable(question))
	answer, err := readLine(tty, false)
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// Tell implements [vault.Asker].
func (u *ui) Tell(line string) { u.talk(line) }

// Ask implements [vault.Asker]. What is secret is not shown as it is typed, and
// goes nowhere but to the caller.
func (u *ui) Ask(prompt string, secret bool) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", fault.New("cannot ask for", prompt, "there is no terminal", "")
	}
	defer tty.Close()
	fmt.Fprintf(tty, "wgkeys: %s: ", printable(prompt))
	return readLine(tty, secret)
}

// readLine reads a line from the terminal, and has it not shown if it is secret.
// The program's signals end a verb when it comes to look; who is asked cannot wait
// for that. However it ends, the terminal is as it was.
func readLine(tty *os.File, secret bool) (string, error) {
	fd := int(tty.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(interrupted)
	if secret {
		hidden := *before
		hidden.Lflag &^= unix.ECHO
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
			return "", err
		}
		defer fmt.Fprintln(tty)
		defer unix.IoctlSetTermios(fd, unix.TCSETS, before)
	}
	var answer string
	read := make(chan error, 1)
	go func() {
		var err error
		answer, err = bufio.NewReader(tty).ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		return strings.TrimRight(answer, "\r\n"), err
	case <-interrupted:
		return "", vault.ErrInterrupted
	}
}

// Choose implements [vault.Asker].
func (u *ui) Choose(prompt, yes, no string) (bool, error) {
	choice := "1: " + yes
	if no != "" {
		choice += ", 2: " + no
	}
	for {
		switch answer, err := u.Ask(prompt+" ("+choice+")", false); {
		case err != nil:
			return false, err
		case answer == "1":
			return true, nil
		case answer == "2" && no != "":
			return false, nil
		}
	}
}

// progress returns what hears how far work is, one call at a time, and the end
// of it.
func (u *ui) progress(what string) (step func(done, all int), end func()) {
	f, ok := u.stderr.(*os.File)
	if !ok || u.quiet || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	var bar *progressbar.ProgressBar
	start := time.Now()
	step = func(done, all int) {
		if bar == nil && time.Since(start) >= 2*time.Second {
			bar = progressbar.NewOptions(all, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("wgkeys: "+what),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
		}
		if bar != nil {
			bar.Set(done)
		}
	}
	return step, func() {
		if bar != nil {
			bar.Clear()
		}
	}
}

// say tells what is being done. Talk is left out with -q.
func (u *ui) say(format string, args ...any) {
	if !u.quiet {
		u.talk(fmt.Sprintf(format, args...))
	}
}

// talk writes a line about the work.
func (u *ui) talk(line string) { io.WriteString(u.stderr, "wgkeys: "+printable(line)+"\n") }

// warn tells what the user should look into, also with -q.
func (u *ui) warn(err error) { u.tell("warning", err) }

func (u *ui) tell(kind string, err error) {
	for _, line := range lines(err) {
		if !strings.HasPrefix(line, " ") { // else it goes on about the one before
			line = kind + ": " + line
		}
		u.talk(line)
	}
	for _, hint := range fault.Hints(err) {
		u.talk("hint: " + hint)
	}
}

// exit tells err and ends the program with its code.
func (u *ui) exit(err error) {
	os.Exit(u.finish(err))
}

func (u *ui) finish(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		code, err = e.code, e.err
	}
	if err != nil {
		u.tell("error", err)
	}
	return code
}

// lines returns the text of err, each error that was joined on a line of its
// own and no line twice.
func lines(err error) []string {
	var out []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != "" && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}
