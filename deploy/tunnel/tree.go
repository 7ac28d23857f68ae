package tunnel

import (
	"bytes"
	"errors"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"

	"wgkeys/keyring/files"
)

// A node is a TOML value with its place and its key.
type node struct {
	pos
	kind   unstable.Kind    // unstable.Table for every table
	text   string           // of a scalar, strings unquoted
	vals   []*node          // of an array, or of a table in the order of the files
	table  map[string]*node // the same by name, where there are more than few
	maker  maker            // of a table
	parent *node
	name   string
}

// path returns the key of n as TOML spells it: hosts.shale.mtu.
func (n *node) path() string {
	switch {
	case n.parent == nil:
		return ""
	case n.parent.kind == unstable.Array:
		return n.parent.path()
	}
	if up := n.parent.path(); up != "" {
		return up + "." + bare(n.name)
	}
	return bare(n.name)
}

// bare spells a part of a key without quotes if TOML allows it.
func bare(name string) string {
	if name == "" || !spelled(name, "-_") {
		return shown(name)
	}
	return name
}

// where names a table for an error.
func (n *node) where() string {
	if n.parent == nil {
		return "at the top of the file"
	}
	return "in [" + n.path() + "]"
}

func (m *merger) newTable(at pos, parent *node, name string) *node {
	n := m.newNode()
	*n = node{pos: at, kind: unstable.Table, parent: parent, name: name}
	return n
}

// newNode takes nodes from many that are allocated at once: one by one, those of ten
// thousand hosts take several times as long.
func (m *merger) newNode() *node {
	const many = 64
	if len(m.free) == 0 {
		m.free = make([]node, many)
	}
	n := &m.free[0]
	m.free = m.free[1:]
	return n
}

// few is how many keys are compared one by one: the table of a host has no more, and a map
// for each of ten thousand takes time and memory.
const few = 8

// put adds v to the table n under its name.
func (m *merger) put(n, v *node) {
	if n.vals == nil {
		n.vals = make([]*node, 0, few/2)
	}
	n.vals = append(n.vals, v)
	switch {
	case len(n.vals) == few+1:
		room := 2 * few
		if n.parent == m.root { // the hosts
			room = max(room, m.many)
			n.vals = slices.Grow(n.vals, room)
		}
		n.table = make(map[string]*node, room)
		for _, v := range n.vals {
			n.table[v.name] = v
		}
	case n.table != nil:
		n.table[v.name] = v
	}
}

// get returns what the table has under a key: nil if nothing.
func (n *node) get(name string) *node {
	if n.table != nil {
		return n.table[name]
	}
	for _, v := range n.vals {
		if v.name == name {
			return v
		}
	}
	return nil
}

// A merger builds one tree from the files of a tunnel. What a document may define twice
// follows TOML's rules, which hold for each file by itself; go-toml's own check of them
// takes the square of the number of hosts.
type merger struct {
	problems
	root   *node
	free   []node  // see newNode
	src    *source // the present file
	files  int
	text   string   // of the present part of that
	above  int      // how many lines are before it
	lines  []uint32 // offsets of its newlines
	near   int      // index of the line that was asked for last
	many   int      // an estimate of the hosts
	parser unstable.Parser
}

// file merges one file.
func (m *merger) file(name string, text []byte) {
	src := &source{name, m.files}
	m.files++
	if m.root == nil {
		m.root = m.newTable(pos{src, 1}, nil, "")
	}
	m.many = bytes.Count(text, []byte("\n"+hostTable))
	if m.parts(src, split(text)) {
		return
	}
	if offset, _, what := tooMuch(text); offset >= 0 {
		m.open(src, text, 0)
		m.add(m.line(offset), "", "%s", what)
		return
	}
	m.part(src, text, 0)
}

// part merges a part of a file; above is how many lines are before it.
func (m *merger) part(src *source, text []byte, above int) {
	m.open(src, text, above)
	m.parser.Reset(slices.Clip(text))
	for at := m.root; m.parser.NextExpression(); {
		switch e := m.parser.Expression(); e.Kind {
		case unstable.KeyValue:
			m.keyValue(at, e)
		case unstable.Table:
			at = m.header(e)
		case unstable.ArrayTable:
			at = m.arrayTable(e)
		}
	}
	m.syntax(text)
}

// open makes text the present part.
func (m *merger) open(src *source, text []byte, above int) {
	m.src, m.text, m.near, m.above = src, string(text), 0, above
	m.lines = make([]uint32, 0, bytes.Count(text, newline))
	for i, c := range text {
		if c == '\n' {
			m.lines = append(m.lines, uint32(i))
		}
	}
}

var newline = []byte("\n")

// syntax reports where the parser stopped, if not at the end.
func (m *merger) syntax(text []byte) {
	if err, ok := errors.AsType[*unstable.ParserError](m.parser.Error()); ok {
		offset := int(m.parser.Range(err.Highlight).Offset)
		if odd := files.Lookalike(text[offset:]); odd != nil {
			m.add(m.line(offset), "", "%v", odd)
			return
		}
		m.add(m.line(offset), helpKeys, "%s", NotTOML(err.Message, text[offset:]))
	}
}

// line returns the line of an offset: nearly always the one of the last call, or one of the
// next.
func (m *merger) line(offset int) pos {
	if m.near > 0 && int(m.lines[m.near-1]) >= offset {
		m.near, _ = slices.BinarySearch(m.lines[:m.near], uint32(offset))
	}
	for m.near < len(m.lines) && int(m.lines[m.near]) < offset {
		m.near++
	}
	return pos{m.src, m.above + m.near + 1}
}

// spelling returns the data of n. Without escapes that is a part of the file's text: a
// string of its own for each takes longer.
func (m *merger) spelling(n *unstable.Node) string {
	for quotes := range 2 {
		from := int(n.Raw.Offset) + quotes
		if to := from + len(n.Data); to <= len(m.text) && m.text[from:to] == string(n.Data) {
			return m.text[from:to]
		}
	}
	return string(n.Data)
}

// at returns the place of n, or that of its parent for kinds of nodes that have none in the
// parser.
func (m *merger) at(n *unstable.Node, parent pos) pos {
	if n.Raw.Length == 0 {
		return parent
	}
	return m.line(int(n.Raw.Offset))
}

// A maker is what made a table in one file. It decides what may add to the
// table further down in that file (TOML 1.0.0, sections "Table" and "Inline
// Table"); another file may always add.
type maker struct {
	src *source
	by  byte
}

const (
	onTheWay = iota // as a part of a longer header
	byHeader
	byDots
	byBraces
)

// name is a part of a key, cut where it is too long, which is an error.
func (m *merger) name(key *unstable.Node, at pos) string {
	if len(key.Data) > maxKey {
		m.add(at, "", "%s is longer than the %d bytes of a key", shown(string(key.Data)), maxKey)
		return string(key.Data[:maxKey])
	}
	return m.spelling(key)
}

// step returns the table in from that a part of a key names, and makes it if it does not
// exist. If the table may not be extended, that is reported and what follows is read into a
// table that is not used.
func (m *merger) step(from *node, key *unstable.Node, at pos, by byte, may ...byte) *node {
	name := m.name(key, at)
	t := from.get(name)
	switch {
	case t == nil:
		t = m.newTable(at, from, name)
		t.maker = maker{m.src, by}
		m.put(from, t)
	case t.kind != unstable.Table, t.maker.src == m.src && !slices.Contains(may, t.maker.by):
		m.twice(at, t)
		return m.newTable(at, from, name)
	case t.maker.src != m.src || t.maker.by == onTheWay:
		t.maker = maker{m.src, by}
	}
	return t
}

// header returns the table of a line "[a.b.c]".
func (m *merger) header(e *unstable.Node) *node {
	t, at := m.root, pos{m.src, 1}
	for key := e.Key(); key.Next(); {
		at = m.at(key.Node(), at)
		if key.IsLast() {
			t = m.step(t, key.Node(), at, byHeader, onTheWay)
		} else {
			t = m.step(t, key.Node(), at, onTheWay, onTheWay, byHeader, byDots)
		}
	}
	return t
}

func (m *merger) twice(at pos, n *node) {
	m.add(at, "", "%s is already set in %s", n.path(), n.pos)
}

// keyValue puts a line "a.b.c = value" into the table t.
func (m *merger) keyValue(t *node, e *unstable.Node) {
	at := t.pos
	for key := e.Key(); key.Next(); {
		at = m.at(key.Node(), at)
		if key.IsLast() {
			m.set(t, key.Node(), e.Value(), at)
			return
		}
		t = m.step(t, key.Node(), at, byDots, byDots)
	}
}

func (m *merger) set(t *node, key, v *unstable.Node, at pos) {
	name := m.name(key, at)
	if v.Kind == unstable.InlineTable {
		t = m.step(t, key, at, byBraces)
		for it := v.Children(); it.Next(); {
			m.keyValue(t, it.Node())
		}
		return
	}
	if old := t.get(name); old != nil {
		m.twice(at, old)
		return
	}
	m.put(t, m.value(v, t, name, at))
}

func (m *merger) value(v *unstable.Node, parent *node, name string, at pos) *node {
	n := m.newNode()
	*n = node{pos: at, kind: v.Kind, text: m.spelling(v), parent: parent, name: name}
	if v.Kind == unstable.Array {
		for it := v.Children(); it.Next(); {
			elem := it.Node()
			n.vals = append(n.vals, m.value(elem, n, name, m.at(elem, at)))
		}
	}
	return n
}

// arrayTable refuses [[hosts]]: no key of a tunnel file is a list of tables. Its keys go
// into a table that is not used.
func (m *merger) arrayTable(e *unstable.Node) *node {
	at, name := pos{m.src, 1}, ""
	for key := e.Key(); key.Next(); {
		at = m.at(key.Node(), at)
		part := key.Node().Data
		name += "." + bare(string(part[:min(len(part), maxKey)]))
	}
	m.add(at, "", "[[%s]] is a list of tables: write [%[1]s] with single brackets", name[1:])
	return m.newTable(at, nil, "")
}
