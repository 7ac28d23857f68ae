package vault

import (
	"filippo.io/age/plugin"

	"wgkeys/keyring/fault"
)

// An Asker speaks with the person who runs the program, on the terminal. This
// package prints nothing itself. It has one conversation at a time.
type Asker interface {
	// Tell shows a line: "please touch your key".
	Tell(line string)
	// Ask asks for a value, which is not shown as it is typed if it is secret.
	Ask(prompt string, secret bool) (string, error)
	// Choose asks for one of two answers, or shows the only one if no is "".
	Choose(prompt, yes, no string) (bool, error)
	// Ended is closed when the person has ended the run: nobody is waited for any
	// more. Nil: that never happens.
	Ended() <-chan struct{}
}

func ended(a Asker) <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.Ended()
}

// askPassphrase asks for the passphrase of the file at path.
func askPassphrase(a Asker, path string) (string, error) {
	if a == nil {
		return "", fault.New("cannot ask for the passphrase of", path, "there is nobody to ask", "")
	}
	return a.Ask("passphrase of "+path, true)
}

// clientUI puts an Asker into the form that age wants for its plugins.
func clientUI(a Asker) *plugin.ClientUI {
	if a == nil {
		return &plugin.ClientUI{}
	}
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			a.Tell(program(name) + ": " + message)
			return nil
		},
		RequestValue: func(name, prompt string, secret bool) (string, error) {
			return a.Ask(program(name)+": "+prompt, secret)
		},
		Confirm: func(name, prompt, yes, no string) (bool, error) {
			return a.Choose(program(name)+": "+prompt, yes, no)
		},
		WaitTimer: func(name string) { a.Tell("waiting for " + program(name)) },
	}
}

// program is what a plugin's program is called.
func program(name string) string { return "age-plugin-" + name }
