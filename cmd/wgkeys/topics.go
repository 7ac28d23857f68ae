package main

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

// guides are the texts of "wgkeys help TOPIC": one file a topic, whose first line is
// its title.
//
//go:embed doc/*.md
var guides embed.FS

// A topic is what a guide is about.
type topic struct {
	name  string
	title string
	text  string
}

// topics returns all, by name.
func topics() []topic {
	files, err := fs.Glob(guides, "doc/*.md")
	if err != nil {
		panic(err) // of the pattern, says path.Match
	}
	var all []topic
	for _, file := range files {
		text, err := guides.ReadFile(file)
		if err != nil {
			panic(err) // it is a part of this program
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		all = append(all, topic{strings.TrimSuffix(path.Base(file), ".md"), title, readable(string(text))})
	}
	return all
}

// readable leaves out the comments, which tell the tests how to run what the guide shows.
func readable(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "<!-- ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
