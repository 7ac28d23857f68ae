package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

func turnCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
			Name:   "turn",
			Usage:  "take a host's part in a rotation",
			Hidden: true,
		}, func(e *env) error {
			// A controller that is gone is no reason to leave off half way (SIGPIPE).
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			p := newPulse(e.ui.Stdout, pulseEvery)
			defer p.end()
			return participant.Serve(e.ctx, os.Stdin, p)
		}
}

// testOnlyStep stands around each step of the controller of a rotation, for tests
// that hit it there.
var testOnlyStep = func(_ string, do func() error) error { return do() }

// party is a host of the tunnel that takes part in a rotation.
func (e *env) party(t *tunnel.Tunnel, host string) (rotate.Party, error) {
	files, err := t.KeyFiles(host)
	if err != nil {
		return rotate.Party{}, err
	}
	ask := func(ctx context.Context, q rotate.Request) (a rotate.Answer, err error) {
		err = testOnlyStep(q.Do+" "+host, func() error {
			a, err = e.ask(ctx, t, host, q)
			return err
		})
		return a, err
	}
	return rotate.Party{Host: host, KeyFile: files[t.Name+".key"], Ask: ask, Upgrade: install(t, host)}, nil
}

// ask has the wgkeys of a host answer one request: this very program where the
// host is this machine and we are root.
func (e *env) ask(ctx context.Context, t *tunnel.Tunnel, host string, q rotate.Request) (a rotate.Answer, err error) {
	question, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	var said bytes.Buffer
	if e.isHere(t, host) && os.Geteuid() == 0 {
		err = participant.Serve(ctx, bytes.NewReader(question), &said)
	} else {
		err = e.runTurn(ctx, t, host, question, &said)
	}
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(said.Bytes(), &a); err != nil {
		return a, otherVersion(t, host, "what it answers is not understood here")
	}
	return a, nil
}

func (e *env) runTurn(ctx context.Context, t *tunnel.Tunnel, host string, question []byte, said io.Writer) error {
	r := e.runner(t, host)
	if c, ok := r.(*ssh.Client); ok {
		c.Args = []string{"-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=5"}
	}
	err := r.Run(ctx, asRoot+" turn", bytes.NewReader(question), &bounded{w: said, left: maxAnswer})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch {
	case exit.Code == 127:
		return fault.New("cannot run wgkeys on host", host, "it is not installed there", install(t, host))
	case exit.Code == ui.ExitUsage && strings.Contains(exit.Stderr, "no such command"):
		return otherVersion(t, host, "it is older, and cannot tell how its tunnel stands")
	}
	return fault.Wrap(err, "wgkeys failed on host", host, "")
}

// maxAnswer is more than a host with 100,000 peers says.
const maxAnswer = 64 << 20

// A bounded writer fails when too much is written.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the host says too much")
	}
	return b.w.Write(p)
}
