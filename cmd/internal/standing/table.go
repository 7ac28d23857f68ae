// Package standing formats the status of hosts for users and programs: as a table, and as
// metrics for Prometheus. It asks no host; [remote.Survey] does.
package standing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
)

// A column of the table. If the terminal is too narrow, the columns with the highest number
// in goes are left out first.
type column struct {
	name string
	left bool // its words are aligned left; otherwise right
	goes int  // 0: never left out
}

// The columns, by their index in a row.
const (
	atHost = iota
	atTunnel
	atPeers
	atOldest
	atIn
	atOut
	atRate
	atKey
	atDrift
	atAge
	atVersion
)

var columns = []column{
	atHost:    {"HOST", true, 0},
	atTunnel:  {"TUNNEL", true, 0},
	atPeers:   {"PEERS", false, 0},
	atOldest:  {"OLDEST", false, 0},
	atIn:      {"IN", false, 3},
	atOut:     {"OUT", false, 3},
	atRate:    {"RATE", false, 2},
	atKey:     {"KEY", true, 0},
	atDrift:   {"DRIFT", false, 0},
	atAge:     {"AGE", false, 1},
	atVersion: {"WGKEYS", true, 4},
}

// firstToGo is the highest number of a column that may be left out.
const firstToGo = 4

// A Table shows hosts to a user, those with problems first.
type Table struct {
	Hosts   []*remote.HostStatus
	Now     time.Time
	Version string // of this wgkeys
	Width   int    // of the terminal; 0: unlimited
	Peers   bool   // each peer has a line
	Wrong   bool   // only hosts with problems
	Errors  bool   // with the errors of hosts that did not answer
}

// Lines returns the lines of the table.
func (t *Table) Lines() []ui.Line {
	hosts := problemsFirst(t.Hosts)
	if t.Wrong {
		hosts = slices.DeleteFunc(hosts, func(s *remote.HostStatus) bool { return !isProblem(s) })
	}
	if len(hosts) == 0 {
		return nil
	}
	head := make([]cell, len(columns))
	for i, c := range columns {
		head[i] = cell{c.name, ui.Bold}
	}
	rows := [][]cell{head}
	for _, s := range hosts {
		rows = append(rows, t.row(s))
	}
	shape := newShape(rows, t.Width)
	lines := []ui.Line{shape.line(head)}
	for i, s := range hosts {
		lines = append(lines, shape.line(rows[i+1]))
		if t.Peers {
			lines = append(lines, t.peers(s)...)
		}
		lines = append(lines, t.remarks(s)...)
	}
	return lines
}

func isProblem(s *remote.HostStatus) bool { return s.Err != nil || len(s.Findings) > 0 }

// problemsFirst sorts hosts with problems to the front, and keeps the order otherwise.
func problemsFirst(all []*remote.HostStatus) []*remote.HostStatus {
	rank := func(s *remote.HostStatus) int {
		switch {
		case isProblem(s):
			return 0
		case len(s.Notes) > 0:
			return 1
		}
		return 2
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *remote.HostStatus) int { return rank(a) - rank(b) })
	return sorted
}

// remarks returns the lines below a host's row.
func (t *Table) remarks(s *remote.HostStatus) (lines []ui.Line) {
	for _, n := range s.Notes {
		lines = append(lines, t.remark(ui.Span{Text: "  note: "}, n)...)
	}
	findings := s.Findings
	if s.Err != nil && t.Errors {
		findings = append(slices.Clip(findings), fault.OneLine(s.Err))
	}
	for _, f := range findings {
		lines = append(lines, t.remark(ui.Span{Text: "  ! ", Style: ui.Red}, f)...)
	}
	return lines
}

// remark returns the lines of a text that begins with a mark.
func (t *Table) remark(mark ui.Span, text string) (lines []ui.Line) {
	const least = 20 // beside a mark that is nearly as wide as the terminal
	most := 0
	if t.Width > 0 {
		most = max(least, t.Width-len(mark.Text))
	}
	for _, line := range ui.Wrap(text, most) {
		lines = append(lines, ui.Line{mark, {Text: line}})
		mark = ui.Span{Text: strings.Repeat(" ", len(mark.Text))}
	}
	return lines
}

// peers returns the lines about a host's keys and peers.
func (t *Table) peers(s *remote.HostStatus) (lines []ui.Line) {
	about := "key " + s.Key.String()
	if s.Key.IsZero() {
		about = "no key known"
	}
	if !s.Created.IsZero() {
		about += ", " + ui.InWords(t.Now.Sub(s.Created)) + " old"
	}
	if s.Version != "" && s.Version != t.Version {
		about += ", " + s.Version
	}
	if s.About != "" {
		about += " (" + s.About + ")"
	}
	lines = t.remark(ui.Span{Text: "  "}, about)
	width := 0
	for _, p := range s.Peers {
		width = max(width, len(p.Name))
	}
	for _, p := range s.Peers {
		shaken := "no handshake yet"
		if p.Age != nil {
			shaken = "handshake " + ui.InWords(time.Duration(*p.Age)*time.Second) + " ago"
		}
		line := fmt.Sprintf("%s, %s received, %s sent", shaken, ui.InBytes(p.Received), ui.InBytes(p.Sent))
		if p.Endpoint != "" {
			line += ", at " + p.Endpoint + " OUTSIDE"
		}
		lines = append(lines, t.remark(ui.Span{Text: fmt.Sprintf("  %-*s  ", width, p.Name)}, line)...)
	}
	return lines
}

// A shape has the widths of the columns.
type shape struct {
	width []int // 0: the column is left out
	gap   string
}

// newShape returns a shape with all columns and two blanks between them. If that is wider
// than most, there is one blank, and columns are left out until it fits.
func newShape(rows [][]cell, most int) shape {
	s := shape{width: make([]int, len(columns)), gap: "  "}
	for _, row := range rows {
		for i, c := range row {
			s.width[i] = max(s.width[i], uniseg.StringWidth(ui.Printable(c.text)))
		}
	}
	if most == 0 || s.all() <= most {
		return s
	}
	s.gap = " "
	for goes := firstToGo; goes > 0 && s.all() > most; goes-- {
		for i, c := range columns {
			if c.goes == goes {
				s.width[i] = 0
			}
		}
	}
	return s
}

// all returns the width of a row.
func (s shape) all() (all int) {
	for _, w := range s.width {
		if w > 0 {
			all += w + len(s.gap)
		}
	}
	return all - len(s.gap)
}

func (s shape) line(row []cell) (line ui.Line) {
	var blanks string
	for i, c := range row {
		if s.width[i] == 0 {
			continue
		}
		room := strings.Repeat(" ", s.width[i]-uniseg.StringWidth(ui.Printable(c.text)))
		if !columns[i].left {
			blanks += room
		}
		if blanks != "" {
			line = append(line, ui.Span{Text: blanks})
		}
		line = append(line, ui.Span{Text: c.text, Style: c.style})
		if blanks = s.gap; columns[i].left {
			blanks += room
		}
	}
	return line
}
