package manual

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Book is what all pages have in common.
type Book struct {
	Date   string // 2026-11-29
	Source string // "wgkeys 1.0.0"
	Guides []string
}

// A Page is a manual page, as man(1) reads it.
type Page struct {
	File string // wgkeys-gen.1
	Text string
}

// A Flag is a flag of a command.
type Flag struct {
	Names []string // with their dashes
	Value string   // the name of its value; "": it takes none
	Usage string
}

// A Command is a verb of the program.
type Command struct {
	Name, Usage, Args string
	Description       string
	Examples          []string
	Flags             []Flag
}

// A Part is a section of the program's own help.
type Part struct{ Title, Text string }

// Program is the page of the program itself.
func (b Book) Program(name, usage string, commands []Command, parts []Part) Page {
	r := b.begin(name, "1", usage)
	r.heading(1, "Synopsis")
	r.fill(bold(name) + " " + italic("VERB") + " [" + italic("FLAGS") + "] [" + italic("NAME") + "...]")
	r.WriteString(".br\n")
	r.fill(bold(name+" help") + " [" + italic("VERB") + "|" + italic("TOPIC") + "]")
	r.heading(1, "Commands")
	for _, c := range commands {
		r.tagged(strings.TrimSpace(bold(c.Name)+" "+placeholders(c.Args)),
			escape(c.Usage)+"; "+bold(name+"-"+c.Name)+"(1)")
	}
	for _, p := range parts {
		r.heading(1, p.Title)
		r.plain(p.Text)
	}
	var pages []string
	for _, c := range commands {
		pages = append(pages, bold(name+"-"+c.Name)+"(1)")
	}
	r.seeAlso(append(pages, b.guides(name)...))
	return Page{name + ".1", r.String()}
}

// Command is the page of a verb.
func (b Book) Command(program string, c Command) Page {
	name := program + "-" + c.Name
	r := b.begin(name, "1", c.Usage)
	r.heading(1, "Synopsis")
	r.fill(bold(program+" "+c.Name) + " [" + italic("FLAGS") + "] " + placeholders(c.Args))
	if c.Description != "" {
		r.heading(1, "Description")
		r.plain(c.Description)
	}
	r.heading(1, "Options")
	for _, f := range c.Flags {
		term := ""
		for _, n := range slices.SortedStableFunc(slices.Values(f.Names), byLength) {
			if term != "" {
				term += ", "
			}
			term += bold(n)
		}
		if f.Value != "" {
			term += " " + italic(f.Value)
		}
		r.tagged(term, escape(f.Usage))
	}
	if len(c.Examples) > 0 {
		r.heading(1, "Examples")
		r.literal(c.Examples)
	}
	var also []string
	if slices.Contains(b.Guides, c.Name) {
		also = append(also, bold(name)+"("+Section(c.Name)+")")
	}
	r.seeAlso(append(also, bold(program)+"(1)"))
	return Page{name + ".1", r.String()}
}

// byLength sorts -i before --identity.
func byLength(a, b string) int { return cmp.Compare(len(a), len(b)) }

// Guide is the page of a guide in Markdown, whose first line is its title.
func (b Book) Guide(program, name, markdown string) Page {
	all := blocks(markdown)
	title := ""
	if len(all) > 0 && all[0].kind == heading {
		title, all = bare(all[0].lines[0]), all[1:]
	}
	r := b.begin(program+"-"+name, Section(name), title)
	if len(all) > 0 && all[0].kind != heading {
		r.heading(1, "Description")
	}
	r.guide(all)
	also := slices.DeleteFunc(b.guides(program), func(page string) bool {
		return strings.HasPrefix(page, bold(program+"-"+name)+"(")
	})
	r.seeAlso(append([]string{bold(program) + "(1)"}, also...))
	return Page{fmt.Sprintf("%s-%s.%s", program, name, Section(name)), r.String()}
}

// begin writes the beginning of a page. whatis(1) reads the NAME section.
func (b Book) begin(name, section, usage string) *roff {
	r := &roff{}
	kinds := map[string]string{"1": "User Commands", "5": "File Formats", "7": "Guides"}
	r.macro("TH", strings.ToUpper(code(name)), section, b.Date, b.Source, kinds[section])
	r.macro("nh") // a hyphen must not break a command
	r.heading(1, "Name")
	r.fill(code(name) + ` \- ` + escape(lowered(usage)))
	return r
}

// lowered is a title as it continues a line. A word with more capitals, WireGuard, stays.
func lowered(title string) string {
	first, _, _ := strings.Cut(title, " ")
	if len(first) > 1 && first[1:] == strings.ToLower(first[1:]) {
		return strings.ToLower(title[:1]) + title[1:]
	}
	return title
}

// guides are the pages of all guides.
func (b Book) guides(program string) (all []string) {
	for _, g := range b.Guides {
		all = append(all, bold(program+"-"+g)+"("+Section(g)+")")
	}
	return all
}

func (r *roff) seeAlso(pages []string) {
	r.heading(1, "See also")
	r.fill(strings.Join(pages, ", "))
}

// placeholders formats the arguments of a command: words in capitals are placeholders.
func placeholders(args string) string {
	var b strings.Builder
	word := ""
	flush := func() {
		if word != "" && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			b.WriteString(italic(word))
		} else if word != "" {
			b.WriteString(bold(word))
		}
		word = ""
	}
	for _, c := range args {
		if strings.ContainsRune("[]|. =", c) {
			flush()
			b.WriteRune(c)
			continue
		}
		word += string(c)
	}
	flush()
	return b.String()
}
