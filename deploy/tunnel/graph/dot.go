package graph

import (
	"fmt"
	"strings"
)

// DOT returns g in the DOT language, for dot(1) of Graphviz.
func (g *Graph) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "// tunnel %s: %s\ndigraph %s {\n", printable(g.Tunnel), legend, dotText(g.Tunnel))
	b.WriteString(dotDefaults)
	blocks, arrows := g.blocks()
	peers := g.peerings()
	for i, k := range blocks {
		if !k.framed() {
			g.dotHost(&b, "\t", k.hosts[0], peers)
			continue
		}
		fmt.Fprintf(&b, "\tsubgraph cluster%d {\n\t\tlabel=%s\n", i, dotText(k.heading()))
		for _, h := range k.hosts {
			g.dotHost(&b, "\t\t", h, peers)
		}
		b.WriteString(k.grid(g))
		b.WriteString("\t}\n")
	}
	for _, w := range arrows {
		from, to := &blocks[w.from], &blocks[w.to]
		attributes := w.dot()
		if from.framed() {
			attributes = append(attributes, fmt.Sprintf("ltail=cluster%d", w.from))
		}
		if to.framed() {
			attributes = append(attributes, fmt.Sprintf("lhead=cluster%d", w.to))
		}
		fmt.Fprintf(&b, "\t%s -> %s", dotText(g.Hosts[from.last()].Name), dotText(g.Hosts[to.hosts[0]].Name))
		if attributes != nil {
			fmt.Fprintf(&b, " [%s]", strings.Join(attributes, ", "))
		}
		b.WriteString("\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// dotDefaults are colours that are readable on any background. With compound, arrows can
// end at frames.
const dotDefaults = `	graph [rankdir=LR, compound=true, bgcolor=transparent, fontname=monospace, ` +
	`fontcolor="#64748b", color="#64748b"]
	node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#475569", fontname=monospace, fontsize=11]
	edge [color="#64748b"]
`

func (g *Graph) dotHost(b *strings.Builder, indent string, i int, peers [][]peering) {
	lines := []string{g.title(i)}
	for _, r := range g.rows(i, peers[i]) {
		lines = append(lines, strings.TrimSpace(r.where+" "+r.text))
	}
	style := ""
	if g.Hosts[i].Unmanaged {
		style = `, style="rounded,filled,dashed", fillcolor="#f1f5f9"`
	}
	fmt.Fprintf(b, "%s%s [label=%s%s]\n", indent, dotText(g.Hosts[i].Name), dotText(lines...), style)
}

// last returns the host of b at which arrows begin.
func (b *block) last() int { return b.hosts[len(b.hosts)-1] }

// grid arranges the hosts of a frame in columns, with invisible arrows: dot puts hosts
// without arrows between them into one column.
func (b *block) grid(g *Graph) string {
	var s strings.Builder
	rows := rowsOf(len(b.hosts))
	for i, h := range b.hosts[min(rows, len(b.hosts)):] {
		fmt.Fprintf(&s, "\t\t%s -> %s [style=invis]\n", dotText(g.Hosts[b.hosts[i]].Name), dotText(g.Hosts[h].Name))
	}
	return s.String()
}

func (w arrow) dot() (attributes []string) {
	switch {
	case w.both:
		attributes = append(attributes, "dir=both")
	case w.blind:
		attributes = append(attributes, "dir=none")
	}
	if w.state == never || w.state == unknown {
		attributes = append(attributes, "style=dashed")
	}
	return attributes
}

// dotText quotes lines of text, each flush left. Within quotes, backslashes and HTML
// entities have a meaning in DOT.
func dotText(lines ...string) string {
	text := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `&`, `&amp;`).Replace
	var b strings.Builder
	b.WriteByte('"')
	for _, l := range lines {
		b.WriteString(text(printable(l)))
		if len(lines) > 1 {
			b.WriteString(`\l`)
		}
	}
	b.WriteByte('"')
	return b.String()
}
