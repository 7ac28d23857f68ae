package ui

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// columnsOf is the width of the terminal that w is; 0: it is none.
func columnsOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// prefix begins each line about the work, and indent one that continues the one before it.
const (
	prefix = "wgkeys: "
	indent = "        "
)

// narrow is a number of columns below which lines are left as they are.
const narrow = 40

// wrapped breaks what follows begin in a line, so that no word is broken at the edge of a terminal
// of some columns, and indents the rest. 0: there is no terminal. A hint stays as it is: it is to be
// copied.
func wrapped(begin, text string, columns int) string {
	if columns < narrow || strings.HasPrefix(text, "hint: ") {
		return text
	}
	in := uniseg.StringWidth(begin)
	return strings.Join(Wrap(text, columns-in), "\n"+strings.Repeat(" ", in))
}

// Wrap breaks a text between its words into lines of at most some columns. A longer word stays
// whole: it may be a path, or a key. So does a command, which is to be copied. 0: there is no limit.
func Wrap(text string, columns int) (lines []string) {
	if columns <= 0 || uniseg.StringWidth(text) <= columns {
		return []string{text}
	}
	at := 0
	for i, piece := range pieces(text) {
		width := uniseg.StringWidth(piece)
		if i == 0 || at+1+width > columns {
			lines, at = append(lines, piece), width
			continue
		}
		lines[len(lines)-1] += " " + piece
		at += 1 + width
	}
	return lines
}

// programs are those whose commands stand in messages.
var programs = []string{"apt", "git", "ip", "ssh", "sudo", "wg", "wgkeys"}

// leads are words after which a command stands in messages.
var leads = []string{"or", "run", "then"}

// pieces are the words of a text, of which each command is one. A command follows a colon, a
// semicolon or one of [leads], and ends with the text or with that part of the sentence.
func pieces(text string) (all []string) {
	command := false
	before := ""
	for word := range strings.SplitSeq(text, " ") {
		if command {
			all[len(all)-1] += " " + word
		} else {
			all = append(all, word)
			command = (ends(before, ":;") || slices.Contains(leads, before)) && slices.Contains(programs, word)
		}
		command = command && !ends(word, ",;:)")
		before = word
	}
	return all
}

func ends(word, marks string) bool {
	return word != "" && strings.ContainsRune(marks, rune(word[len(word)-1]))
}
