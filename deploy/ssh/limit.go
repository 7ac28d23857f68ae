package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ErrSilent is the cause of the error about a host that took too long: it said
// nothing for the limit, nothing but on standard error for twice that, or did not come to
// an end in many times that.
var ErrSilent = errors.New("no answer in time")

// A late is ErrSilent in words. The connection is as good as lost.
type late string

func (l late) Error() string        { return string(l) }
func (l late) Is(target error) bool { return target == ErrSilent || target == ErrUnreachable }

// patienceFactor is how many limits a host may take that goes on saying
// something: a host that says one byte from time to time is not waited for for
// ever.
const patienceFactor = 10

// murmurFactor is how many limits a host may take that says something on standard error
// alone: that is no answer, and whoever is at it gives one, or part of one, before.
const murmurFactor = 2

// A watchdog ends a command with which not a word is exchanged for the limit.
//
// The time in which ssh itself is at work, as at a key exchange, or waits for the
// processor, is not the host's: on a small machine the connections that are made at once
// take turns, and so does what else runs there.
//
// Once a host has said something on standard output, and more is to come on
// standard input, both ends are in a conversation: whose turn it is only the
// caller knows, who then watches himself.
type watchdog struct {
	limit time.Duration // 0: none

	words   atomic.Int64 // counts what was exchanged
	errors  atomic.Int64 // counts what came on standard error
	heard   atomic.Bool  // something came on standard output
	said    atomic.Bool  // standard input is at its end
	waiting atomic.Int32 // how many of our own readers of it are slow
}

// look ends the command by cancel when the host is late, and itself with ctx. pid
// is the process whose questions to a person are waited for.
func (w *watchdog) look(ctx context.Context, cancel context.CancelCauseFunc, pid int) {
	tick := min(w.limit/8, time.Second)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var quiet, mute, spent time.Duration
	ours := processorTime(pid)
	for before, errorsBefore := w.words.Load(), w.errors.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, errorsNow, oursNow := w.words.Load(), w.errors.Load(), processorTime(pid)
		busy := w.waiting.Load() > 0 || w.heard.Load() && !w.said.Load()
		passed := tick - min(max(0, oursNow-ours), tick)
		quiet, mute = quiet+passed, mute+passed
		if busy || now != before {
			quiet, mute = 0, 0
		}
		if errorsNow != errorsBefore {
			quiet = 0
		}
		ours, errorsBefore = oursNow, errorsNow
		if before = now; !busy {
			spent += tick
		}
		why := w.late(quiet, mute, spent)
		switch {
		case why == "":
		case asks(pid):
			quiet, mute, spent = 0, 0, 0
		default:
			cancel(late(why))
			return
		}
	}
}

// late is why a host is, after so long without a word, with some on standard error alone,
// and since the beginning; "": it is not.
func (w *watchdog) late(quiet, mute, spent time.Duration) string {
	switch {
	case quiet >= w.limit:
		return fmt.Sprintf("it has said nothing for %v", w.limit)
	case mute >= murmurFactor*w.limit:
		return fmt.Sprintf("it has said nothing for %v but on standard error", murmurFactor*w.limit)
	case spent >= patienceFactor*w.limit:
		return fmt.Sprintf("it has not come to an end in %v", patienceFactor*w.limit)
	}
	return ""
}

// reader counts what is read of in, standard input, on its way to the host.
func (w *watchdog) reader(in io.Reader) io.Reader { return &wordReader{w, in} }

// writer counts what the host says; out is standard output, or nil, or where it is not heard
// standard error.
func (w *watchdog) writer(out io.Writer, heard bool) io.Writer { return &wordWriter{w, out, heard} }

type wordReader struct {
	w  *watchdog
	in io.Reader
}

func (r *wordReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.w.words.Add(1)
	if err != nil {
		r.w.said.Store(true)
	}
	return n, err
}

type wordWriter struct {
	w     *watchdog
	out   io.Writer
	heard bool
}

func (o *wordWriter) Write(p []byte) (int, error) {
	switch {
	case !o.heard:
		o.w.errors.Add(1)
	case len(p) > 0:
		o.w.words.Add(1)
		o.w.heard.Store(true)
	}
	if o.out == nil {
		return len(p), nil
	}
	// A person who reads a long plan page by page is not a silent host.
	o.w.waiting.Add(1)
	defer o.w.waiting.Add(-1)
	return o.out.Write(p)
}

// asks reports whether ssh is asking a person: for a passphrase, a password, the
// PIN of a hardware key. It opens the terminal for that and closes it after the
// answer (readpass.c), and so does an ssh for a host on the way (ProxyJump),
// which is its child.
func asks(pid int) bool {
	for _, p := range descendants(pid, 4) {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == "/dev/tty" {
				return true
			}
		}
	}
	return false
}

// descendants are pid and its children and theirs, as deep as that.
func descendants(pid, deep int) []int {
	all := []int{pid}
	if deep == 0 {
		return all
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // proc_pid_children(5)
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, descendants(child, deep-1)...)
			}
		}
	}
	return all
}

// processorTime is how long pid, and what it has started, have used a processor or waited
// for one: the first two fields of schedstat (Documentation/scheduler/sched-stats.rst),
// in nanoseconds. A kernel without it tells nothing.
func processorTime(pid int) (sum time.Duration) {
	for _, p := range descendants(pid, 4) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p))
		var used, waited time.Duration
		fmt.Sscan(string(text), &used, &waited)
		sum += used + waited
	}
	return sum
}

// A Lost is the Runner of a host that is not to be tried again.
type Lost struct{ Err error }

// Run implements [Runner].
func (l Lost) Run(context.Context, string, io.Reader, io.Writer) error { return l.Err }
