package ui

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/term"
)

// A bar shows on a terminal the progress of long work, and when it may be done.
type bar struct {
	pb    *pb.ProgressBar
	f     *os.File
	drawn time.Time
}

// barEvery is the shortest interval between two drawings of a bar.
const barEvery = 100 * time.Millisecond

const barTemplate pb.ProgressBarTemplate = `{{string . "what"}} {{counters .}} {{bar . "[" "=" ">" " " "]"}} {{percent .}} {{rtime . "%s left" "" ""}}`

func newBar(f *os.File, what string, all int) *bar {
	p := pb.New(all).SetWriter(f).SetTemplate(barTemplate).Set("what", "wgkeys: "+what)
	p.Set(pb.Static, true).Set(pb.Terminal, true) // we draw it ourselves, within the terminal's width
	return &bar{pb: p.Start(), f: f}
}

// set draws the bar again, unless it was drawn a moment ago.
func (b *bar) set(done int) {
	b.pb.SetCurrent(int64(done))
	if time.Since(b.drawn) >= barEvery {
		if columns, _, err := term.GetSize(int(b.f.Fd())); err == nil {
			b.pb.SetWidth(columns - 1) // what is in the last column clear cannot remove without a new line
		}
		b.pb.Write()
		b.drawn = time.Now()
	}
}

// clear removes the bar from the terminal, also from one without escape sequences; the next
// set draws it again.
func (b *bar) clear() {
	if !b.drawn.IsZero() {
		io.WriteString(b.f, "\r"+strings.Repeat(" ", max(0, b.pb.Width()))+"\r")
		b.drawn = time.Time{}
	}
}
