package openwrt

import (
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// A section is a UCI section: "config TYPE NAME" with its options.
type section struct {
	at       foreign.Pos
	kind     string
	name     string // "": none
	options  map[string]*option
	order    []*option
	comments []string
	beside   []string // those of them that are about an option and so do not name a peer
}

// An option has one value, or several if it is a list.
type option struct {
	at     foreign.Pos
	key    string
	values []string
}

// words splits the values as a shell script does with the result of config_get (OpenWrt's
// functions.sh), which does not distinguish a list from an option with blanks.
func (o *option) words() (w []string) {
	if o == nil {
		return nil
	}
	for _, v := range o.values {
		w = append(w, strings.Fields(v)...)
	}
	return w
}

// text returns the values as one text, as config_get does.
func (o *option) text() string { return strings.Join(o.values, " ") }

// text returns the value of an option, or "" if there is none.
func (s *section) text(key string) string {
	if o := s.options[key]; o != nil {
		return o.text()
	}
	return ""
}

// on reports whether an option is switched on (config_get_bool of functions.sh).
func (s *section) on(key string) bool {
	switch s.text(key) {
	case "1", "on", "true", "yes", "enabled":
		return true
	}
	return false
}

// off reports whether an option is switched off, which one with another value is not.
func (s *section) off(key string) bool {
	switch s.text(key) {
	case "0", "off", "false", "no", "disabled":
		return true
	}
	return false
}

// A statement is a line of UCI, split into words.
type statement struct {
	at    foreign.Pos
	words []string
}

// A scanner splits UCI into words as libuci's file.c does: backslashes escape outside of
// quotes and in double quotes, but not in single quotes; quotes may span lines; "#" begins
// a comment where a word could begin; ";" ends a statement.
type scanner struct {
	*foreign.Reader
	file string
	text string
	at   int
	line int

	statement statement
	notes     foreign.Comments
	here      bool // the current line is not blank
	before    bool // the line before was not

	handle func(statement, []string) // gets each statement with the comments before it
	after  func([]string)            // gets the comments after the last line of a section
}

func (s *scanner) run() {
	s.line = 1
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case '\n':
			s.newline()
		case ' ', '\t', '\r':
			s.at++
		case ';':
			s.end()
			s.at++
		case '#':
			s.comment()
		default:
			if !s.word() {
				return
			}
		}
	}
	s.end()
	s.blank()
}

func (s *scanner) newline() {
	s.end()
	if !s.here {
		s.blank()
	}
	s.before, s.here = s.here, false
	s.line++
	s.at++
}

// blank decides at a blank line, or at the end, where the comments before it belong.
func (s *scanner) blank() {
	if before := s.notes.Blank(); len(before) > 0 {
		s.after(before)
	}
}

// end passes the statement to handle, with the comments before it.
func (s *scanner) end() {
	if len(s.statement.words) == 0 {
		return
	}
	s.handle(s.statement, s.notes.Take())
	s.statement = statement{}
}

func (s *scanner) comment() {
	rest := s.text[s.at:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	s.here = true
	if len(s.statement.words) == 0 {
		s.notes.Add(rest, s.before)
	} else if text, ok := foreign.Comment(rest); ok { // about the statement
		s.notes.Pending = append(s.notes.Pending, text)
	}
	s.at += len(rest)
}

// word reads one word. It reports false if a quote is not closed.
func (s *scanner) word() bool {
	at := foreign.Pos{File: s.file, Line: s.line}
	s.here = true
	if len(s.statement.words) == 0 {
		s.statement.at = at
	}
	text, closed := s.unquoted()
	if !closed {
		s.Wrong(at, "", "a quote is opened here and never closed")
		return false
	}
	s.statement.words = append(s.statement.words, text)
	return true
}

// unquoted reads to the end of a word and returns it without quotes and backslashes. It
// reports false if the text ends within a quote.
func (s *scanner) unquoted() (word string, closed bool) {
	var b strings.Builder
	quote := byte(0)
	for ; s.at < len(s.text); s.at++ {
		c := s.text[s.at]
		switch {
		case quote == 0 && strings.IndexByte(" \t\r\n;", c) >= 0:
			return b.String(), true
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && s.at+1 < len(s.text):
			s.at++
			if s.text[s.at] == '\n' { // a continued line
				s.line++
				continue
			}
			b.WriteByte(s.text[s.at])
		default:
			if c == '\n' {
				s.line++
			}
			b.WriteByte(c)
		}
	}
	return b.String(), quote == 0
}

// sections returns the sections of all files. Within a file, a section continues an earlier
// one of the same type and name (uci_parse_config in libuci's file.c).
func sections(r *foreign.Reader, files []foreign.File) (list []*section) {
	for _, f := range files {
		named := map[[2]string]*section{}
		var current *section
		s := &scanner{Reader: r, file: f.Name, text: string(f.Text)}
		s.after = func(comments []string) { current.note(comments) }
		s.handle = func(st statement, comments []string) {
			w := st.words
			switch {
			case is(w[0], "package") && len(w) == 2:
				current = nil
			case is(w[0], "config") && (len(w) == 2 || len(w) == 3):
				next := &section{at: st.at, kind: w[1], options: map[string]*option{}, comments: comments}
				if len(w) == 3 {
					next.name = w[2]
				}
				id := [2]string{next.kind, next.name}
				if before := named[id]; before != nil && next.name != "" {
					current = before
					return
				}
				named[id], current = next, next
				list = append(list, next)
			case (is(w[0], "option") || is(w[0], "list")) && len(w) == 3:
				if current == nil {
					r.Wrong(st.at, "", "%s stands before every config", foreign.Shown(w[1]))
					return
				}
				current.note(comments)
				current.add(st.at, w[1], w[2], is(w[0], "list"))
			case is(w[0], "option"), is(w[0], "list"), is(w[0], "config"), is(w[0], "package"):
				r.Wrong(st.at, "option KEY 'VALUE'", "%s has %d words after it, which UCI does not take", w[0], len(w)-1)
			default:
				r.Unknown(st.at, "UCI", w[0], []string{"package", "config", "option", "list"})
			}
		}
		s.run()
	}
	return list
}

// note adds comments that stand before an option, or after the last one.
func (s *section) note(comments []string) {
	if s == nil {
		return
	}
	if s.comments = append(s.comments, comments...); len(s.order) > 0 {
		s.beside = append(s.beside, comments...)
	}
}

// is reports whether a word is a keyword of UCI, which may be shortened to its first
// letter.
func is(word, keyword string) bool { return word == keyword || word == keyword[:1] }

func (s *section) add(at foreign.Pos, key, value string, list bool) {
	o := s.options[key]
	switch {
	case o == nil:
		o = &option{at: at, key: key, values: []string{value}}
		s.options[key] = o
		s.order = append(s.order, o)
	case list:
		o.values = append(o.values, value)
	default:
		o.at, o.values = at, []string{value}
	}
}
