package ui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// A bar shows on a terminal the progress of long work, and when it may be done.
type bar struct {
	f     *os.File
	what  string
	all   int
	begun time.Time // the work, not the bar
	drawn time.Time
	width int // of what is drawn, in columns
}

// barEvery is the shortest interval between two drawings of a bar.
const barEvery = 100 * time.Millisecond

// set draws the bar again, unless it was drawn a moment ago.
func (b *bar) set(done int) {
	if time.Since(b.drawn) < barEvery {
		return
	}
	columns := 80
	if c, _, err := term.GetSize(int(b.f.Fd())); err == nil && c > 0 {
		columns = c
	}
	// What is in the last column clear cannot remove without a new line.
	text := barText("wgkeys: "+b.what, done, b.all, time.Since(b.begun), columns-1)
	width := uniseg.StringWidth(text)
	io.WriteString(b.f, "\r"+text+strings.Repeat(" ", max(0, min(b.width, columns-1)-width)))
	b.drawn, b.width = time.Now(), width
}

// barText is a bar in so many columns, or without its brackets if those are few: done of all took
// since.
func barText(what string, done, all int, since time.Duration, columns int) string {
	all = max(all, done, 1)
	before := fmt.Sprintf("%s %d / %d ", what, done, all)
	after := fmt.Sprintf("%.0f%%", 100*float64(done)/float64(all))
	if done > 0 {
		left := time.Duration(float64(since) / float64(done) * float64(all-done))
		after += fmt.Sprintf(" %v left", left.Round(time.Second))
	}
	const least = 5
	room := columns - uniseg.StringWidth(before) - len("[] ") - len(after)
	if room < least {
		return cut(before+after, columns)
	}
	full := room * done / all
	shown := strings.Repeat("=", full)
	if 0 < full && full < room {
		shown = shown[1:] + ">"
	}
	return before + "[" + shown + strings.Repeat(" ", room-full) + "] " + after
}

// clear removes the bar from the terminal, also from one without escape sequences; the next
// set draws it again.
func (b *bar) clear() {
	if !b.drawn.IsZero() {
		io.WriteString(b.f, "\r"+strings.Repeat(" ", b.width)+"\r")
		b.drawn, b.width = time.Time{}, 0
	}
}
