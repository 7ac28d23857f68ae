package tunnel

import (
	"bytes"

	"github.com/pelletier/go-toml/v2/unstable"

	"wgkeys/keyring/parallel"
)

// A large file is parsed in parts at the same time, each on a processor of its own. A part
// begins with the header of a host, so that nothing in it depends on what is before. If
// something does, or anything is wrong, the file is parsed again as a whole: so the parts
// decide nothing but how long it takes.

// hostTable is how the header of a host begins.
const hostTable = "[hosts."

// leastPart is how many bytes are worth a part.
const leastPart = 64 << 10

// split cuts a text into parts.
func split(text []byte) (parts [][]byte) {
	from := 0
	for _, r := range parallel.Ranges(len(text), leastPart)[1:] {
		at := nextHost(text, max(from, r.From-1))
		if at < 0 {
			break
		}
		parts, from = append(parts, text[from:at]), at
	}
	return append(parts, text[from:])
}

// nextHost returns the offset of the first line after the offset from that looks like the
// header of a host, or -1. It may be in a string: then the part before it has no end.
func nextHost(text []byte, from int) int {
	for {
		n := bytes.Index(text[from:], []byte("\n"+hostTable))
		if n < 0 {
			return -1
		}
		from += n + 1
		name := text[from+len(hostTable):]
		if end := bytes.IndexAny(name, ".]\n"); end >= 0 && name[end] == ']' {
			return from
		}
	}
}

// parts merges the parts of a file, and reports whether it could.
func (m *merger) parts(src *source, parts [][]byte) bool {
	if len(parts) < 2 || len(m.root.vals) > 0 || anyTooMuch(parts) {
		return false
	}
	all := make([]merger, len(parts))
	above := 0
	lines := make([]int, len(parts)) // before each part
	for i, text := range parts {
		lines[i] = above
		above += bytes.Count(text, newline)
		all[i].many = m.many / (i + 1)
	}
	parallel.Each(len(parts), func(i int) {
		all[i].root = all[i].newTable(m.root.pos, nil, "")
		all[i].part(src, parts[i], lines[i])
	})
	for i := range all {
		if len(all[i].list) > 0 || i > 0 && !all[0].join(all[0].root, all[i].root) {
			return false
		}
	}
	m.root = all[0].root
	return true
}

// anyTooMuch reports whether the parts may exceed the bounds of a file.
func anyTooMuch(parts [][]byte) bool {
	values := make([]int, len(parts))
	parallel.Each(len(parts), func(i int) {
		offset, n, _ := tooMuch(parts[i])
		if values[i] = n; offset >= 0 {
			values[i] = maxValues + 1
		}
	})
	sum := 0
	for _, n := range values {
		sum += n
	}
	return sum > maxValues
}

// join adds what the table of a later part has to that of an earlier one. It reports false if
// both have the same key, unless that is the table of the hosts.
func (m *merger) join(table, later *node) bool {
	for _, v := range later.vals {
		switch old := table.get(v.name); {
		case old == nil:
			v.parent = table
			m.put(table, v)
		case table != m.root || !goesOn(old, v) || !m.join(old, v):
			return false
		}
	}
	return true
}

// goesOn reports whether later, of the headers of a part, may add to the table old of an
// earlier part (see [merger.step]).
func goesOn(old, later *node) bool {
	return old.kind == unstable.Table && old.maker.by != byBraces &&
		later.kind == unstable.Table && later.maker.by == onTheWay
}
