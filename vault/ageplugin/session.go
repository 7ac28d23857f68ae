package ageplugin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/keyring/child"
	"wgkeys/keyring/fault"
	"wgkeys/vault/ageplugin/stanza"
)

// A session is one conversation with the program of a plugin.
type session struct {
	Client
	name   string
	state  string // of the protocol: what the program is asked for
	try    string // a command that asks it for the same by itself; "": there is none
	ui     *plugin.ClientUI
	heard  func(*age.Stanza) (answer *age.Stanza, err error)
	keys   [][]byte // of each file, nil: not opened
	errs   []error  // of each file
	absent []error  // of each identity

	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	wait *wait
}

// maxLine is more than a line of a plugin has: a header of 64 KiB is the largest.
const maxLine = 64 << 10

// fileKeySize is the size of every file key of age.
const fileKeySize = 16

// UnwrapAll has the plugin called name open files, each given by the stanzas of
// its header, with its identities. For a file that none of them opens its key is
// nil, and its error too if the plugin has no word to say about that. What was opened
// before the conversation failed is open.
func (c Client) UnwrapAll(name string, identities []string, files [][]*age.Stanza) (keys [][]byte, errs []error,
	err error) {
	s := &session{Client: c, name: name, ui: c.clientUI(), keys: make([][]byte, len(files)),
		errs: make([]error, len(files)), absent: make([]error, len(identities))}
	s.heard = s.opens
	err = s.talk("identity-v1", func() error { return s.send(identities, files) })
	for i, key := range s.keys {
		if key == nil && s.errs[i] == nil { // none of the identities that are there opens it
			s.errs[i] = errors.Join(s.absent...)
		}
	}
	return s.keys, s.errs, err
}

// talk is a whole conversation, which begins with what send says.
func (s *session) talk(state string, send func() error) error {
	s.state = state
	if err := s.start(state); err != nil {
		return s.fault(err)
	}
	err := send()
	if err == nil {
		err = s.converse()
	}
	if why := s.wait.over(); why != nil {
		err = why
	}
	s.end()
	if ended(err) && child.Interrupted(s.cmd.ProcessState, s.ended()) {
		err = ErrInterrupted
	}
	if err != nil {
		return s.fault(err)
	}
	return nil
}

// ended tells of an error whether the program is gone, or speaks no more.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
}

func (s *session) fault(err error) error {
	who := Program(s.name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fault.New("no program for the age plugin", who, "it is in no folder of PATH", "install "+who)
	case errors.Is(err, ErrInterrupted):
		return fault.Wrap(err, "nobody waits any more for", who, "")
	case errors.Is(err, ErrSilent):
		return fault.Wrap(err, "the age plugin failed:", who,
			"plug in the key that it waits for, or name another identity with -i FILE")
	case ended(err):
		err = errors.New("it ended in the middle of the conversation")
	case errors.As(err, new(message)):
		return fault.Wrap(err, "the age plugin failed:", who, s.try)
	}
	return fault.Wrap(fault.Errno(err), "the age plugin failed:", who, who+" --age-plugin="+s.state+
		" </dev/null shows what it says by itself")
}

// A message is what a plugin says of why it fails.
type message string

func (m message) Error() string { return string(m) }

func messageOf(said *age.Stanza) message {
	return message(fmt.Sprintf("%.500s", bytes.TrimSpace(said.Body)))
}

// start starts the program in a folder that tells it nothing about ours.
func (s *session) start(state string) (err error) {
	s.cmd = exec.Command(Program(s.name), "--age-plugin="+state)
	s.cmd.Dir = os.TempDir()
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = bufio.NewReaderSize(out, maxLine)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	// Who reads or writes at a pipe that is closed stops at once, whatever the
	// program does, or those that it has started.
	s.wait = s.newWait(func() { s.in.Close(); out.Close() })
	return nil
}

// leave is how long a program may take to clean up.
const leave = 2 * time.Second

// end lets the program clean up. How it exits says nothing: it has said all.
func (s *session) end() {
	s.in.Close()
	s.cmd.Process.Signal(os.Interrupt)
	defer time.AfterFunc(leave, func() { s.cmd.Process.Kill() }).Stop()
	s.cmd.Wait()
}

// send is the first phase: everything that the plugin is to know.
func (s *session) send(identities []string, files [][]*age.Stanza) error {
	w := bufio.NewWriter(s.in)
	for _, id := range identities {
		stanza.Write(w, &age.Stanza{Type: "add-identity", Args: []string{id}})
	}
	for i, stanzas := range files {
		for _, r := range stanzas {
			args := append([]string{strconv.Itoa(i), r.Type}, r.Args...)
			stanza.Write(w, &age.Stanza{Type: "recipient-stanza", Args: args, Body: r.Body})
		}
	}
	stanza.Write(w, &age.Stanza{Type: "done"})
	return w.Flush() // and tells any error before
}

// converse is the second phase: the plugin speaks, and hears an answer.
func (s *session) converse() error {
	for {
		said, err := s.read()
		if err != nil {
			return err
		}
		if said.Type == "done" {
			return nil
		}
		s.wait.pause() // a person may take his time
		answer, err := s.answer(said)
		if err != nil {
			return err
		}
		s.wait.goOn()
		if err := stanza.Write(s.in, answer); err != nil {
			return err
		}
	}
}

// read tells the person what is going on if the plugin takes its time.
func (s *session) read() (*age.Stanza, error) {
	if s.ui.WaitTimer != nil {
		defer time.AfterFunc(5*time.Second, func() { s.ui.WaitTimer(s.name) }).Stop()
	}
	return stanza.Read(s.out)
}

func (s *session) answer(said *age.Stanza) (*age.Stanza, error) {
	switch said.Type {
	case "msg":
		return s.message(said), nil
	case "request-public", "request-secret":
		return s.request(said), nil
	case "confirm":
		return s.confirm(said)
	}
	return s.heard(said)
}

// opens hears what only identity-v1 has.
func (s *session) opens(said *age.Stanza) (*age.Stanza, error) {
	switch said.Type {
	case "file-key":
		return stanzaOK, s.fileKey(said)
	case "error":
		return stanzaOK, s.failed(said)
	}
	return stanzaUnsupported, nil
}

var (
	stanzaOK   = &age.Stanza{Type: "ok"}
	stanzaFail = &age.Stanza{Type: "fail"}

	stanzaUnsupported = &age.Stanza{Type: "unsupported"}
)

func (s *session) fileKey(said *age.Stanza) error {
	if len(said.Args) != 1 || len(said.Body) != fileKeySize {
		return stanza.ErrSyntax
	}
	i, err := index(said.Args[0], len(s.keys))
	if err != nil || s.keys[i] != nil {
		return stanza.ErrSyntax
	}
	s.keys[i], s.errs[i] = said.Body, nil
	return nil
}

// failed keeps the error of one file for that file, and that of one identity, as of a
// hardware key that is not plugged in, until it is known what the others open. Any
// other ends the conversation.
func (s *session) failed(said *age.Stanza) error {
	message := messageOf(said)
	switch {
	case len(said.Args) == 3 && said.Args[0] == "stanza":
		i, err := index(said.Args[1], len(s.errs))
		if err == nil {
			s.errs[i] = s.fault(message)
		}
		return err
	case len(said.Args) == 2 && said.Args[0] == "identity":
		i, err := index(said.Args[1], len(s.absent))
		if err == nil {
			s.absent[i] = s.fault(message)
		}
		return err
	}
	return message
}

func index(arg string, n int) (int, error) {
	i, err := strconv.Atoi(arg)
	if err != nil || i < 0 || i >= n {
		return 0, stanza.ErrSyntax
	}
	return i, nil
}

func (s *session) message(said *age.Stanza) *age.Stanza {
	if s.ui.DisplayMessage == nil || s.ui.DisplayMessage(s.name, string(said.Body)) != nil {
		return stanzaFail
	}
	return stanzaOK
}

func (s *session) request(said *age.Stanza) *age.Stanza {
	if s.ui.RequestValue == nil {
		return stanzaFail
	}
	value, err := s.ui.RequestValue(s.name, string(said.Body), said.Type == "request-secret")
	if err != nil {
		return stanzaFail
	}
	return &age.Stanza{Type: "ok", Body: []byte(value)}
}

func (s *session) confirm(said *age.Stanza) (*age.Stanza, error) {
	labels := []string{"", ""}
	if len(said.Args) < 1 || len(said.Args) > len(labels) {
		return nil, stanza.ErrSyntax
	}
	for i, arg := range said.Args {
		b, err := stanza.Base64.DecodeString(arg)
		if err != nil {
			return nil, stanza.ErrSyntax
		}
		labels[i] = string(b)
	}
	if s.ui.Confirm == nil {
		return stanzaFail, nil
	}
	yes, err := s.ui.Confirm(s.name, string(said.Body), labels[0], labels[1])
	if err != nil {
		return stanzaFail, nil
	}
	answer := map[bool]string{true: "yes", false: "no"}[yes]
	return &age.Stanza{Type: "ok", Args: []string{answer}}, nil
}
