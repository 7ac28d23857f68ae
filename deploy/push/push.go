// Package push installs key files on hosts: only those, and only if they differ.
//
// The host first reports the public key of each file, so a file that agrees is never
// decrypted. What differs is then sent on the same connection's standard input, and nowhere
// else: no argument, environment variable, log or error ever contains a secret. The host
// derives the public key of the file that it has then and reports it back.
//
// Two programs may answer on the host: sh with wg(8), or wgkeys itself if it is installed.
// protocol.go has the protocol.
package push

import (
	"context"
	"errors"

	"wgkeys/deploy/ssh"
)

// A File is a key file as a host should have it: owned by root, mode 0600, or 0640 if it
// was given to another group.
type File struct {
	Path string // absolute, on the host
	Want string // identifies its content: a public key, or a preshared key's fingerprint
	Next string // the next key in a rotation, which is right as well; "": none

	// Secret returns the content, one line of base64 with its newline. It is called only if
	// the host needs it, possibly from several goroutines at once. The result is wiped after
	// use.
	Secret func() ([]byte, error)

	// MayReplace refuses, with a reason, to replace the host's present key, which has this
	// fingerprint and is not the wanted one: it may be newer. nil: any is replaced.
	MayReplace func(has string) error

	// Machine refuses, with a reason, the machine that was reached, as one where another host
	// keeps its key in this file, which has the key with fingerprint has; "": none. It is
	// called if the host says which machine it is. Then no file is installed.
	Machine func(machine, has string) error

	HostOnly bool // only the host has the secret
}

// An Action is what was done with a file, or would be in a dry run.
type Action string

const (
	Unchanged Action = "unchanged"
	Installed Action = "installed" // the host had no such file
	Replaced  Action = "replaced"  // it had another key, or no key, in the file
	Repaired  Action = "repaired"  // the right key, but with another owner or mode
)

// NoKey stands for the fingerprint of a file that was empty, or truncated.
const NoKey = "no key"

// A Result is the outcome for one file.
type Result struct {
	Path   string `json:"path"`
	Action Action `json:"action"`
	Was    string `json:"was,omitempty"` // Replaced: the fingerprint before, or NoKey; Repaired: mode and owner before

	Next     bool `json:"next,omitempty"`      // the file holds the next key of a rotation
	HostOnly bool `json:"host_only,omitempty"` // only the host has the key, so there is nothing to push
}

// Host installs files on one host over one connection. The results are of the files whose
// outcome is certain; the error, if any, names the others.
func Host(ctx context.Context, r ssh.Runner, host string, files []File) ([]Result, error) {
	return over(ctx, r, host, files, (*conn).push)
}

// DryRun returns what [Host] would do. It changes nothing, and calls no Secret.
func DryRun(ctx context.Context, r ssh.Runner, host string, files []File) ([]Result, error) {
	return over(ctx, r, host, files, (*conn).dryRun)
}

// Machine returns what a host says of which machine it is: the same for two hosts for which one
// path is one file. "": it does not say.
func Machine(ctx context.Context, r ssh.Runner, host string) string {
	c := dial(ctx, r, host)
	err := c.hello(nil)
	c.HangUp(err)
	return c.machine
}

// over holds the conversation talk over a new connection.
func over(ctx context.Context, r ssh.Runner, host string, files []File,
	talk func(c *conn, files []File) error) ([]Result, error) {
	if err := checkFiles(host, files); err != nil || len(files) == 0 {
		return nil, err
	}
	c := dial(ctx, r, host)
	err := talk(c, files)
	err = c.explain(err, c.HangUp(err))
	return c.results, errors.Join(append(c.failed, err)...)
}

// push is the whole conversation. Its error is what ended it early.
func (c *conn) push(files []File) error {
	if err := c.survey(files); err != nil {
		return err
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.confirm()
}

// dryRun is the conversation that changes nothing.
func (c *conn) dryRun(files []File) error {
	if err := c.survey(files); err != nil {
		return err
	}
	for _, j := range c.pending {
		c.results = append(c.results, j.Result)
	}
	return nil
}

// survey finds what there is to do.
func (c *conn) survey(files []File) error {
	if err := c.hello(files); err != nil {
		return err
	}
	for _, f := range files {
		if err := c.look(f); err != nil {
			return err
		}
	}
	return nil
}

// A job is a file and what to do with it.
type job struct {
	File
	Result
}
