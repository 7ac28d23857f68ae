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

// ErrSilent is the cause of the error about a host that took too long: it said nothing for
// the limit, nothing except on standard error for twice the limit or more than 16 MiB of it,
// or the command did not end within ten times the limit.
var ErrSilent = errors.New("no answer in time")

// A late is ErrSilent with the details. The connection counts as lost.
type late string

func (l late) Error() string        { return string(l) }
func (l late) Is(target error) bool { return target == ErrSilent || target == ErrUnreachable }

func quietFor(limit time.Duration) late {
	return late(fmt.Sprintf("it has said nothing for %v", limit))
}

func endlessFor(limit time.Duration) late {
	return late(fmt.Sprintf("it has not come to an end in %v", patienceFactor*limit))
}

// A flood is ErrSilent for a host that more time would not help.
type flood struct{}

func (flood) Error() string {
	return fmt.Sprintf("it has written more than %d MiB to standard error", maxErrors>>20)
}
func (flood) Is(target error) bool { return late("").Is(target) }

// patienceFactor is how many limits a command may take in all: a host that sends a byte from
// time to time is not waited for indefinitely.
const patienceFactor = 10

// murmurFactor is how many limits a host may take that writes to standard error only: that
// is no answer, and a working host gives at least a part of one before.
const murmurFactor = 2

// maxErrors is a bound for what a host may write to standard error, in bytes: of one that writes
// without a pause, little time counts, since ssh is at work.
const maxErrors = 16 << 20

// A watchdog ends a command if nothing is exchanged with the host for the limit.
//
// The time that ssh itself uses or waits for a processor, in a key exchange for instance,
// does not count: on a small machine many connections and other programs share the
// processor.
//
// Once the host of a [Session] has written to standard output, and standard input is not at
// its end, only the caller knows who has to speak next: so the caller has its own limits (see
// [Patience]). Elsewhere it is the host, which may have stopped reading.
type watchdog struct {
	limit time.Duration // 0: none
	talks bool          // it is a session

	words   atomic.Int64 // reads and writes that were exchanged
	errors  atomic.Int64 // bytes of standard error
	heard   atomic.Bool  // something came on standard output
	said    atomic.Bool  // standard input is at its end
	waiting atomic.Int32 // writes to a reader of our own, which may be slow
}

// look calls cancel when the host is late, and returns when ctx ends. While the process pid
// asks the user something, nothing is late.
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
		busy := w.waiting.Load() > 0 || w.talks && w.heard.Load() && !w.said.Load()
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
		if errorsNow > maxErrors {
			cancel(flood{})
			return
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

// late returns why a host is late; "" if it is not. Nothing has come from it for quiet,
// nothing except on standard error for mute, and the command has run for spent.
func (w *watchdog) late(quiet, mute, spent time.Duration) string {
	switch {
	case quiet >= w.limit:
		return string(quietFor(w.limit))
	case mute >= murmurFactor*w.limit:
		return fmt.Sprintf("it has said nothing for %v but on standard error", murmurFactor*w.limit)
	case spent >= patienceFactor*w.limit:
		return string(endlessFor(w.limit))
	}
	return ""
}

// reader counts reads of in, the standard input for the host.
func (w *watchdog) reader(in io.Reader) io.Reader { return &wordReader{w, in} }

// output counts writes to standard output, and errorOutput those to standard error.
func (w *watchdog) output(out io.Writer) io.Writer      { return &wordWriter{w, out, true} }
func (w *watchdog) errorOutput(out io.Writer) io.Writer { return &wordWriter{w, out, false} }

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
	heard bool // it is standard output
}

func (o *wordWriter) Write(p []byte) (int, error) {
	switch {
	case !o.heard:
		o.w.errors.Add(int64(len(p)))
		return o.out.Write(p) // which calls wait where it may wait
	case len(p) > 0:
		o.w.words.Add(1)
		o.w.heard.Store(true)
	}
	if o.out == nil {
		return len(p), nil
	}
	defer o.w.wait()()
	return o.out.Write(p)
}

// wait is called before a write that the user may delay: whoever reads a long plan page by page
// is not a silent host.
func (w *watchdog) wait() (end func()) {
	w.waiting.Add(1)
	return func() { w.waiting.Add(-1) }
}

// asks reports whether ssh is asking the user for something: a passphrase, a password, the
// PIN of a hardware key. For that it opens the terminal, and closes it after the answer
// (readpass.c). So does the ssh for a jump host (ProxyJump), which is a child of it.
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

// descendants returns pid, its children, their children, and so on, down to a depth.
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

// processorTime is how long pid and its descendants have used a processor or waited for one:
// the first two fields of schedstat (Documentation/scheduler/sched-stats.rst), in
// nanoseconds. It is 0 if the kernel does not have schedstat.
func processorTime(pid int) (sum time.Duration) {
	for _, p := range descendants(pid, 4) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p))
		var used, waited time.Duration
		fmt.Sscan(string(text), &used, &waited)
		sum += used + waited
	}
	return sum
}

// limitOf is the limit of a Runner of this package; 0: none.
func limitOf(r Runner) time.Duration {
	switch r := r.(type) {
	case *Client:
		return r.Limit
	case Local:
		return r.Limit
	}
	return 0
}

// A Lost is the Runner of a host that is not tried again: it returns Err.
type Lost struct{ Err error }

// Run implements [Runner].
func (l Lost) Run(context.Context, string, io.Reader, io.Writer) error { return l.Err }
