package ssh_test

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/ssh"
)

// TestDialogue: what a script says before its greeting is told apart from what the login
// shell's own files say, and becomes the reason if the greeting does not come.
func TestDialogue(t *testing.T) {
	const key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	for script, want := range map[string]string{
		"echo Welcome; echo as deploy; echo on night; echo hello; echo next": "",
		"echo lack wg": `there is no command "wg"`,
		"echo as deploy; echo lack sudo": `cannot become root on host "shale": user "deploy" is not root there, ` +
			`and there is no sudo`,
		"echo as deploy; echo sudo: no >&2; exit 1": `cannot become root on host "shale": user "deploy" is not root ` +
			`there, and sudo says: no`,
		"echo as deploy; exit 3": `cannot become root on host "shale": user "deploy" is not root there, and the ` +
			`connection ended: exit status 3`,
		"echo; echo Closed for " + key: `no shell to work with on host "shale": it said "Closed for (withheld)"`,
		"exit 3":                       `no shell to work with on host "shale": the connection ended: exit status 3`,
		"true":                         `no shell to work with on host "shale": the connection ended`,
		"yes":                          `no shell to work with on host "shale": it said "y"`,
		"echo hello; printf nex":       `lost host "shale": the connection ended`,
		"echo hello; echo next to " + strings.Repeat("x", 100): `lost host "shale": it says too much in one line`,
	} {
		d := ssh.Dial(t.Context(), ssh.Local{}, "shale", script, time.Minute, 64)
		var facts []string
		err := d.Greet(func(line string) bool { return line == "hello" }, func(line string) bool {
			if fact, ok := strings.CutPrefix(line, "on "); ok {
				facts = append(facts, fact)
				return true
			}
			return false
		})
		line := ""
		if err == nil {
			line, err = d.Line()
		}
		end := d.HangUp(err)
		if _, lacks := errors.AsType[ssh.LackError](err); err != nil && !lacks {
			err = d.Explain(d.Cause(err, end, false), "")
		}
		switch {
		case want == "":
			if err != nil || line != "next" || len(facts) != 1 || facts[0] != "night" {
				t.Errorf("%s: got %q, %q, %v", script, line, facts, err)
			}
		case err == nil || err.Error() != want:
			t.Errorf("%s: got %v, want %s", script, err, want)
		}
	}
}

// TestDialogueSecret: a script that may have repeated a secret is not repeated.
func TestDialogueSecret(t *testing.T) {
	const script = "echo hello; read secret; echo got $secret >&2; exit 2"
	d := ssh.Dial(t.Context(), ssh.Local{}, "shale", script, time.Minute, 64)
	err := d.Greet(func(line string) bool { return line == "hello" }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(d.Stdin, "secret\n"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Line()
	end := d.HangUp(err)
	for secrets, want := range map[bool]string{true: "the connection ended (exit status 2)",
		false: "the connection ended: got secret (exit status 2)"} {
		if got := d.Cause(err, end, secrets); got == nil || got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

func TestReadLine(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader("a\n\npart"), 16)
	for _, want := range []struct {
		line string
		err  error
	}{{"a", nil}, {"", nil}, {"", io.ErrUnexpectedEOF}} {
		line, err := ssh.ReadLine(r)
		if string(line) != want.line || !errors.Is(err, want.err) {
			t.Errorf("got %q, %v", line, err)
		}
	}
}
