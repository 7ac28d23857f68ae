package main

import (
	"embed"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"wgkeys/keyring/lazyregexp"
)

// guides are the texts of "wgkeys help TOPIC": one file for each topic, whose first line is
// its title.
//
//go:embed doc/*.md
var guides embed.FS

// A topic is one guide.
type topic struct {
	name     string
	title    string
	markdown string
}

// text is the guide as it is shown. It is not made for all of them where only their names
// are wanted, as by the help of a verb.
func (t topic) text() string { return readable(t.markdown) }

// topics returns all topics, sorted by name.
func topics() []topic {
	files, err := fs.Glob(guides, "doc/*.md")
	if err != nil {
		panic(err) // only for an invalid pattern
	}
	var all []topic
	for _, file := range files {
		text, err := guides.ReadFile(file)
		if err != nil {
			panic(err) // it is embedded in this program
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		all = append(all, topic{strings.TrimSuffix(path.Base(file), ".md"), title, string(text)})
	}
	return all
}

// readable removes the comments, from which tests know how to run the examples, and breaks
// the lines of prose and of lists as help does. Examples and tables keep theirs.
func readable(text string) string {
	var f flow
	fenced := false
	for line := range strings.Lines(text) {
		marker := listMarker().FindString(line)
		switch {
		case strings.HasPrefix(line, "<!-- "):
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			f.keep(line)
		case fenced:
			f.keep(line)
		case marker != "":
			f.end()
			f.left, f.text = marker, strings.TrimPrefix(line, marker)
		case f.goesOn(line):
			f.text += line
		default:
			f.keep(line)
		}
	}
	f.end()
	return f.b.String()
}

// listMarker begins an item of a list in Markdown.
var listMarker = lazyregexp.New(`^([0-9]+\.|-) `)

// A flow is a text whose paragraphs get new line breaks.
type flow struct {
	b          strings.Builder
	left, text string // of the paragraph that has begun: its marker in a list, and what follows
}

// goesOn reports whether a line belongs to a paragraph: at the margin by what it begins with,
// in a list by its indentation.
func (f *flow) goesOn(line string) bool {
	if f.left != "" {
		rest, indented := strings.CutPrefix(line, strings.Repeat(" ", len(f.left)))
		return indented && !strings.HasPrefix(rest, " ") && rest != "\n"
	}
	first, _ := utf8.DecodeRuneInString(line)
	return unicode.IsLetter(first) || strings.ContainsRune("`*[(\"", first)
}

// end writes the paragraph that has begun.
func (f *flow) end() {
	if f.text != "" {
		f.b.WriteString(beside(f.left, f.text) + "\n")
	}
	f.left, f.text = "", ""
}

// keep writes a line as it is.
func (f *flow) keep(line string) {
	f.end()
	f.b.WriteString(line)
}
