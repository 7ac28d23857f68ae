// Package ui is how the program talks to the person who runs it, and to programs. The
// rules are:
//
//   - Results go to standard output, and nothing else does.
//   - Everything that wgkeys says about its work goes to standard error with
//     the prefix "wgkeys: ". No capital at the beginning, no period at the end.
//   - An error is one line "error:" and at least one line "hint:" where
//     something can be run or done about it.
//   - On a terminal a message is broken between its words. A hint is not, nor is a step or
//     a command within a message: they are to be copied.
//   - A hint is right where the person is: one for a repository that was named with
//     -C begins with "in DIR:".
//   - Questions go to the terminal and nowhere else, and -y is the answer where there
//     is no terminal; passphrases, and what a hardware key wants, are asked for there
//     too. ssh asks by itself, for one host at a time, and has the terminal for that
//     time; see [UI.Yield].
//   - A bar shows how far work is that takes more than two seconds, on a
//     terminal.
//   - Every line is made printable here, once: names, comments and errors come
//     from repositories and hosts that somebody else may have written.
//   - No secret passes through here, but for those that show --secret, export --secret
//     and qr were asked for by the name of their host.
package ui

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/term"

	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// The exit codes.
const (
	ExitDone     = 0 // done, or nothing to do
	ExitFailed   = 1
	ExitUsage    = 2
	ExitSome     = 3 // some hosts failed
	ExitFindings = 4 // there is something to do

	// ExitWaits tells the wgkeys that called over ssh that an apply has to be confirmed. It
	// is no exit code for users.
	ExitWaits = 64
)

// A UI talks to the user who runs the command.
type UI struct {
	Stdout, Stderr io.Writer
	Quiet, Verbose bool
	TellEnd        bool            // see [EndFlag]
	End            <-chan struct{} // closed when the user has ended the run
	Folder         string          // that of -C, if the user is outside of it
	Self           string          // that of --host, if it is not this machine's name
	Colours        bool            // colours on standard output
	Dumb           bool            // the terminal can only append
	Pager          string          // a shell command that shows long texts; "": none

	unwritten atomic.Pointer[error] // the first error of a write to Stdout
	unread    atomic.Bool           // the reader of Stdout has gone

	mu  sync.Mutex // for what goes to Stderr
	bar *bar       // that is on the terminal; nil: none

	drawing atomic.Pointer[drawing] // that is on the terminal; nil: none
}

// An ExitError ends the command with a code of its own. Err may be nil if everything was
// said.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return fmt.Sprint(e.Err) }
func (e *ExitError) Unwrap() error { return e.Err }

// ExitWith ends the command with a code of its own.
func ExitWith(code int, err error) error { return &ExitError{code, err} }

// A Reporter gets messages about the work: it is all that the packages below cmd/wgkeys see
// of a [UI].
type Reporter interface {
	Say(format string, args ...any) // what is being done
	Warn(err error)                 // what the user should look into
}

// Usage returns the error of a command that was called wrongly.
func Usage(what, who, why, hint string) error {
	return &ExitError{ExitUsage, fault.New(what, who, why, hint)}
}

// Printf prints a result.
func (u *UI) Printf(format string, args ...any) {
	Print(u, fmt.Sprintf(format, args...))
}

// Print prints a result that is a text.
func Print(u *UI, text string) {
	_, err := io.WriteString(u.Stdout, Printable(text))
	u.wrote(err)
}

// wrote records that a result could not be written, as on a full disk. The work goes on; if
// the reader of a pipe has gone that is no error.
func (u *UI) wrote(err error) {
	switch {
	case err == nil:
	case nobodyReads(err):
		u.unread.Store(true)
	default:
		u.unwritten.CompareAndSwap(nil, &err)
	}
}

// Results returns a writer for results that come from another program, which is not to fail
// because of them: a write always succeeds, and its error is recorded as that of Printf.
func Results(u *UI) io.Writer { return results{u} }

type results struct{ *UI }

func (r results) Write(p []byte) (int, error) {
	_, err := r.Stdout.Write(p)
	r.wrote(err)
	return len(p), nil
}

// Lost reports whether results go nowhere any longer: work without another end ends then.
func Lost(u *UI) bool { return u.unread.Load() || u.unwritten.Load() != nil }

// JSON prints a result for programs. The error is that of a value that JSON cannot express.
func (u *UI) JSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		u.Printf("%s\n", text)
	}
	return err
}

// TakesSecret refuses to write a secret to standard output unless that is a terminal or a
// pipe. In a file it would be on the disk in the clear, which this program never does. The
// hint is what to run instead.
func (u *UI) TakesSecret(hint string) error {
	if f, ok := u.Stdout.(*os.File); ok {
		info, err := f.Stat()
		if err == nil && (info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 || term.IsTerminal(int(f.Fd()))) {
			return nil
		}
	}
	return fault.New("no secret is written to", "standard output",
		"it is neither a terminal nor a pipe, and the key would stay there",
		hint)
}

// Size is that of a terminal.
type Size struct{ Columns, Lines int }

// TerminalSize returns the size of the terminal that standard output is, if it is one.
func (u *UI) TerminalSize() (size Size, ok bool) {
	f, ok := u.Stdout.(*os.File)
	if !ok {
		return Size{}, false
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	return Size{columns, lines}, err == nil
}

// Secret prints a secret after TakesSecret.
func (u *UI) Secret(text []byte) {
	_, err := u.Stdout.Write(text)
	u.wrote(err)
}

// Event prints something that happened, for programs: one line.
func (u *UI) Event(v any) { u.wrote(json.NewEncoder(&Screen{W: u.Stdout}).Encode(v)) }

// Confirm asks a question on the terminal, whatever standard input and output are. The end
// of the input (Ctrl-D) means no.
func (u *UI) Confirm(question string) (yes bool, err error) {
	tty, err := openTerminal()
	if err != nil {
		return false, Usage("cannot ask", question, "there is no terminal", "-y answers yes")
	}
	defer tty.close()
	fmt.Fprintf(tty.out, "wgkeys: %s [y/N] ", Printable(question))
	answer, err := readLine(tty, false)
	if errors.Is(err, io.EOF) {
		fmt.Fprintln(tty.out)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// A terminal is the one from which the program was started.
type terminal struct{ in, out *os.File }

func (t terminal) close() {
	t.in.Close()
	t.out.Close()
}

// Tell implements [vault.Asker].
func (u *UI) Tell(line string) { u.talk(line) }

// Ask implements [vault.Asker]. A secret is not shown as it is typed.
func (u *UI) Ask(prompt string, secret bool) (string, error) {
	tty, err := openTerminal()
	if err != nil {
		return "", fault.New("cannot ask for", prompt, "there is no terminal", "run this on a terminal")
	}
	defer tty.close()
	fmt.Fprintf(tty.out, "wgkeys: %s: ", Printable(prompt))
	return readLine(tty, secret)
}

// readLine reads a line from the terminal, without showing it if it is secret. Signals end
// a verb when it next checks, for which a question cannot wait. In any case the terminal is
// restored.
func readLine(tty terminal, secret bool) (string, error) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(interrupted)
	if secret {
		show, err := hideTyping(tty.in)
		if err != nil {
			return "", err
		}
		defer fmt.Fprintln(tty.out)
		defer show()
	}
	var answer string
	read := make(chan error, 1)
	go func() {
		var err error
		answer, err = bufio.NewReader(tty.in).ReadString('\n')
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
func (u *UI) Choose(prompt, yes, no string) (bool, error) {
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

// Progress returns a function for the progress of work, which is not called concurrently,
// and one for its end.
func (u *UI) Progress(what string) (step func(done, all int), end func()) {
	f, ok := u.Stderr.(*os.File)
	if !ok || u.Quiet || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	start := time.Now()
	step = func(done, all int) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.bar == nil && time.Since(start) >= 2*time.Second {
			u.bar = newBar(f, what, all)
		}
		if u.bar != nil {
			u.bar.set(done)
		}
	}
	return step, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.bar != nil {
			u.bar.clear()
			u.bar = nil
		}
	}
}

// Yield gives the terminal to another program, which asks the user: nothing is drawn, and no
// message printed, until back is called. Whoever reports something waits that long.
func (u *UI) Yield() (back func()) {
	resume := func() {}
	if d := u.drawing.Load(); d != nil {
		resume = (*d).pause()
	}
	u.mu.Lock()
	if u.bar != nil {
		u.bar.clear()
	}
	return func() {
		u.mu.Unlock()
		resume()
	}
}

// A drawing changes on the terminal by itself, until it is paused.
type drawing interface{ pause() (resume func()) }

// Say prints a message about the work, unless -q is given.
func (u *UI) Say(format string, args ...any) {
	if !u.Quiet {
		u.talk(fmt.Sprintf(format, args...))
	}
}

// talk prints a line about the work. What goes on after a newline in it, which may come from a
// host, is never taken for a line of its own.
func (u *UI) talk(line string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bar != nil {
		u.bar.clear() // it is drawn again below the line
	}
	Aside(u, line)
}

// Aside prints a line about the work while another program has the terminal, see [UI.Yield]. All
// other lines wait for it.
func Aside(u *UI, line string) {
	lines := strings.Split(Printable(line), "\n")
	for i, l := range lines {
		lines[i] = wrapped(prefix, l, columnsOf(u.Stderr))
	}
	io.WriteString(u.Stderr, prefix+strings.Join(lines, "\n"+indent)+"\n")
}

// Relay returns a writer for what wgkeys on a host says about its work, in whole lines.
func Relay(u *UI) io.Writer { return relay{u} }

type relay struct{ *UI }

func (r relay) Write(p []byte) (int, error) {
	columns := columnsOf(r.Stderr)
	if columns == 0 {
		return r.Stderr.Write(p)
	}
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		if text, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(text, "\n") {
			line = prefix + wrapped(prefix, strings.TrimSuffix(text, "\n"), columns) + "\n"
		}
		b.WriteString(line)
	}
	_, err := io.WriteString(r.Stderr, b.String())
	return len(p), err
}

// Warn prints a warning, also with -q.
func (u *UI) Warn(err error) { u.tell("warning", err) }

func (u *UI) tell(kind string, err error) {
	for _, line := range fault.Lines(err) {
		if !strings.HasPrefix(line, " ") { // otherwise it continues the previous line
			line = kind + ": " + line
		}
		u.talk(line)
	}
	hints := fault.Hints(err)
	if len(hints) == 0 && aboutDisk(err) != "" {
		hints = []string{aboutDisk(err)}
	}
	for _, hint := range hints {
		u.talk("hint: " + u.There(hint))
	}
}

// Exit prints err and ends the program with its code.
func (u *UI) Exit(err error) {
	code := u.finish(err)
	if u.TellEnd {
		fmt.Fprintf(u.Stdout, "%s%d\n", EndWords, code)
	}
	os.Exit(code)
}

// EndFlag is the name of the flag with which wgkeys is asked over ssh to say how it ended, in a
// last line on standard output: EndWords, and its exit code.
const (
	EndFlag  = "tell-end"
	EndWords = "wgkeys ends with "
)

// OfFlag names the flags with which wgkeys is told over ssh for which host it is taken, and the
// public keys of that.
const (
	OfFlag    = "of"
	OfKeyFlag = "of-key"
)

// finish tells err and returns the exit code.
func (u *UI) finish(err error) int {
	lost := u.unwritten.Load()
	if err == nil && lost == nil {
		return ExitDone
	}
	code := ExitFailed
	var e *ExitError
	if errors.As(err, &e) {
		code, err = e.Code, e.Err
	}
	if lost != nil {
		code = max(code, ExitFailed)
		err = errors.Join(err, fault.Wrap(fault.Errno(*lost), "not all of the result was written to", "standard output",
			"df -h"))
	}
	if err != nil {
		u.tell("error", err)
	}
	return code
}

// Ended implements [vault.Asker].
func (u *UI) Ended() <-chan struct{} { return u.End }
