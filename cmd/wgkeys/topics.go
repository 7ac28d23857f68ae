package main

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

// guides are the texts of "wgkeys help TOPIC": one file for each topic, whose first line is
// its title.
//
//go:embed doc/*.md
var guides embed.FS

// A topic is one guide.
type topic struct {
	name  string
	title string
	text  string
}

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
		all = append(all, topic{strings.TrimSuffix(path.Base(file), ".md"), title, readable(string(text))})
	}
	return all
}

// readable removes the comments, from which tests know how to run the examples.
func readable(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "<!-- ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
