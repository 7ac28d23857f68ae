package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A block is what a page has somebody type, or the file that it has him write. A page says
// how to run it in comments of HTML above it, which no reader sees:
//
//	<!-- before: COMMAND -->   is run first, for what the page takes for granted
//	<!-- exits: N -->          a command ends with N
//	<!-- on: HOST -->          it is typed there, and not on basalt
//	<!-- for: 5s -->           it does not end by itself
//	<!-- elsewhere: TestX -->  the test or target of make that runs it, for it needs more than
//	                           a laboratory's hosts
type block struct {
	page      string
	line      int // of the file, from 1
	before    []string
	exits     int
	on        string
	limit     time.Duration
	elsewhere string

	commands []string
	shown    []string // what the page says that they print, where it does

	path   string // of a file, below the repository
	text   string
	append bool
}

// docPages are what users read.
func docPages(t *testing.T) []string {
	t.Helper()
	guides, err := filepath.Glob("doc/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"../../README.md", "../../SECURITY.md"}, guides...)
}

// blocksOf reads a page. A block of commands is indented by four columns, a file stands
// between fences and has its path in the first line, as a comment. What else is between
// fences is shown, and not typed.
func blocksOf(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	next := block{page: page}
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "<!-- ") {
			next.direct(t, i+1, lines[i])
			continue
		}
		end := next.read(lines, i)
		if end < i {
			continue
		}
		next.line, i = i+1, end
		if next.commands != nil || next.path != "" {
			all = append(all, next)
		} else if next.before != nil || next.elsewhere != "" {
			t.Errorf("%s:%d: there is nothing below the comment", page, next.line)
		}
		next = block{page: page}
	}
	return all
}

// read takes what begins at a line, and returns its last line, or one before it where nothing
// does.
func (b *block) read(lines []string, i int) (end int) {
	if strings.HasPrefix(lines[i], "```") {
		for end = i + 1; lines[end] != "```"; end++ {
		}
		b.file(lines[i+1 : end])
		return end
	}
	indented := func(n int) bool { return strings.HasPrefix(lines[n], "    ") }
	if !indented(i) || i > 0 && lines[i-1] != "" && !strings.HasSuffix(lines[i-1], "-->") {
		return i - 1
	}
	end = i
	for n := end + 1; n < len(lines) && (lines[n] == "" || indented(n)); n++ {
		if lines[n] != "" {
			end = n
		}
	}
	b.typed(lines[i : end+1])
	return end
}

var directive = regexp.MustCompile(`^<!-- (before|exits|on|for|elsewhere): (.*) -->$`)

func (b *block) direct(t *testing.T, line int, text string) {
	t.Helper()
	m := directive.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s:%d: %s is no direction for a test", b.page, line, text)
	}
	var err error
	switch m[1] {
	case "before":
		b.before = append(b.before, m[2])
	case "exits":
		b.exits, err = strconv.Atoi(m[2])
	case "on":
		b.on = m[2]
	case "for":
		b.limit, err = time.ParseDuration(m[2])
	case "elsewhere":
		b.elsewhere = m[2]
	}
	if err != nil {
		t.Fatalf("%s:%d: %v", b.page, line, err)
	}
}

var blockFile = regexp.MustCompile(`^# (at the end of )?([\w.-]+(?:/[\w.-]+)*\.(?:toml|yml|txt))$`)

func (b *block) file(lines []string) {
	if len(lines) == 0 {
		return
	}
	if m := blockFile.FindStringSubmatch(lines[0]); m != nil {
		b.append, b.path, b.text = m[1] != "", m[2], strings.Join(lines[1:], "\n")+"\n"
	}
}

// typed takes the lines of a block apart: where some begin with a prompt, the others are
// what is printed.
func (b *block) typed(lines []string) {
	prompts := false
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "    ")
		prompts = prompts || strings.HasPrefix(lines[i], "$ ")
	}
	for _, line := range lines {
		command, isCommand := strings.CutPrefix(line, "$ ")
		last := len(b.commands) - 1
		switch {
		case last >= 0 && strings.HasSuffix(b.commands[last], "\\"):
			b.commands[last] += "\n" + line
		case isCommand || !prompts && line != "" && !strings.HasPrefix(line, "#"):
			b.commands = append(b.commands, command)
		case prompts:
			b.shown = append(b.shown, line)
		}
	}
}

func (b *block) String() string {
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(b.page, "../../"), b.line)
}
