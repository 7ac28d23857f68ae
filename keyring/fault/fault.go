// Package fault is the shape of every error that wgkeys shows a person.
//
// A Fault answers four questions: what went wrong, who or what it is about,
// why, and what to run now. The command prints it as
//
//	wgkeys: error: WHAT "WHO": WHY
//	wgkeys: hint: COMMAND
//
// A Fault never holds a byte of a secret: it names the file and the line, not
// the content.
package fault

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Fault is an error with a subject, a reason and a remedy. The subject is one of Who,
// Host and File, so that code need not parse it from a text.
type Fault struct {
	What string // what failed, in the user's words: "cannot read key file"
	Who  string // the tunnel, key or command it is about
	Host string // the host or peer it is about, by its name
	File string // the file or folder it is about
	Line int    // of File, from 1; 0 for all of it
	Why  string // the reason; "" if Err is the reason
	Hint string // what to do now, a command where there is one; "" if nothing helps
	Err  error  // the cause, for errors.Is; printed after Why
}

// AsRoot is the hint for a command that lacks the rights for what it does. It names no
// command, because a user who only wanted to look must not be given one that changes
// something.
const AsRoot = "run the same command as root, with sudo before it, and by its full path if sudo does not find it"

// Interrupted is the cause of an error when the user has ended the run. It is
// [context.Canceled] with a text for a user.
var Interrupted error = interrupted{}

type interrupted struct{}

func (interrupted) Error() string        { return "interrupted" }
func (interrupted) Is(target error) bool { return target == context.Canceled }

// New returns a Fault without a cause.
func New(what, who, why, hint string) *Fault {
	return &Fault{What: what, Who: who, Why: why, Hint: hint}
}

// NewHost is [New] of a host.
func NewHost(what, host, why, hint string) *Fault {
	return &Fault{What: what, Host: host, Why: why, Hint: hint}
}

// NewFile is [New] of a file or folder.
func NewFile(what, file, why, hint string) *Fault {
	return &Fault{What: what, File: file, Why: why, Hint: hint}
}

// NewLine is [New] of a line of a file.
func NewLine(what, file string, line int, why, hint string) *Fault {
	return &Fault{What: what, File: file, Line: line, Why: why, Hint: hint}
}

// Wrap returns a Fault caused by err, whose text becomes the reason.
func Wrap(err error, what, who, hint string) *Fault {
	return &Fault{What: what, Who: who, Hint: hint, Err: err}
}

// WrapHost is [Wrap] of a host.
func WrapHost(err error, what, host, hint string) *Fault {
	return &Fault{What: what, Host: host, Hint: hint, Err: err}
}

// WrapFile is [Wrap] of a file or folder.
func WrapFile(err error, what, file, hint string) *Fault {
	return &Fault{What: what, File: file, Hint: hint, Err: err}
}

// WrapLine is [Wrap] of a line of a file.
func WrapLine(err error, what, file string, line int, hint string) *Fault {
	return &Fault{What: what, File: file, Line: line, Hint: hint, Err: err}
}

// Subject returns the subject of f as it is shown; a line as "FILE:LINE".
func (f *Fault) Subject() string {
	switch {
	case f.File != "" && f.Line > 0:
		return f.File + ":" + strconv.Itoa(f.Line)
	case f.File != "":
		return f.File
	case f.Host != "":
		return f.Host
	}
	return f.Who
}

func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.What)
	if subject := f.Subject(); subject != "" {
		fmt.Fprintf(&b, " %s", strconv.Quote(subject))
	}
	if f.Why != "" {
		fmt.Fprintf(&b, ": %s", f.Why)
	}
	if f.Err != nil {
		fmt.Fprintf(&b, ": %v", f.Err)
	}
	return b.String()
}

func (f *Fault) Unwrap() error { return f.Err }

// Each calls do for every Fault of err and of all that it wraps, outermost first.
func Each(err error, do func(*Fault)) {
	if f, ok := err.(*Fault); ok {
		do(f)
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if in := e.Unwrap(); in != nil {
			Each(in, do)
		}
	case interface{ Unwrap() []error }:
		for _, in := range e.Unwrap() {
			Each(in, do)
		}
	}
}

// Hints returns the hints of err and of all that it wraps, outermost first,
// each once.
func Hints(err error) []string {
	var hints []string
	seen := map[string]bool{}
	Each(err, func(f *Fault) {
		if f.Hint != "" && !seen[f.Hint] {
			seen[f.Hint] = true
			hints = append(hints, f.Hint)
		}
	})
	return hints
}

// Lines returns the text of err, with one line for each joined error and no line twice.
func Lines(err error) []string {
	var out []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != "" && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// OneLine returns the text of err and its hint, where there is room for one line only.
func OneLine(err error) string {
	text := strings.Join(Lines(err), "; ")
	if hints := Hints(err); len(hints) > 0 {
		text += ": " + strings.Join(hints, "; ")
	}
	return text
}

// Errno returns the operating system's own words for err ("no space left on
// device"), without the operation and the path that the caller names anyway.
func Errno(err error) error {
	for {
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			in := e.Unwrap()
			if in == nil {
				return err
			}
			err = in
		case interface{ Unwrap() []error }: // of several, the first
			err = e.Unwrap()[0]
		default:
			return err
		}
	}
}
