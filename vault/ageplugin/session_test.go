package ageplugin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"wgkeys/keyring/fault"
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
		{"an error of its own", []*age.Stanza{{Type: "error", Args: []string{"internal"}, Body: []byte("no battery\n")}},
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

// TestProgramFails: whatever is wrong with the program, the error says which it is, why, and
// what to run.
func TestProgramFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	line := plugin.EncodeRecipient("odd", []byte("who"))
	const readAll = "#!/bin/sh\nwhile read l; do case \"$l\" in \"-> done\"*) break;; esac; done\n"
	const alone = "age-plugin-odd --age-plugin=recipient-v1 </dev/null shows what it says by itself"
	for name, c := range map[string]struct{ program, why, hint string }{
		"missing":        {"", "it is in no folder of PATH", "install age-plugin-odd"},
		"no program":     {"\x7fELF\n", "exec format error", alone},
		"dies":           {"#!/bin/sh\nexit 3\n", "it ended in the middle of the conversation", alone},
		"speaks another": {readAll + "echo hello\n", "it does not speak as an age plugin does", alone},
		"wraps nothing":  {readAll + "printf -- '-> done\\n\\n'\n", "it does not speak as an age plugin does", alone},
		"says why": {readAll + "printf -- '-> error internal\\nbm8gY2FyZA\\n'\nread a\nread b\n", "no card",
			"age -r " + line + " </dev/null >/dev/null tries it alone"},
	} {
		path := filepath.Join(dir, Program("odd"))
		os.Remove(path)
		if c.program != "" {
			if err := os.WriteFile(path, []byte(c.program), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Client{Patience: time.Minute}.Recipient(line)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Wrap(make([]byte, fileKeySize))
		if err == nil || !strings.Contains(err.Error(), `"age-plugin-odd": `+c.why) {
			t.Errorf("%s: %v", name, err)
		}
		if hints := fault.Hints(err); len(hints) != 1 || hints[0] != c.hint {
			t.Errorf("%s: hints %q", name, hints)
		}
	}
}

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
