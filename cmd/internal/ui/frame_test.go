package ui

import (
	"fmt"
	"strings"
	"testing"
)

// A screen is what a terminal makes of what is written to it, as far as a [Frame] goes.
type screen struct {
	t        *testing.T
	size     Size
	rows     []string
	row, col int
}

func newScreen(t *testing.T, size Size) *screen {
	return &screen{t: t, size: size, rows: make([]string, size.Lines)}
}

func (s *screen) write(text string) {
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "ABCDEFGHJKm")
			s.control(text[2:end], text[end])
			text = text[end+1:]
			continue
		case text[0] == '\n':
			s.row, s.col = s.row+1, 0
			if s.row == s.size.Lines {
				s.t.Fatalf("the terminal scrolls before %q", text)
			}
		case text[0] == '\r':
			s.col = 0
		default:
			if s.col == s.size.Columns {
				s.row, s.col = s.row+1, 0
			}
			row := []byte(fmt.Sprintf("%-*s", s.size.Columns, s.rows[s.row]))
			row[s.col] = text[0]
			s.rows[s.row] = string(row)
			s.col++
		}
		text = text[1:]
	}
}

func (s *screen) control(parameter string, which byte) {
	switch which {
	case 'A':
		var n int
		fmt.Sscan(parameter, &n)
		s.row -= n
	case 'H':
		s.row, s.col = 0, 0
	case 'K':
		if s.col == s.size.Columns {
			s.t.Errorf("the last character of row %d is erased", s.row)
		}
		s.rows[s.row] = fmt.Sprintf("%-*s", s.size.Columns, s.rows[s.row])[:s.col]
	case 'J':
		first := s.row
		if parameter == "2" {
			first = 0
		}
		clear(s.rows[first:])
	case 'm':
	default:
		s.t.Errorf("the terminal is told %q", which)
	}
}

func (s *screen) String() string {
	var b strings.Builder
	for _, row := range s.rows {
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// TestFrame: each picture takes the place of the one before, whatever the lengths of its
// lines, and what there is no room for is counted.
func TestFrame(t *testing.T) {
	lines := func(texts ...string) (all []Line) {
		for _, text := range texts {
			all = append(all, Line{{text[:1], Red}, {text[1:], Plain}})
		}
		return all
	}
	size, larger := Size{10, 5}, Size{12, 5}
	s, f := newScreen(t, size), &Frame{ui: &UI{Colours: true}}
	for _, step := range []struct {
		picture []Line
		size    Size
		want    string
	}{
		{lines("first", "second"), size, "first\nsecond"},
		{lines("1st", "2nd", "third"), size, "1st\n2nd\nthird"},
		{lines("exactly-10", "x"), size, "exactly-10\nx"},
		{lines("a\nb\tc"), size, "a b c"},
		{lines("longer-than-ten", "x"), size, "longer-tha\nn-ten\nx"},
		{lines("longer-than-ten", "x", "y"), size, "longer-tha\nn-ten\nx\ny"},
		{lines("small"), size, "small"},
		{lines("longer-than-ten"), larger, "longer-than-\nten"},
		{nil, larger, ""},
		{lines("again"), larger, "again"},
	} {
		if step.size != s.size {
			s = newScreen(t, step.size)
			s.write("what was wrapped\n")
		}
		s.write(f.next(step.picture, step.size))
		if got := s.String(); got != step.want {
			t.Errorf("the screen shows %q, want %q", got, step.want)
		}
	}
	for columns, want := range map[int]string{
		60: "one\ntwo\n... 2 more lines for which there is no room here",
		20: "one\ntwo\n... 2 more lines ...", // which takes one row, too
	} {
		low := Size{columns, 4}
		s = newScreen(t, low)
		s.write((&Frame{ui: &UI{}}).next(lines("one", "two", "three", "four"), low))
		if got := s.String(); got != want {
			t.Errorf("the screen shows %q, want %q", got, want)
		}
	}
}

// TestPaint: no colour where none is wanted, and no line that is not ours.
func TestPaint(t *testing.T) {
	line := []Line{{{"bad\nnews\x1b[2J", Red}, {" rest", Plain}}}
	if got, want := (&UI{}).Paint(line), `bad news\x1b[2J rest`+"\n"; got != want {
		t.Errorf("without colours %q, want %q", got, want)
	}
	if got, want := (&UI{Colours: true}).Paint(line), "\x1b[31m"+`bad news\x1b[2J`+"\x1b[m rest\n"; got != want {
		t.Errorf("with colours %q, want %q", got, want)
	}
}
