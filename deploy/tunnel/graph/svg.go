package graph

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// The text is in a monospaced font of unknown name. In those that systems have, a character
// is at most 0.605 times as wide as the font size.
const (
	fontSize   = 12.0
	charWidth  = 0.605 * fontSize
	lineHeight = 16.0
	padding    = 9.0
	fonts      = "ui-monospace,'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace"
)

// The drawing has no background. Colours without a box behind them have a contrast of at
// least 4 to 1 with both white and black (WCAG 2.1 requires 3 to 1 for graphics).
const (
	paper  = "#ffffff"
	shade  = "#f1f5f9"
	ink    = "#0f172a"
	border = "#475569"
	middle = "#64748b"
	green  = "#15803d"
	brown  = "#b45309"
	red    = "#dc2626"
	blue   = "#1d4ed8"
)

// A sheet is the text of an SVG.
type sheet struct{ strings.Builder }

func (s *sheet) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// SVG returns g as a self-contained SVG without scripts.
func (g *Graph) SVG() string {
	d := &drawing{Graph: g, peers: g.peerings()}
	blocks, arrows := g.blocks()
	sizes := make([]rect, len(blocks))
	for i := range blocks {
		sizes[i] = d.size(&blocks[i])
	}
	l := newLayout(sizes, arrows)
	curves := l.curves()
	bounds := l.size[0]
	for _, r := range l.size {
		bounds = bounds.union(r)
	}
	for _, c := range curves {
		bounds = bounds.union(rect{c.pull.x, c.pull.y, 0, 0})
	}
	key := d.key()
	keyBox := textBox(key).movedTo(bounds.x, bounds.y+bounds.h+gap)
	bounds = bounds.union(keyBox).grown(gap)

	s := &d.sheet
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" role="img" width="%.0f" height="%.0f" viewBox="%.0f %.0f %.0f %.0f">`,
		bounds.w, bounds.h, bounds.x, bounds.y, bounds.w, bounds.h)
	s.add(`<title>tunnel %s</title>`, xmlText(g.Tunnel))
	s.add(`<g font-family="%s" font-size="%.0f" fill="%s">`, fonts, fontSize, ink)
	for i := range blocks {
		if blocks[i].framed() {
			d.frame(l.size[i])
		}
	}
	for _, c := range curves {
		d.curve(c)
	}
	for i := range blocks {
		d.block(&blocks[i], l.size[i])
	}
	d.box(keyBox, key, note)
	s.add("</g>\n</svg>")
	return s.String()
}

// A drawing is an SVG of a graph.
type drawing struct {
	*Graph
	sheet
	peers [][]peering
}

// text returns the lines in the box of a host, its name first.
func (d *drawing) text(i int) []row {
	return append([]row{{text: d.title(i)}}, d.rows(i, d.peers[i])...)
}

// textBox returns a rectangle for rows of text.
func textBox(rows []row) rect {
	wide := 0
	for _, r := range rows {
		wide = max(wide, columns(r.text)+len(tagged(r.where)))
	}
	return rect{w: math.Ceil(float64(wide)*charWidth + 2*padding), h: float64(len(rows))*lineHeight + 2*padding}
}

// columns returns the greatest width of a text in characters: those of East Asian scripts,
// and emoji, are two columns wide (Unicode Standard Annex 11).
func columns(s string) (n int) {
	const hangul = 0x1100 // the first wide character
	for _, c := range s {
		if n++; c >= hangul {
			n++
		}
	}
	return n
}

// movedTo returns r with its top left corner at x, y.
func (r rect) movedTo(x, y float64) rect { return rect{x, y, r.w, r.h} }

// tagged returns a tag, padded to the column where the text after it begins.
func tagged(where string) string {
	if where == "" {
		return ""
	}
	return fmt.Sprintf("%-8s", where)
}

// rowsOf returns the number of rows for n boxes in a frame. Boxes are wider than high.
func rowsOf(n int) int { return int(math.Ceil(math.Sqrt(1.5 * float64(n)))) }

// cell returns the size of each box in a frame.
func (d *drawing) cell(b *block) rect {
	var cell rect
	for _, i := range b.hosts {
		r := textBox(d.text(i))
		cell.w, cell.h = max(cell.w, r.w), max(cell.h, r.h)
	}
	return cell
}

const heading = 2 * lineHeight

// size returns the size of a block.
func (d *drawing) size(b *block) rect {
	cell := d.cell(b)
	if !b.framed() {
		return cell
	}
	rows := rowsOf(len(b.hosts))
	columns := (len(b.hosts) + rows - 1) / rows
	const between = gap / 2
	return rect{w: max(float64(columns)*(cell.w+between)+between, textBox([]row{{text: b.heading()}}).w+2*between),
		h: float64(rows)*(cell.h+between) + between + heading}
}

// block draws a host, or the hosts of a frame in columns.
func (d *drawing) block(b *block, r rect) {
	if !b.framed() {
		d.box(r, d.text(b.hosts[0]), d.kind(b.hosts[0]))
		return
	}
	const between = gap / 2
	title := []row{{text: b.heading()}}
	label := textBox(title).movedTo(r.x+between, r.y+between/2)
	label.h = lineHeight + padding
	d.outline(label, note)
	d.lines(point{label.x + padding, label.y + padding/2}, title, note)
	cell, rows := d.cell(b), rowsOf(len(b.hosts))
	for k, i := range b.hosts {
		x := r.x + between + float64(k/rows)*(cell.w+between)
		y := r.y + between + heading + float64(k%rows)*(cell.h+between)
		d.outline(cell.movedTo(x, y), d.kind(i))
		d.lines(point{x + padding, y + padding}, d.text(i), host)
	}
}

// frame draws the frame behind the boxes of several hosts.
func (d *drawing) frame(r rect) {
	d.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="12" fill="%s" fill-opacity="0.12" `+
		`stroke="%s" stroke-width="1.5"/>`, r.x, r.y, r.w, r.h, middle, middle)
}

// A kind is the kind of a box.
type kind int

const (
	note kind = iota
	host
	unmanaged
)

func (d *drawing) kind(i int) kind {
	if d.Hosts[i].Unmanaged {
		return unmanaged
	}
	return host
}

// box draws a box with rows of text, vertically centred.
func (d *drawing) box(r rect, rows []row, k kind) {
	d.outline(r, k)
	d.lines(point{r.x + padding, r.y + (r.h-float64(len(rows))*lineHeight)/2}, rows, k)
}

func (d *drawing) outline(r rect, k kind) {
	fill, stroke := paper, `stroke="`+border+`" stroke-width="1.5"`
	switch k {
	case note:
		stroke = `stroke="` + middle + `" stroke-width="0.5"`
	case unmanaged:
		fill, stroke = shade, stroke+` stroke-dasharray="6 4"`
	}
	d.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6" fill="%s" %s/>`, r.x, r.y, r.w, r.h, fill, stroke)
}

// lines draws rows of text from the top left. The first row of a host is its name.
func (d *drawing) lines(from point, rows []row, k kind) {
	const baseline = 0.76 * lineHeight
	y := from.y + baseline
	for i, w := range rows {
		x := from.x
		if w.where != "" {
			colour := blue
			if w.where == outside {
				colour = brown
			}
			d.add(`<text x="%.1f" y="%.1f" fill="%s">%s</text>`, x, y, colour, w.where)
			x += float64(len(tagged(w.where))) * charWidth
		}
		weight := ""
		if k != note && i == 0 {
			weight = ` font-weight="bold"`
		}
		colour := ""
		if w.state != notAsked {
			c, _ := w.state.style()
			colour = ` fill="` + c + `"`
		}
		d.add(`<text x="%.1f" y="%.1f"%s%s>%s</text>`, x, y, weight, colour, xmlText(w.text))
		y += lineHeight
	}
}

// style returns the colour and dashes of an arrow. Dashes make it readable without colours.
func (s shake) style() (colour, dashes string) {
	switch s {
	case recent:
		return green, ""
	case older:
		return brown, "9 3"
	case never:
		return red, "4 4"
	case unknown:
		return middle, "1.5 4"
	}
	return middle, ""
}

// curve draws an arrow.
func (d *drawing) curve(c curve) {
	colour, dashes := c.state.style()
	if dashes != "" {
		dashes = fmt.Sprintf(` stroke-dasharray="%s"`, dashes)
	}
	d.add(`<path d="M%.1f %.1fQ%.1f %.1f %.1f %.1f" fill="none" stroke="%s" stroke-width="1.5"%s/>`,
		c.start.x, c.start.y, c.pull.x, c.pull.y, c.end.x, c.end.y, colour, dashes)
	if !c.blind {
		d.tip(c.pull, c.end, colour)
	}
	if c.both {
		d.tip(c.pull, c.start, colour)
	}
}

// tip draws an arrowhead at to, on a line that comes from the point from.
func (d *drawing) tip(from, to point, colour string) {
	const long, wide = 9.0, 3.5
	dx, dy := to.x-from.x, to.y-from.y
	n := max(math.Hypot(dx, dy), 1)
	dx, dy = dx/n, dy/n
	x, y := to.x-long*dx, to.y-long*dy
	d.add(`<path d="M%.1f %.1fL%.1f %.1fL%.1f %.1fZ" fill="%s"/>`,
		to.x, to.y, x-wide*dy, y+wide*dx, x+wide*dy, y-wide*dx, colour)
}

// key returns the legend of the drawing.
func (d *drawing) key() []row {
	rows := []row{{text: "tunnel " + d.Tunnel}, {text: legend}}
	if slices.ContainsFunc(d.Hosts, func(h tunnel.Node) bool { return h.Unmanaged }) {
		rows = append(rows, row{text: "dashed box: nobody logs in there (managed = false)"})
	}
	means := []struct {
		state shake
		text  string
	}{
		{recent, "green: a handshake of the last 3 min"},
		{older, "long dashes: the last handshake is older"},
		{never, "red dashes: no handshake yet"},
		{unknown, "dots: not known"},
	}
	for _, m := range means {
		if slices.ContainsFunc(d.Links, func(l tunnel.Link) bool {
			state, _ := d.handshake(l.A, l.B)
			return state == m.state
		}) {
			rows = append(rows, row{text: m.text, state: m.state})
		}
	}
	return rows
}

// xmlText escapes s for XML, as for HTML: package encoding/xml would make tables at each start of
// the program.
func xmlText(s string) string { return html.EscapeString(printable(s)) }
