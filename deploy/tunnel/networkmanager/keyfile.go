package networkmanager

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"wgkeys/deploy/tunnel/foreign"
)

// A group is a [NAME] of a keyfile with its lines.
type group struct {
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

// lex splits a keyfile into groups as GLib does (glib/gkeyfile.c): "#" begins a comment
// only as the first character of a line, and groups of the same name are merged.
func lex(r *foreign.Reader, f foreign.File) []*group {
	var groups []*group
	byName := map[string]*group{}
	var in *group
	var pending []string
	number := 0
	for line := range bytes.Lines(f.Text) {
		number++
		at, text := foreign.Pos{File: f.Name, Line: number}, strings.TrimSpace(string(line))
		switch {
		case text == "":
		case !utf8.ValidString(text):
			r.Wrong(at, "", "the line is not text (UTF-8): is the file encrypted?")
			return groups
		case text[0] == '#':
			if comment, ok := foreign.Comment(text); ok {
				pending = append(pending, comment)
			}
		case text[0] == '[':
			name, closed := strings.CutSuffix(text[1:], "]")
			if !closed {
				r.Wrong(at, "", "%s is no [group]", foreign.Shown(text))
			}
			if in = byName[name]; in == nil {
				in = &group{at: at, name: name}
				byName[name], groups = in, append(groups, in)
			}
			in.comments, pending = append(in.comments, pending...), nil
		default:
			key, value, ok := strings.Cut(text, "=")
			switch {
			case !ok:
				r.Wrong(at, "", "%s is neither a [group] nor KEY=VALUE", foreign.Shown(text))
			case in == nil:
				r.Wrong(at, "", "%s stands before the first [group]", foreign.Shown(key))
			default:
				if in.comments = append(in.comments, pending...); len(in.entries) > 0 {
					in.beside = append(in.beside, pending...)
				}
				pending = nil
				in.entries = append(in.entries, entry{at, strings.TrimSpace(key), strings.TrimSpace(value)})
			}
		}
	}
	if in != nil {
		in.comments = append(in.comments, pending...)
	}
	return groups
}

// plain replaces GLib's escape sequences in a value.
func plain(s string) string {
	return strings.NewReplacer(`\s`, " ", `\t`, "\t", `\n`, " ", `\r`, " ", `\\`, `\`, `\;`, ";").Replace(s)
}

// listed returns the elements of a list, each of which ends with ";".
func listed(s string) (words []string) {
	for w := range strings.SplitSeq(s, ";") {
		if w != "" {
			words = append(words, w)
		}
	}
	return words
}
