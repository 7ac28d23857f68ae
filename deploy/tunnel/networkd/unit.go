package networkd

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"wgkeys/deploy/tunnel/foreign"
)

// A section is a [NAME] with its lines. systemd merges some sections of the same name;
// others, such as peers, are separate.
type section struct {
	at       foreign.Pos
	name     string
	comments []string
	beside   []string // those of them that are about a key and so do not name a peer
	entries  []entry
}

// An entry is a KEY=VALUE line.
type entry struct {
	at         foreign.Pos
	key, value string
}

// A lexer splits a file into sections as systemd's config_parse does
// (src/shared/conf-parser.c). "#" and ";" begin a comment only as the first character of a
// line. A comment within a continued line is skipped, and the line goes on after it.
type lexer struct {
	*foreign.Reader
	sections  []section
	notes     foreign.Comments
	asides    []string    // comments that are about no section
	before    string      // the line before
	continued string      // the beginning of a line that is continued
	at        foreign.Pos // where that line begins
}

func lex(r *foreign.Reader, f foreign.File) []section {
	l := &lexer{Reader: r}
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(f.Text, []byte("\ufeff"))) {
		number++
		text := strings.TrimSpace(string(line))
		l.line(foreign.Pos{File: f.Name, Line: number}, text)
		l.before = text
	}
	if l.continued != "" {
		l.whole(l.at, l.continued)
	}
	l.beside(append(l.notes.Take(), l.asides...))
	return l.sections
}

func (l *lexer) line(at foreign.Pos, line string) {
	if line == "" && l.continued == "" {
		l.beside(l.notes.Blank())
		return
	}
	if line != "" && (line[0] == '#' || line[0] == ';') {
		l.asides = append(l.asides, l.notes.Add(line, len(l.sections) > 0 && l.before != "", "WireGuardPeer", "WireGuard")...)
		return
	}
	l.notes.Close()
	if l.continued == "" {
		l.at = at
	}
	backslashes := len(line) - len(strings.TrimRight(line, `\`))
	if backslashes%2 == 1 {
		l.continued += strings.TrimSuffix(line, `\`) + " "
		return
	}
	line, l.continued = l.continued+line, ""
	l.whole(l.at, line)
}

// whole reads a line after its continuations were joined.
func (l *lexer) whole(at foreign.Pos, line string) {
	line = strings.TrimSpace(line)
	switch {
	case line == "":
	case !utf8.ValidString(line):
		l.Wrong(at, "", "the line is not text (UTF-8): is the file encrypted?")
	case line[0] == '[':
		l.header(at, line)
	default:
		key, value, ok := strings.Cut(line, "=")
		e := entry{at, strings.TrimSpace(key), strings.TrimSpace(value)}
		switch n := len(l.sections); {
		case !ok:
			l.Wrong(at, "", "%s is neither a [section] nor KEY=VALUE", foreign.Shown(line))
		case n == 0:
			l.Wrong(at, "", "%s stands before the first [section]", foreign.Shown(e.key))
		default:
			s := &l.sections[n-1]
			if comments := l.notes.Take(); len(s.entries) > 0 {
				l.beside(comments)
			} else {
				s.comments = append(s.comments, comments...)
			}
			s.entries = append(s.entries, e)
		}
	}
}

func (l *lexer) header(at foreign.Pos, line string) {
	name, closed := strings.CutSuffix(line[1:], "]")
	if !closed || name == "" {
		l.Wrong(at, "", "%s is no [section]", foreign.Shown(line))
		return
	}
	l.sections = append(l.sections, section{at: at, name: name, comments: l.notes.Take()})
}

// beside adds comments to the last section that do not name it.
func (l *lexer) beside(comments []string) {
	if n := len(l.sections); n > 0 {
		s := &l.sections[n-1]
		s.comments, s.beside = append(s.comments, comments...), append(s.beside, comments...)
	}
}

// truth reads a boolean as systemd's parse_boolean does (src/basic/parse-util.c).
func truth(s string) (yes, ok bool) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}
