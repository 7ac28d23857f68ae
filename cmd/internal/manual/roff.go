// Package manual makes pages of the manual, as man(1) shows them, of the texts that the
// program has anyway: the help of its commands and its guides.
//
// It writes the macros of man(7) that both groff and mandoc know, and reads as much of
// Markdown as the guides use. It is pure: no file is read or written here, and the date
// of a page is the caller's affair.
package manual

import (
	"fmt"
	"strings"
)

// A roff is a page that is being written.
type roff struct {
	strings.Builder
	begun bool // the section has text
}

// columns is how long a line of the source is: mandoc(1) complains of longer ones.
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

// heading writes a section's, or with level 2 and more a subsection's.
func (r *roff) heading(level int, title string) {
	r.begun = false
	if level > 1 {
		r.macro("SS", strings.Fields(escape(title))...)
		return
	}
	r.macro("SH", strings.Fields(escape(strings.ToUpper(title)))...)
}

// apart parts what comes from what was before it in the section.
func (r *roff) apart() {
	if r.begun {
		r.macro("PP")
	}
	r.begun = true
}

// paragraph writes text that may have escapes in it.
func (r *roff) paragraph(text string) {
	r.apart()
	r.fill(text)
}

// fill writes text in lines of the source, none of which is taken for a request.
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

// literal writes lines as they are.
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

// tagged writes a term and what it means, both with escapes.
func (r *roff) tagged(term, meaning string) {
	r.begun = true
	r.macro("TP")
	r.WriteString(term + "\n") // of one line, however long
	if meaning = strings.TrimSpace(meaning); meaning == "" {
		meaning = `\&`
	}
	r.fill(meaning)
}

// item writes an element of a list, with its bullet or number.
func (r *roff) item(mark, text string) {
	r.begun = true
	r.macro("IP", mark, "4")
	r.fill(text)
}

// plain writes a text of the program's help: paragraphs, and lines that are indented and
// stay as they are.
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

// escape spells text for roff: nothing of it is a command. A quotation mark would end an
// argument of a macro.
func escape(text string) string { return spell(text, nil) }

// code is escape for what somebody types: no dash becomes a hyphen and no quotation mark a
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
