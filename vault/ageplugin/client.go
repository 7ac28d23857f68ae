// Package ageplugin is age's plugin client written again, for one reason: one touch for
// many files. The client in package age starts the plugin's program again for every file,
// so a push to fifty hosts would ask for fifty touches of a hardware key. The protocol,
// identity-v1 and recipient-v1 of C2SP's age-plugin.md, can open many files in one
// conversation. In addition, age's client cannot be interrupted and waits for ever for a
// program that says nothing.
//
// It contains no cryptography: the stanzas of a file's header go to the plugin, and the
// file key comes back. A vault file is read and decrypted by age itself, and so is
// everything that is opened without a plugin.
package ageplugin

import (
	"time"

	"filippo.io/age/plugin"
)

// An Asker speaks with the user on the terminal. This package prints nothing itself. It has
// one conversation at a time.
type Asker interface {
	// Tell shows a line: "please touch your key".
	Tell(line string)
	// Ask asks for a value, which is not shown as it is typed if it is secret.
	Ask(prompt string, secret bool) (string, error)
	// Choose asks for one of two answers, or shows the only one if no is "". True means yes.
	Choose(prompt, yes, no string) (bool, error)
	// Ended is closed when the user has ended the run, so that nobody is waited for any
	// longer. Nil: that never happens.
	Ended() <-chan struct{}
}

// A Client speaks with plugins.
type Client struct {
	Asker    Asker         // nil: there is no user to ask
	Patience time.Duration // how long to wait for a silent plugin or user
}

func (c Client) ended() <-chan struct{} {
	if c.Asker == nil {
		return nil
	}
	return c.Asker.Ended()
}

// clientUI adapts the Asker to the type that age wants for its plugins.
func (c Client) clientUI() *plugin.ClientUI {
	a := c.Asker
	if a == nil {
		return &plugin.ClientUI{}
	}
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			a.Tell(Program(name) + ": " + message)
			return nil
		},
		RequestValue: func(name, prompt string, secret bool) (string, error) {
			return a.Ask(Program(name)+": "+prompt, secret)
		},
		Confirm: func(name, prompt, yes, no string) (bool, error) {
			return a.Choose(Program(name)+": "+prompt, yes, no)
		},
		WaitTimer: func(name string) { a.Tell("waiting for " + Program(name)) },
	}
}

// Program is the name of a plugin's program.
func Program(name string) string { return "age-plugin-" + name }
