package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
)

const (
	endWithin = 3 * time.Second // of the signal, where nothing is to be put back first
	endAgain  = time.Second     // until when a second signal is an echo of the first
)

// endable returns a context that ends when the program is told to end. Each verb looks at
// it where it may wait, and puts back what it has begun. Who is not heard then is no
// prisoner: a second signal ends the program at once, and one that waits in a system
// call, where no context reaches, ends by itself. Files are complete or not there at any
// moment, and what was begun on a host the guard, or the next run, takes back.
func endable(u *ui.UI) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-told
		cancel()
		lingers(u, told)
	}()
	return ctx
}

// lingers ends the program if the signal alone does not.
func lingers(u *ui.UI, told <-chan os.Signal) {
	first, waits := time.Now(), 0
	look := time.NewTicker(endWithin / 6)
	for {
		select {
		case s := <-told:
			// timeout(1) signals its child and then its process group, and systemd sends SIGHUP
			// after SIGTERM (systemd.kill(5), SendSIGHUP=): both at once mean the first.
			if s != syscall.SIGHUP && time.Since(first) > endAgain {
				const left = "what was begun may be there still; the same command goes on with it"
				u.Exit(fault.New("ended at the second signal", "", left, ""))
			}
		case <-look.C:
			if waits++; !stuck() {
				waits = 0
			}
			if waits >= 6 {
				u.Exit(fault.New("interrupted", "", "and the file that it was at gave no answer", ""))
			}
		}
	}
}

// stuck tells whether the verb itself, which is goroutine 1, waits in a system call that
// opens a file, or reads or writes one (package os waits for most pipes and sockets
// otherwise), or reads tunnel files that have no end.
func stuck() bool {
	buf := make([]byte, 1<<20)
	var stack []byte
	for one := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.HasPrefix(one, []byte("goroutine 1 ")) {
			stack = one
		}
	}
	head, calls, _ := bytes.Cut(stack, []byte("\n"))
	calling := bytes.Contains(head, []byte("[syscall"))
	return bytes.Contains(calls, []byte("\nwgkeys/deploy/tunnel.Parse(")) ||
		calling && slices.ContainsFunc(waiting, func(call string) bool { return bytes.Contains(calls, []byte(call)) })
}

var waiting = []string{
	"syscall.openat(", "unix.openat(", "syscall.read(", "unix.read(", "syscall.write(", "unix.write(",
}
