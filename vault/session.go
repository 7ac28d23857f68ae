package vault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/keyring/fault"
)

// An identity of a plugin is opened by the plugin's own program, which may have
// to ask for a touch of a hardware key. The client in package age starts the
// program anew for every file. The protocol, identity-v1 of C2SP's
// age-plugin.md, lets one conversation open many, and this file speaks it.

// A session is one conversation with the program of a plugin.
type session struct {
	name string
	ui   *plugin.ClientUI
	keys [][]byte // of each file, nil: not opened
	errs []error  // of each file

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// fileKeySize is the size of every file key of age.
const fileKeySize = 16

// unwrapAll has the plugin called name open files, each given by the stanzas of
// its header, with its identities. For a file that none of them opens both its
// key and its error are nil.
func unwrapAll(name string, identities []string, files [][]*age.Stanza, ui *plugin.ClientUI) (keys [][]byte, errs []error, err error) {
	s := &session{name: name, ui: ui, keys: make([][]byte, len(files)), errs: make([]error, len(files))}
	if err := s.start(); err != nil {
		return nil, nil, s.fault(err)
	}
	err = s.send(identities, files)
	if err == nil {
		err = s.converse()
	}
	s.end()
	if err != nil {
		return nil, nil, s.fault(err)
	}
	return s.keys, s.errs, nil
}

func (s *session) fault(err error) error {
	who := program(s.name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fault.New("no program for the age plugin", who, "it is in no folder of PATH", "install "+who)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ended in the middle of the conversation")
	}
	return fault.Wrap(fault.Errno(err), "the age plugin failed:", who, "")
}

// start starts the program in a folder that tells it nothing about ours.
func (s *session) start() (err error) {
	s.cmd = exec.Command(program(s.name), "--age-plugin=identity-v1")
	s.cmd.Dir = os.TempDir()
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = bufio.NewReaderSize(out, maxFile)
	return s.cmd.Start()
}

// end lets the program clean up. How it exits says nothing: it has said all.
func (s *session) end() {
	s.in.Close()
	s.cmd.Process.Signal(os.Interrupt)
	s.cmd.Wait()
}

// send is the first phase: everything that the plugin is to know.
func (s *session) send(identities []string, files [][]*age.Stanza) error {
	w := bufio.NewWriter(s.in)
	for _, id := range identities {
		writeStanza(w, &age.Stanza{Type: "add-identity", Args: []string{id}})
	}
	for i, stanzas := range files {
		for _, r := range stanzas {
			args := append([]string{strconv.Itoa(i), r.Type}, r.Args...)
			writeStanza(w, &age.Stanza{Type: "recipient-stanza", Args: args, Body: r.Body})
		}
	}
	writeStanza(w, &age.Stanza{Type: "done"})
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
		answer, err := s.answer(said)
		if err != nil {
			return err
		}
		if err := writeStanza(s.in, answer); err != nil {
			return err
		}
	}
}

// read tells the person what is going on if the plugin takes its time.
func (s *session) read() (*age.Stanza, error) {
	if s.ui.WaitTimer != nil {
		defer time.AfterFunc(5*time.Second, func() { s.ui.WaitTimer(s.name) }).Stop()
	}
	return readStanza(s.out)
}

func (s *session) answer(said *age.Stanza) (*age.Stanza, error) {
	switch said.Type {
	case "file-key":
		return stanzaOK, s.fileKey(said)
	case "error":
		return stanzaOK, s.failed(said)
	case "msg":
		return s.message(said), nil
	case "request-public", "request-secret":
		return s.request(said), nil
	case "confirm":
		return s.confirm(said)
	}
	return &age.Stanza{Type: "unsupported"}, nil
}

var (
	stanzaOK   = &age.Stanza{Type: "ok"}
	stanzaFail = &age.Stanza{Type: "fail"}
)

func (s *session) fileKey(said *age.Stanza) error {
	if len(said.Args) != 1 || len(said.Body) != fileKeySize {
		return errStanza
	}
	i, err := s.index(said.Args[0])
	if err != nil || s.keys[i] != nil {
		return errStanza
	}
	s.keys[i], s.errs[i] = said.Body, nil
	return nil
}

// failed keeps the error of one file for that file; any other ends the
// conversation.
func (s *session) failed(said *age.Stanza) error {
	told := fmt.Errorf("%.500s", said.Body)
	if len(said.Args) == 3 && said.Args[0] == "stanza" {
		i, err := s.index(said.Args[1])
		if err == nil {
			s.errs[i] = s.fault(told)
		}
		return err
	}
	return told
}

func (s *session) index(arg string) (int, error) {
	i, err := strconv.Atoi(arg)
	if err != nil || i < 0 || i >= len(s.keys) {
		return 0, errStanza
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
		return nil, errStanza
	}
	for i, arg := range said.Args {
		b, err := base64Strict.DecodeString(arg)
		if err != nil {
			return nil, errStanza
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
