package netplan

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"wgkeys/deploy/tunnel/foreign"
)

// A reader reads the nodes of one file.
type reader struct {
	*foreign.Reader
	file string
}

func (y *reader) pos(n *yaml.Node) foreign.Pos { return foreign.Pos{File: y.file, Line: n.Line} }

// A field is a key of a mapping with its value.
type field struct {
	key   string
	at    *yaml.Node // the key
	value *yaml.Node
}

// fields returns the fields of a mapping. A key that occurs twice is an error; netplan uses
// the last.
func (y *reader) fields(n *yaml.Node, what string) (all []field) {
	if n.Kind != yaml.MappingNode {
		y.kind(n, what, "a mapping")
		return nil
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			y.kind(k, what, "a mapping with words for keys")
			continue
		}
		if seen[k.Value] {
			y.Wrong(y.pos(k), "", "%s is given twice", foreign.Shown(k.Value))
			continue
		}
		seen[k.Value] = true
		all = append(all, field{k.Value, k, n.Content[i+1]})
	}
	return all
}

// items returns the elements of a sequence.
func (y *reader) items(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		y.kind(n, what, "a sequence")
		return nil
	}
	return n.Content
}

// text returns the text of a scalar.
func (y *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode {
		y.kind(n, what, "a single value")
		return ""
	}
	return n.Value
}

// kind reports a node of the wrong kind.
func (y *reader) kind(n *yaml.Node, what, want string) {
	switch {
	case n.Kind == yaml.AliasNode:
		y.Wrong(y.pos(n), "write it out", "%s: an alias of YAML stands there", what)
	case n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) == 2 &&
		n.Content[0].Kind == yaml.MappingNode:
		y.Wrong(y.pos(n), "", "%s: a template stands there, {{ … }}", what)
	default:
		y.Wrong(y.pos(n), "", "%s is not %s", what, want)
	}
}

// truth reads a boolean as netplan does (handle_netdef_bool in netplan's parse.c).
func (y *reader) truth(e field) bool {
	switch strings.ToLower(y.text(e.value, e.key)) {
	case "true", "on", "yes", "y":
		return true
	case "false", "off", "no", "n", "":
		return false
	}
	y.Wrong(y.pos(e.value), "", "%s is neither true nor false", e.key)
	return false
}

// comments returns the comments at a node and all nodes below it, except those below the
// keys in without.
func comments(n *yaml.Node, without ...string) (all []string) {
	for _, c := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		for line := range strings.Lines(c) {
			if text, ok := foreign.Comment(line); ok {
				all = append(all, text)
			}
		}
	}
	for i := 0; i < len(n.Content); i++ {
		all = append(all, comments(n.Content[i])...)
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			for _, w := range without {
				if n.Content[i].Value == w {
					i++ // its value
					break
				}
			}
		}
	}
	return all
}

// beside returns the comments at all keys of a mapping but the first: they are about the key, and
// do not name the mapping.
func beside(n *yaml.Node) (all []string) {
	for i := 2; i < len(n.Content); i++ {
		all = append(all, comments(n.Content[i])...)
	}
	return all
}
