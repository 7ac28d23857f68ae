// Package manual makes manual pages, as man(1) shows them, from texts that the program has
// anyway: the help of its commands and its guides.
//
// It writes the macros of man(7) that both groff and mandoc know, and reads as much of
// Markdown as the guides use. It is pure: it reads and writes no file, and the caller gives
// the date of a page.
package manual

import (
	"fmt"
	"strings"
)

// A roff is a page being written.
type roff struct {
	strings.Builder
	begun bool // the section has text
}

// columns is the length of a source line: mandoc(1) complains about longer ones.
const columns = 78

// macro writes a request with its arguments.
func (r *roff) macro(name string, args ...string) {
	r.WriteString("." + name)
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t") {
			a = `"` + a + `"`
		}
		r.WriteString(" " + a)
	}
	r.WriteByte('\n')
}

// heading writes the heading of a section, or with level 2 and more of a subsection.
func (r *roff) heading(level int, title string) {
	r.begun = false
	if level > 1 {
		r.macro("SS", strings.Fields(escape(title))...)
		return
	}
	r.macro("SH", strings.Fields(escape(strings.ToUpper(title)))...)
}

// apart separates what follows from what was before it in the section.
func (r *roff) apart() {
	if r.begun {
		r.macro("PP")
	}
	r.begun = true
}

// paragraph writes text that may contain escapes.
func (r *roff) paragraph(text string) {
	r.apart()
	r.fill(text)
}

// fill writes text in source lines, none of which is taken for a request.
func (r *roff) fill(text string) {
	line := ""
	flush := func() {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		if line != "" {
			r.WriteString(line + "\n")
		}
		line = ""
	}
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > columns {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
}

// literal writes lines unchanged.
func (r *roff) literal(lines []string) {
	r.apart()
	r.macro("RS", "2")
	r.macro("EX")
	for _, line := range lines {
		line = code(strings.TrimRight(strings.ReplaceAll(line, "\t", "        "), " "))
		if line == "" || strings.HasPrefix(line, ".") {
			line = `\&` + line
		}
		r.WriteString(line + "\n")
	}
	r.macro("EE")
	r.macro("RE")
}

// tagged writes a term and its meaning, both with escapes.
func (r *roff) tagged(term, meaning string) {
	r.begun = true
	r.macro("TP")
	r.WriteString(term + "\n") // on one line, however long
	if meaning = strings.TrimSpace(meaning); meaning == "" {
		meaning = `\&`
	}
	r.fill(meaning)
}

// item writes an item of a list, with its bullet or number.
func (r *roff) item(mark, text string) {
	r.begun = true
	r.macro("IP", mark, "4")
	r.fill(text)
}

// plain writes a text of the program's help: paragraphs, and indented lines, which stay as
// they are.
func (r *roff) plain(text string) {
	var filled, kept []string
	flush := func() {
		if filled != nil {
			r.paragraph(escape(strings.Join(filled, " ")))
		}
		if kept != nil {
			r.literal(kept)
		}
		filled, kept = nil, nil
	}
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		inner, indented := strings.CutPrefix(line, "    ")
		switch {
		case strings.TrimSpace(line) == "":
			flush()
		case indented:
			if filled != nil {
				flush()
			}
			kept = append(kept, inner)
		default:
			if kept != nil {
				flush()
			}
			filled = append(filled, line)
		}
	}
	flush()
}

func bold(text string) string { return `\fB` + code(text) + `\fR` }

func italic(text string) string { return `\fI` + code(text) + `\fR` }

// escape escapes text for roff, so that none of it is a command. A quotation mark would end
// an argument of a macro.
func escape(text string) string { return spell(text, nil) }

// code is escape for what a user types: no dash becomes a hyphen and no quotation mark a
// typographic one (groff_char(7)).
func code(text string) string {
	return spell(text, map[rune]string{'-': `\-`, '\'': `\(aq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`})
}

func spell(text string, also map[rune]string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '"':
			b.WriteString(`\(dq`)
		case also[c] != "":
			b.WriteString(also[c])
		case c > '~':
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
