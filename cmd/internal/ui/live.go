package ui

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// A Live shows on a terminal what several hosts are doing, one line each, below the messages
// about those that are done. If standard error is not a terminal it shows nothing. It is
// safe for concurrent use.
type Live struct {
	u    *UI
	self drawing
	term *os.File // nil: there is none
	all  int

	mu           sync.Mutex
	paused       bool      // another program has the terminal
	resumed      sync.Cond // not paused any more
	rows         []row     // of the hosts under way, in the order in which they were begun
	done, failed int
	drawn        []int // widths of the lines that are on the screen now
	dirty        bool
	end          chan struct{}
	ended        sync.WaitGroup
}

// A row is a host under way.
type row struct{ host, at string }

// redrawEvery looks continuous, and does not fill a slow connection.
const redrawEvery = 100 * time.Millisecond

// Live shows the progress of work on a number of hosts, until [Live.End].
func (u *UI) Live(all int) *Live {
	l := &Live{u: u, all: all, end: make(chan struct{})}
	l.self, l.resumed.L = l, &l.mu
	if f, ok := u.Stderr.(*os.File); ok && !u.Quiet && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		l.term = f
		u.drawing.Store(&l.self)
		l.ended.Go(l.redraw)
	}
	return l
}

// redraw draws what has changed.
func (l *Live) redraw() {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.end:
			return
		case <-tick.C:
			l.mu.Lock()
			if l.dirty && !l.paused {
				l.erase()
				l.draw()
			}
			l.mu.Unlock()
		}
	}
}

// SetTotal corrects the number of hosts.
func (l *Live) SetTotal(all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = all
}

// At records what a host is doing; the first call begins it. It never waits: the host may be
// the one for which another program asks, and that ends only when its output was taken.
func (l *Live) At(host, at string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = true
	if i := slices.IndexFunc(l.rows, func(r row) bool { return r.host == host }); i >= 0 {
		l.rows[i].at = at
		return
	}
	l.rows = append(l.rows, row{host, at})
}

// Done removes the line of a host. What say prints about it stands above the lines of the
// others.
func (l *Live) Done(host string, failed bool, say func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(r row) bool { return r.host == host })
	if l.done++; failed {
		l.failed++
	}
	l.above(say)
}

// Say prints a message above the lines.
func (l *Live) Say(say func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.above(say)
}

// above prints a message once no other program has the terminal.
func (l *Live) above(say func()) {
	for l.paused {
		l.resumed.Wait()
	}
	l.erase()
	say()
	l.draw()
}

// End removes the lines.
func (l *Live) End() {
	close(l.end)
	l.ended.Wait()
	l.u.drawing.CompareAndSwap(&l.self, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

// pause removes the lines. Until resume draws them again nothing is drawn, and messages wait.
func (l *Live) pause() (resume func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	l.paused = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.paused = false
		l.draw()
		l.resumed.Broadcast()
	}
}

// erase goes up to the first line and clears from there (ECMA-48, CPL and ED).
func (l *Live) erase() {
	if len(l.drawn) == 0 {
		return
	}
	columns, _, err := term.GetSize(int(l.term.Fd()))
	if err != nil {
		columns = 0
	}
	fmt.Fprintf(l.term, "\x1b[%dF\x1b[J", rowsNow(l.drawn, columns))
	l.drawn = l.drawn[:0]
}

// rowsNow returns how many rows lines of these widths take now: a terminal that was made
// narrower has wrapped them.
func rowsNow(widths []int, columns int) (rows int) {
	for _, w := range widths {
		rows++
		if columns > 0 && w > columns {
			rows += (w - 1) / columns
		}
	}
	return rows
}

func (l *Live) draw() {
	l.dirty = false
	if l.term == nil || len(l.rows) == 0 {
		return
	}
	columns, lines, err := term.GetSize(int(l.term.Fd()))
	if err != nil || columns < 20 || lines < 4 {
		return
	}
	var b strings.Builder
	for _, line := range l.lines(lines / 2) {
		line = cut(line, columns-1)
		b.WriteString(line + "\n")
		l.drawn = append(l.drawn, uniseg.StringWidth(line))
	}
	io.WriteString(l.term, b.String())
}

// lines returns at most a number of lines: the hosts that were begun first, and the progress
// of all.
func (l *Live) lines(most int) (all []string) {
	width := 0
	shown := l.rows[:min(len(l.rows), max(1, most-1))]
	for _, r := range shown {
		width = max(width, len(r.host))
	}
	for _, r := range shown {
		all = append(all, fmt.Sprintf("  %-*s  %s", width, r.host, Printable(onOneLine.Replace(r.at))))
	}
	state := fmt.Sprintf("  %d of %s done", l.done-l.failed, Plural(l.all, "host"))
	if l.failed > 0 {
		state += fmt.Sprintf(", %d failed", l.failed)
	}
	if more := len(l.rows) - len(shown); more > 0 {
		state += fmt.Sprintf(", %d more under way", more)
	}
	return append(all, state)
}

// cut shortens a line to a number of columns. A host's message may have characters that take
// two columns, or none.
func cut(line string, columns int) string {
	if uniseg.StringWidth(line) <= columns {
		return line
	}
	const dots = "..."
	kept, width := 0, len(dots)
	for rest, state := line, -1; rest != ""; {
		var cluster string
		var wide int
		cluster, rest, wide, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if width += wide; width > columns {
			break
		}
		kept += len(cluster)
	}
	return line[:kept] + dots
}

// A LineWriter passes on whole lines, made printable and without their newline.
type LineWriter struct {
	Line func(string)
	part strings.Builder
}

// longLine is where a line without a newline is cut, in bytes.
const longLine = 64 << 10

func (w *LineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' || w.part.Len() == longLine {
			w.Flush()
		}
		if c != '\n' {
			w.part.WriteByte(c)
		}
	}
	return len(p), nil
}

// Flush passes on the last line, if it has no newline.
func (w *LineWriter) Flush() {
	if w.part.Len() > 0 {
		line := strings.TrimSuffix(w.part.String(), "\r")
		w.part.Reset()
		w.Line(Printable(line))
	}
}

// OfHost prints a line about one of several hosts. It is called by what [Live.Done] is given.
func (l *Live) OfHost(host, line string) {
	begin := host + ": "
	io.WriteString(l.u.Stderr, begin+wrapped(begin, Printable(line), columnsOf(l.u.Stderr))+"\n")
}
