package tunnel

import (
	"errors"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A node is a TOML value with its place and its key.
type node struct {
	pos
	kind   unstable.Kind // unstable.Table for every table
	text   string        // of a scalar, strings unquoted
	list   []*node       // of an array
	table  map[string]*node
	keys   []string // of a table, in the order of the files
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
	name := n.name
	if name == "" || !spelled(name, "-_", true) {
		name = shown(name)
	}
	if up := n.parent.path(); up != "" {
		return up + "." + name
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

func newTable(at pos, parent *node, name string) *node {
	return &node{pos: at, kind: unstable.Table, table: map[string]*node{}, parent: parent, name: name}
}

func (n *node) put(name string, v *node) {
	n.table[name] = v
	n.keys = append(n.keys, name)
}

// A merger builds one tree out of the files of a tunnel.
type merger struct {
	problems
	root   *node
	src    *source
	lines  []int // offsets of the present file's newlines
	parser unstable.Parser
}

// file merges one file. The ordinary decoder goes first: it knows all of TOML's
// rules about one document, so that what is left for the walk below is to merge
// valid documents.
func (m *merger) file(name string, text []byte) {
	m.src = &source{name, m.sources()}
	m.lines = m.lines[:0]
	for i, c := range text {
		if c == '\n' {
			m.lines = append(m.lines, i)
		}
	}
	var document map[string]any
	if err := toml.Unmarshal(text, &document); err != nil {
		m.syntax(err)
		return
	}
	if m.root == nil {
		m.root = newTable(pos{m.src, 1}, nil, "")
	}
	m.parser.Reset(text)
	for at := m.root; m.parser.NextExpression(); {
		switch e := m.parser.Expression(); e.Kind {
		case unstable.KeyValue:
			m.keyValue(at, e)
		case unstable.Table:
			at = m.descend(m.root, e.Key(), pos{m.src, 1})
		case unstable.ArrayTable:
			at = m.arrayTable(e)
		}
	}
}

func (m *merger) sources() int {
	if m.src == nil {
		return 0
	}
	return m.src.order + 1
}

func (m *merger) syntax(err error) {
	line := 1
	if d, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ = d.Position()
	}
	m.add(pos{m.src, line}, "", "%s", strings.TrimPrefix(err.Error(), "toml: "))
}

// at returns the place of n, or that of its parent for the kinds of node to
// which the parser gives none.
func (m *merger) at(n *unstable.Node, parent pos) pos {
	if n.Raw.Length == 0 {
		return parent
	}
	line, _ := slices.BinarySearch(m.lines, int(n.Raw.Offset))
	return pos{m.src, line + 1}
}

// descend returns the table at key, and makes what is missing on the way there.
func (m *merger) descend(from *node, key unstable.Iterator, at pos) *node {
	for key.Next() {
		name := string(key.Node().Data)
		at = m.at(key.Node(), at)
		next, ok := from.table[name]
		switch {
		case !ok:
			next = newTable(at, from, name)
			from.put(name, next)
		case next.kind != unstable.Table:
			m.twice(at, next)
			next = newTable(at, from, name)
		}
		from = next
	}
	return from
}

func (m *merger) twice(at pos, n *node) {
	m.add(at, "", "%s is already set in %s", n.path(), n.pos)
}

// keyValue puts a line "a.b.c = value" into the table.
func (m *merger) keyValue(table *node, e *unstable.Node) {
	at := table.pos
	for key := e.Key(); key.Next(); {
		at = m.at(key.Node(), at)
		name := string(key.Node().Data)
		if key.IsLast() {
			m.set(table, name, e.Value(), at)
			return
		}
		next, ok := table.table[name]
		if !ok {
			next = newTable(at, table, name)
			table.put(name, next)
		} else if next.kind != unstable.Table {
			m.twice(at, next)
			return
		}
		table = next
	}
}

func (m *merger) set(table *node, name string, v *unstable.Node, at pos) {
	old, ok := table.table[name]
	switch {
	case ok && (old.kind != unstable.Table || v.Kind != unstable.InlineTable):
		m.twice(at, old)
		return
	case !ok && v.Kind == unstable.InlineTable:
		old = newTable(at, table, name)
		table.put(name, old)
	case !ok:
		table.put(name, m.value(v, table, name, at))
		return
	}
	for it := v.Children(); it.Next(); {
		m.keyValue(old, it.Node())
	}
}

func (m *merger) value(v *unstable.Node, parent *node, name string, at pos) *node {
	n := &node{pos: at, kind: v.Kind, text: string(v.Data), parent: parent, name: name}
	if v.Kind == unstable.Array {
		for it := v.Children(); it.Next(); {
			elem := it.Node()
			n.list = append(n.list, m.value(elem, n, name, m.at(elem, at)))
		}
	}
	return n
}

// arrayTable refuses [[hosts]]: no key of a tunnel file is a list of tables.
// Its keys go into a table that nobody reads.
func (m *merger) arrayTable(e *unstable.Node) *node {
	at, name := pos{m.src, 1}, ""
	for key := e.Key(); key.Next(); {
		at, name = m.at(key.Node(), at), string(key.Node().Data)
	}
	m.add(at, "", "[[%s]] is a list of tables: write [%[1]s] with single brackets", name)
	return newTable(at, nil, "")
}
