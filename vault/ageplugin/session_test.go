package ageplugin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"filippo.io/age"

	"wgkeys/vault/ageplugin/stanza"
)

// TestSession: what a plugin may say that none of age's own says.
func TestSession(t *testing.T) {
	ok := &age.Stanza{Type: "file-key", Args: []string{"0"}, Body: make([]byte, fileKeySize)}
	for _, test := range []struct {
		name string
		says []*age.Stanza
		want string
	}{
		{"two keys of a file", []*age.Stanza{ok, ok}, stanza.ErrSyntax.Error()},
		{"a key of no file", []*age.Stanza{{Type: "file-key", Args: []string{"1"}, Body: ok.Body}}, stanza.ErrSyntax.Error()},
		{"a key of file -1", []*age.Stanza{{Type: "file-key", Args: []string{"-1"}, Body: ok.Body}},
			stanza.ErrSyntax.Error()},
		{"a short key", []*age.Stanza{{Type: "file-key", Args: []string{"0"}, Body: ok.Body[1:]}}, stanza.ErrSyntax.Error()},
		{"an error of no file", []*age.Stanza{{Type: "error", Args: []string{"stanza", "7", "0"}}}, stanza.ErrSyntax.Error()},
		{"an error of its own", []*age.Stanza{{Type: "error", Args: []string{"internal"}, Body: []byte("no battery")}},
			"no battery"},
		{"a choice of three", []*age.Stanza{{Type: "confirm", Args: []string{"YQ", "YQ", "YQ"}}}, stanza.ErrSyntax.Error()},
		{"silence", nil, "EOF"},
	} {
		var said bytes.Buffer
		for _, s := range test.says {
			stanza.Write(&said, s)
		}
		s := &session{ui: Client{}.clientUI(), keys: make([][]byte, 1), errs: make([]error, 1), in: discard{},
			out: bufio.NewReader(&said)}
		s.heard = s.opens
		if err := s.converse(); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

type discard struct{ io.Writer }

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// TestSessionAsks: a plugin's questions reach the person, and his answers it.
func TestSessionAsks(t *testing.T) {
	for _, test := range []struct {
		said *age.Stanza
		want string
	}{
		{&age.Stanza{Type: "request-secret", Body: []byte("PIN")}, "-> ok\nMTIz\n"},
		{&age.Stanza{Type: "request-public", Body: []byte("slot")}, "-> ok\nMTIz\n"},
		{&age.Stanza{Type: "confirm", Args: []string{"YQ", "Yg"}, Body: []byte("really")}, "-> ok yes\n\n"},
		{&age.Stanza{Type: "msg", Body: []byte("touch")}, "-> ok\n\n"},
		{&age.Stanza{Type: "grease", Args: []string{"1"}}, "-> unsupported\n\n"},
	} {
		p := &person{answer: "123"}
		s := &session{name: "touch", ui: Client{Asker: p}.clientUI()}
		s.heard = s.opens
		answer, err := s.answer(test.said)
		var out bytes.Buffer
		stanza.Write(&out, answer)
		if err != nil || out.String() != test.want {
			t.Errorf("%s: %q, %v, want %q", test.said.Type, out.String(), err, test.want)
		}
		if said := fmt.Sprint(p.asked, p.lines); test.said.Type != "grease" && !strings.Contains(said, "age-plugin-touch: "+
			string(test.said.Body)) {
			t.Errorf("%s: %s", test.said.Type, said)
		}
		s = &session{name: "touch", ui: Client{}.clientUI()}
		s.heard = s.opens
		if answer, _ := s.answer(test.said); test.said.Type != "grease" && answer.Type != "fail" {
			t.Errorf("%s without anybody: %s", test.said.Type, answer.Type)
		}
	}
}

// A person gives one answer to all questions, and remembers them.
type person struct {
	answer       string
	asked, lines []string
}

func (p *person) Tell(line string) { p.lines = append(p.lines, line) }

func (p *person) Ask(prompt string, secret bool) (string, error) {
	p.asked = append(p.asked, prompt)
	return p.answer, nil
}

func (p *person) Choose(prompt, yes, no string) (bool, error) {
	p.asked = append(p.asked, prompt+" "+yes+" "+no)
	return true, nil
}

func (p *person) Ended() <-chan struct{} { return nil }
