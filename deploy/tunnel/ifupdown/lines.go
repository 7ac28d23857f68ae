package ifupdown

import (
	"bytes"
	"iter"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// A line is a logical line of interfaces(5): physical lines that end in a backslash are
// joined, and blanks at both ends are removed.
type line struct {
	at   foreign.Pos
	text string
}

// lines yields the lines of a file, with empty ones and comments. As in get_line of
// ifupdown's config.c, "#" begins no comment within a continued line, a backslash at the
// end of a comment continues nothing, and what follows a backslash keeps its leading
// blanks.
func lines(f foreign.File) iter.Seq[line] {
	return func(yield func(line) bool) {
		number := 0
		var whole strings.Builder
		var at foreign.Pos
		for raw := range bytes.Lines(f.Text) {
			number++
			text := strings.TrimSuffix(string(raw), "\n")
			if whole.Len() == 0 {
				at = foreign.Pos{File: f.Name, Line: number}
				text = strings.TrimLeft(text, " \t\r")
			}
			comment := whole.Len() == 0 && strings.HasPrefix(text, "#")
			if before, more := strings.CutSuffix(text, `\`); more && !comment {
				whole.WriteString(before)
				whole.WriteByte(' ') // so that it is not empty while the line goes on
				continue
			}
			whole.WriteString(text)
			l := line{at, strings.TrimSpace(whole.String())}
			whole.Reset()
			if !yield(l) {
				return
			}
		}
		if whole.Len() > 0 {
			yield(line{at, strings.TrimSpace(whole.String())})
		}
	}
}

// cut splits a line into its first word and the rest.
func cut(text string) (word, rest string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimSpace(text[i:])
}
