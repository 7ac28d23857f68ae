package graph

import (
	"fmt"
	"strings"
)

// legend explains the arrows.
const legend = "arrows lead from a host that can begin a handshake to an endpoint, OUTSIDE"

// Mermaid returns g as a Mermaid flowchart, which many sites render in Markdown.
func (g *Graph) Mermaid() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%%%% tunnel %s: %s\nflowchart LR\n", mermaidText(g.Tunnel), legend)
	blocks, arrows := g.blocks()
	peers := g.peerings()
	for i, k := range blocks {
		if !k.framed() {
			g.mermaidHost(&b, "    ", k.hosts[0], peers)
			continue
		}
		fmt.Fprintf(&b, "    subgraph frame%d[\"%s\"]\n", i, mermaidText(k.heading()))
		for _, h := range k.hosts {
			g.mermaidHost(&b, "        ", h, peers)
		}
		b.WriteString("    end\n")
	}
	id := func(i int) string {
		if blocks[i].framed() {
			return fmt.Sprintf("frame%d", i)
		}
		return fmt.Sprintf("host%d", blocks[i].hosts[0])
	}
	for _, w := range arrows {
		fmt.Fprintf(&b, "    %s %s %s\n", id(w.from), w.mermaid(), id(w.to))
	}
	b.WriteString(mermaidColours)
	return b.String()
}

// mermaidColours are colours that are readable on any background.
const mermaidColours = "    classDef default fill:#ffffff,stroke:#475569,color:#0f172a,text-align:left\n" +
	"    classDef unmanaged fill:#f1f5f9,stroke-dasharray:5 4\n" +
	"    linkStyle default stroke:#64748b\n"

func (g *Graph) mermaidHost(b *strings.Builder, indent string, i int, peers [][]peering) {
	fmt.Fprintf(b, "%shost%d[\"%s", indent, i, mermaidText(g.title(i)))
	for _, r := range g.rows(i, peers[i]) {
		b.WriteString("<br/>" + mermaidText(strings.TrimSpace(r.where+" "+r.text)))
	}
	b.WriteString("\"]")
	if g.Hosts[i].Unmanaged {
		b.WriteString(":::unmanaged")
	}
	b.WriteString("\n")
}

func (w arrow) mermaid() string {
	broken := w.state == never || w.state == unknown
	switch {
	case w.blind && broken:
		return "-.-"
	case w.blind:
		return "---"
	case w.both && broken:
		return "<-.->"
	case w.both:
		return "<-->"
	case broken:
		return "-.->"
	}
	return "-->"
}

// mermaidText escapes s for a quoted text. Characters that could have a meaning in Mermaid
// or HTML become numbers: "#35;" is Mermaid's escape for "#".
func mermaidText(s string) string {
	var b strings.Builder
	for _, c := range printable(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.ContainsRune(" .,:/-_()", c):
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, "#%d;", c)
		}
	}
	return b.String()
}
