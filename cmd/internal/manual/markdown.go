package manual

import (
	"path"
	"strings"
	"unicode/utf8"

	"wgkeys/keyring/lazyregexp"
)

// A block is a part of a guide: lines that belong together.
type block struct {
	kind  kind
	level int // of a heading
	lines []string
}

type kind int

const (
	text kind = iota
	heading
	literal
	item
	table
)

// blocks splits a guide.
func blocks(markdown string) []block {
	p := &parser{}
	for line := range strings.SplitSeq(strings.TrimRight(markdown, "\n"), "\n") {
		p.line(line)
	}
	return p.done
}

type parser struct {
	done   []block
	fenced bool
	closed bool // the last block is complete
}

// add begins a block, or continues the last one if it is of this kind.
func (p *parser) add(k kind, line string) {
	if n := len(p.done); n > 0 && !p.closed && p.done[n-1].kind == k {
		p.done[n-1].lines = append(p.done[n-1].lines, line)
		return
	}
	p.done = append(p.done, block{kind: k, lines: []string{line}})
	p.closed = false
}

func (p *parser) line(line string) {
	inner, indented := strings.CutPrefix(line, "    ")
	bullet := marker(line) != ""
	switch {
	case strings.HasPrefix(line, "```"):
		p.fenced, p.closed = !p.fenced, true
	case p.fenced:
		p.add(literal, line)
	case strings.TrimSpace(line) == "":
		p.blank()
	case indented && !p.in(item) && !p.in(text):
		p.add(literal, inner)
	case strings.HasPrefix(line, "#"):
		title := strings.TrimLeft(line, "#")
		p.closed = true
		p.done = append(p.done, block{heading, len(line) - len(title), []string{strings.TrimSpace(title)}})
	case strings.HasPrefix(line, "|"):
		p.add(table, line)
	case bullet:
		p.closed = true
		p.add(item, line)
	case p.in(item):
		p.add(item, strings.TrimSpace(line))
	default:
		p.add(text, line)
	}
}

// in reports whether the last block is of this kind and not complete.
func (p *parser) in(k kind) bool {
	return len(p.done) > 0 && !p.closed && p.done[len(p.done)-1].kind == k
}

// blank ends a block, except literal text, which may go on after an empty line.
func (p *parser) blank() {
	if p.in(literal) {
		p.add(literal, "")
		return
	}
	p.closed = true
}

var listMark = lazyregexp.New(`^(?:- |[0-9]+\. +)`)

// marker is what makes a line an item of a list, or "".
func marker(line string) string { return listMark().FindString(line) }

// guide writes the blocks of a guide, without its title.
func (r *roff) guide(all []block) {
	for _, b := range all {
		switch b.kind {
		case heading:
			r.heading(b.level-1, b.lines[0])
		case text:
			r.paragraph(inline(strings.Join(b.lines, " ")))
		case literal:
			r.literal(trimmed(b.lines))
		case item:
			mark := marker(b.lines[0])
			body := strings.TrimPrefix(strings.Join(b.lines, " "), mark)
			if mark = strings.TrimSpace(mark); mark == "-" {
				mark = `\(bu`
			}
			r.item(mark, inline(body))
		case table:
			r.table(b.lines)
		}
	}
}

// trimmed returns lines without the empty ones at the end.
func trimmed(lines []string) []string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// table writes a table of two columns as terms with their meanings. A wider one becomes
// columns if they fit into 72 characters, or else each row a term with a list of its other
// cells.
func (r *roff) table(lines []string) {
	head, rows := cells(lines[0]), [][]string{}
	for _, line := range lines[min(2, len(lines)):] {
		rows = append(rows, cells(line))
	}
	if len(head) > 2 && r.aligned(append([][]string{head}, rows...)) {
		return
	}
	for _, row := range rows {
		var says []string
		for i, cell := range row[1:] {
			switch {
			case cell == "":
			case len(head) > 2 && i+1 < len(head) && head[i+1] != "":
				says = append(says, inline(head[i+1])+": "+inline(cell))
			default:
				says = append(says, inline(cell))
			}
		}
		r.tagged(inline(row[0]), strings.Join(says, "; "))
	}
}

// aligned writes rows in columns, if they fit.
func (r *roff) aligned(rows [][]string) bool {
	const room = 72
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(bare(cell)))
		}
	}
	all := 2 * (len(widths) - 1)
	for _, w := range widths {
		all += w
	}
	if all > room {
		return false
	}
	var lines []string
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			cell = bare(cell)
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		lines = append(lines, line)
	}
	r.literal(lines)
	return true
}

// cells splits a row of a table.
func cells(line string) (all []string) {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	for cell := range strings.SplitSeq(strings.ReplaceAll(line, `\|`, "\x00"), "|") {
		all = append(all, strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
	}
	return all
}

var (
	span = lazyregexp.New("`[^`]+`" + `|!?\[[^\]]*\]\([^)]*\)|\*\*[^*]+\*\*|\*[^* ][^*]*\*`)
	link = lazyregexp.New(`^!?\[([^\]]*)\]\(([^)]*)\)$`)
)

// inline formats the text of a paragraph: code, emphasis and links.
func inline(markdown string) string {
	var b strings.Builder
	each(markdown, func(part string, marked bool) {
		switch m := link().FindStringSubmatch(part); {
		case !marked:
			b.WriteString(escape(part))
		case part[0] == '`':
			b.WriteString(bold(strings.Trim(part, "`")))
		case m != nil:
			b.WriteString(reference(m[1], m[2]))
		case strings.HasPrefix(part, "**"):
			b.WriteString(`\fB` + inline(strings.Trim(part, "*")) + `\fR`)
		default:
			b.WriteString(`\fI` + inline(strings.Trim(part, "*")) + `\fR`)
		}
	})
	return b.String()
}

// bare is text without markup, as for a table of columns.
func bare(markdown string) string {
	var b strings.Builder
	each(markdown, func(part string, marked bool) {
		switch m := link().FindStringSubmatch(part); {
		case marked && m != nil:
			part = bare(m[1])
		case marked:
			part = strings.Trim(part, "`*")
		}
		b.WriteString(part)
	})
	return b.String()
}

// each calls do for the marked parts of a text, and for those between them.
func each(markdown string, do func(part string, marked bool)) {
	for markdown != "" {
		at := span().FindStringIndex(markdown)
		if at == nil {
			do(markdown, false)
			return
		}
		if at[0] > 0 {
			do(markdown[:at[0]], false)
		}
		do(markdown[at[0]:at[1]], true)
		markdown = markdown[at[1]:]
	}
}

// reference formats a link: a manual page for another guide, and only the text for a place
// in the same one.
func reference(text, target string) string {
	file, _, _ := strings.Cut(target, "#")
	dir, name := path.Split(file)
	switch {
	case file == "":
		return inline(text)
	case strings.Contains(target, "://"):
		return inline(text) + " <" + escape(target) + ">"
	case dir == "" && path.Ext(name) == ".md":
		name = strings.TrimSuffix(name, ".md")
		page := bold("wgkeys-"+name) + "(" + Section(name) + ")"
		if bare(text) == name {
			return page
		}
		return inline(text) + " (" + page + ")"
	}
	return inline(text) + " (" + escape(strings.TrimLeft(file, "./")) + ")"
}

// Section is the section of the manual for a guide: 5 for file formats, 7 for others.
func Section(guide string) string {
	if guide == "tunnel" || guide == "vault" {
		return "5"
	}
	return "7"
}

// A Row is a row of a guide's table of two columns, without markup.
type Row struct{ Key, Meaning string }

// Tables returns the rows of all tables of two columns in a guide, by the heading or the
// last line of text before them.
func Tables(markdown string) map[string][]Row {
	all := map[string][]Row{}
	title := ""
	for _, b := range blocks(markdown) {
		switch b.kind {
		case heading, text:
			title = bare(b.lines[len(b.lines)-1])
		case table:
			for _, line := range b.lines[min(2, len(b.lines)):] {
				if row := cells(line); len(row) == 2 {
					all[title] = append(all[title], Row{bare(row[0]), bare(row[1])})
				}
			}
		}
	}
	return all
}
