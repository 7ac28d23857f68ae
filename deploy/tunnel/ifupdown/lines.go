package ifupdown

import (
	"bytes"
	"iter"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// A line is one as interfaces(5) has them: continued lines are one, without the blanks at
// either end.
type line struct {
	at   foreign.Pos
	text string
}

// lines are those of a file, empty ones and comments too. As in get_line of ifupdown's
// config.c, a comment is none in the middle of a continued line, a backslash at the end
// of a comment continues nothing, and what follows a backslash is appended with its blanks.
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
				whole.WriteByte(' ') // never empty while the line goes on
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

// cut parts a line into its first word and the rest.
func cut(text string) (word, rest string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimSpace(text[i:])
}
