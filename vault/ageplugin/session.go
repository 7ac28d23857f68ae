package ageplugin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/keyring/child"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
	"wgkeys/vault/ageplugin/stanza"
)

// A session is one conversation with the program of a plugin.
type session struct {
	Client
	name   string
	state  string // what the program is asked for, in the words of the protocol
	try    string // a command that runs the program alone, for the hint; "": there is none
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

// maxLine is a bound for a line of a plugin, in bytes: the largest is a header of 64 KiB.
const maxLine = 64 << 10

// fileKeySize is the size of an age file key, in bytes.
const fileKeySize = 16

// UnwrapAll makes the plugin called name open files, each given by the stanzas of its
// header, with its identities. For a file that none of them opens the key is nil, and so is
// the error if the plugin gives none. If the conversation fails, what was opened before it
// failed is returned.
func (c Client) UnwrapAll(name string, identities []string, files [][]*age.Stanza) (keys [][]byte, errs []error,
	err error) {
	s := &session{Client: c, name: name, ui: c.clientUI(), keys: make([][]byte, len(files)),
		errs: make([]error, len(files)), absent: make([]error, len(identities))}
	s.heard = s.opens
	err = s.talk("identity-v1", func() error { return s.send(identities, files) })
	for i, key := range s.keys {
		if key == nil && s.errs[i] == nil { // none of the identities opens it
			s.errs[i] = errors.Join(s.absent...)
		}
	}
	return s.keys, s.errs, err
}

// talk is a whole conversation, in which send is the first phase.
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

// ended reports whether an error means that the program has gone, or writes no more.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
}

// notExecutable returns the file of a program in a folder of PATH that is none because it has
// no mode to be executed, as when it was copied or unpacked; "" if there is none.
func notExecutable(program string) string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, program)
		info, err := os.Stat(path)
		if err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 == 0 {
			return path
		}
	}
	return ""
}

func (s *session) fault(err error) error {
	who := Program(s.name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		if path := notExecutable(who); path != "" {
			return fault.New("cannot run the age plugin", who, "nobody may execute "+path, "chmod a+x "+words.ForShell(path))
		}
		return fault.New("no program for the age plugin", who, "it is in no folder of PATH", "install "+who)
	case errors.Is(err, ErrInterrupted):
		return fault.Wrap(err, "gave up waiting for", who, "")
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

// A message is the reason that a plugin gives for a failure.
type message string

func (m message) Error() string { return string(m) }

func messageOf(said *age.Stanza) message {
	return message(fmt.Sprintf("%.500s", bytes.TrimSpace(said.Body)))
}

// start starts the program in a folder that reveals nothing about ours.
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
	// After the pipe is closed its reader and writer stop at once, even if the program, or
	// one that it has started, still has its end.
	s.wait = s.newWait(func() { s.in.Close(); out.Close() })
	return nil
}

// leave is how long a program may take to clean up before it is killed.
const leave = 2 * time.Second

// end lets the program clean up. Its exit status is ignored, because the conversation is
// over.
func (s *session) end() {
	s.in.Close()
	s.cmd.Process.Signal(os.Interrupt)
	defer time.AfterFunc(leave, func() { s.cmd.Process.Kill() }).Stop()
	s.cmd.Wait()
}

// send is the first phase: it tells the plugin all that it has to know.
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
	return w.Flush() // errors of earlier writes come back here
}

// converse is the second phase: the plugin sends commands, and gets an answer to each.
func (s *session) converse() error {
	for {
		said, err := s.read()
		if err != nil {
			return err
		}
		if said.Type == "done" {
			return nil
		}
		s.wait.pause() // the user's time does not count
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

// read tells the user to wait if the plugin takes long.
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

// opens handles the commands that only identity-v1 has.
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

// failed keeps the error of a file for that file, and that of an identity (such as a
// hardware key that is not plugged in) until it is known what the others open. Any other
// error ends the conversation.
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
