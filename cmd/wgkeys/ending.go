package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
)

const (
	endWithin = 3 * time.Second // of the signal, where nothing is to be put back first
	endAgain  = time.Second     // until when a second signal is taken for an echo of the first
)

// lookers are the verbs that have nothing to restore when they are told to end: they change
// nothing or, like receive, write files whole.
var lookers = []string{"check", "plan", "receive", "show", "status"}

// looks reports whether one of them is running.
var looks atomic.Bool

// endable returns a context that ends when the program is told to end. Each verb checks it
// where it may wait, and restores what it has changed. A verb with nothing to restore may
// wait in a system call, where no context reaches: it is ended a little later. A second
// signal ends any verb at once: files are complete or absent at any moment, and the guard
// or the next run undoes what was begun on a host.
func endable(u *ui.UI) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel(fault.Interrupted)
		lingers(u, signals)
	}()
	return ctx
}

// lingers ends the program if the context alone does not.
func lingers(u *ui.UI, signals <-chan os.Signal) {
	first := time.Now()
	late := time.After(endWithin)
	for {
		select {
		case s := <-signals:
			// timeout(1) signals its child and then its process group, and systemd sends
			// SIGHUP after SIGTERM (systemd.kill(5), SendSIGHUP=): the two together count as
			// one.
			if s != syscall.SIGHUP && time.Since(first) > endAgain {
				ssh.EndAll()
				const left = "what was begun may be unfinished; the same command finishes it"
				u.Exit(fault.New("ended at the second signal", "", left, ""))
			}
		case <-late:
			if looks.Load() {
				ssh.EndAll()
				u.Exit(fault.New("interrupted", "", "there was no answer", ""))
			}
		}
	}
}
