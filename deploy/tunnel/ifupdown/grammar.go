package ifupdown

import (
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/lazyregexp"
)

// A config is the content of the files, before it is interpreted.
type config struct {
	*foreign.Reader
	files   []string
	stanzas []*stanza
	byName  map[string][]*stanza
	groups  []group   // auto, allow-hotplug, no-auto-down …
	sources []include // patterns of more files
	ng      bool      // it has a word that only ifupdown-ng knows

	named    map[string][]named // groups, by the interfaces that they name
	patterns []named

	current *stanza  // the stanza that the next options belong to; nil: none
	mapping bool     // the next lines belong to a mapping
	pending []string // comments that may belong to the next line

	inherited int // number of options
}

// A stanza is one iface of interfaces(5), or a template of ifupdown-ng.
type stanza struct {
	at             foreign.Pos
	name           string
	family, method string // "": none, as in ifupdown-ng
	template       bool   // exists only for others to inherit from
	inherited      bool   // another stanza inherits from it
	options        []option
	comments       []string

	byKey     map[string][]option // options other than commands
	variables map[string][]string // values in the environment of commands, by name
	used      map[string]bool     // variables that a command uses
}

// An option is a line in a stanza.
type option struct {
	at         foreign.Pos
	key, value string
}

// A group is a line that names interfaces: auto, allow-CLASS, no-auto-down, no-scripts,
// rename, mapping.
type group struct {
	at       foreign.Pos
	word     string
	names    []string
	comments []string
}

// A named is one interface in a group, as "physical=logical".
type named struct {
	group             *group
	physical, logical string
}

// An include is a source or source-directory line.
type include struct {
	at      foreign.Pos
	pattern string
}

// hookKeys are the options that hold a command, each with the name of the phase in which
// ifupdown runs it.
var hookKeys = map[string]string{
	"pre-up": "pre-up", "up": "up", "post-up": "up", "down": "down", "pre-down": "down", "post-down": "post-down",
}

func isHook(key string) bool { return hookKeys[key] != "" }

// variable returns the name of the environment variable in which the commands of a stanza
// find an option (interfaces(5)).
func variable(key string) string { return "IF_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }

var variables = lazyregexp.New(`IF_[A-Z0-9_]+`)

// index fills the maps of the stanza.
func (s *stanza) index() {
	s.byKey, s.variables, s.used = map[string][]option{}, map[string][]string{}, map[string]bool{}
	for _, o := range s.options {
		if isHook(o.key) {
			for _, name := range variables().FindAllString(o.value, -1) {
				s.used[name] = true
			}
			continue
		}
		s.byKey[o.key] = append(s.byKey[o.key], o)
		s.variables[variable(o.key)] = append(s.variables[variable(o.key)], o.value)
	}
}

// all returns the options with these keys.
func (s *stanza) all(keys ...string) (found []option) {
	for _, key := range keys {
		found = append(found, s.byKey[key]...)
	}
	return found
}

// read reads the lines of a file. At its end the stanza ends: ifupdown reads a file as if
// it stood in the place of the source line, but a stanza does not continue in another file.
func (c *config) read(f foreign.File) {
	c.files = append(c.files, f.Name)
	c.current, c.mapping, c.pending = nil, false, nil
	for l := range lines(f) {
		switch {
		case l.text == "":
			if c.current == nil {
				c.pending = nil // a comment that stands alone belongs to no interface
			}
		case l.text[0] == '#':
			if text, ok := foreign.Comment(l.text); ok {
				c.pending = append(c.pending, text)
			}
		case strings.ContainsFunc(l.text, control):
			c.Wrong(l.at, "", "a control character is in the line")
		default:
			c.line(l)
		}
	}
	c.endStanza()
}

// control reports whether r is a control character other than a tab.
func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func (c *config) line(l line) {
	word, rest := cut(l.text)
	switch {
	case word == "iface" || word == "template":
		c.iface(l.at, word, rest)
	case word == "auto", word == "no-auto-down", word == "no-scripts", word == "rename", word == "mapping",
		strings.HasPrefix(word, "allow-"):
		c.endStanza()
		c.groups = append(c.groups, group{l.at, word, strings.Fields(rest), c.take()})
		c.mapping = word == "mapping"
	case word == "source", word == "source-directory", word == "source-dir":
		c.endStanza()
		c.source(l.at, word, rest)
	case c.mapping && (word == "script" || word == "map"):
	case c.current != nil:
		c.option(l.at, word, rest)
	default:
		c.Unknown(l.at, "interfaces", word, keywords)
	}
}

// keywords are the words that begin a stanza or a group.
var keywords = []string{"auto", "iface", "mapping", "source", "source-directory", "allow-auto", "allow-hotplug",
	"no-auto-down", "no-scripts", "rename", "template"}

// take returns the pending comments and forgets them.
func (c *config) take() (comments []string) {
	comments, c.pending = c.pending, nil
	return comments
}

func (c *config) endStanza() {
	c.current, c.mapping = nil, false
}

// iface begins a stanza: "iface NAME FAMILY METHOD [inherits NAME]" or, in ifupdown-ng,
// "iface NAME [inherits NAME]".
func (c *config) iface(at foreign.Pos, word, rest string) {
	c.endStanza()
	s := &stanza{at: at, template: word == "template", comments: c.take()}
	c.current = s
	c.stanzas = append(c.stanzas, s)
	w := strings.Fields(rest)
	if len(w) == 0 {
		c.Wrong(at, "", "%s names no interface", word)
		return
	}
	s.name, w = w[0], w[1:]
	if c.byName == nil {
		c.byName = map[string][]*stanza{}
	}
	c.byName[s.name] = append(c.byName[s.name], s)
	if len(w) >= 2 && w[0] != "inherits" {
		s.family, s.method, w = w[0], w[1], w[2:]
	}
	c.ng = c.ng || s.family == "" && len(w) == 0 || word == "template"
	switch {
	case len(w) == 0:
	case len(w) == 2 && w[0] == "inherits":
		c.inherit(s, at, w[1])
	default:
		c.Wrong(at, "iface NAME inet static", "iface %s: an address family and a method are to follow, and no more",
			foreign.Shown(s.name))
	}
}

// maxInherited bounds the number of options that stanzas inherit.
const maxInherited = 1 << 16

// inherit gives s the options of an earlier stanza, which has to be of the same family if s
// has one (read_interfaces in ifupdown's config.c).
func (c *config) inherit(s *stanza, at foreign.Pos, from string) {
	for _, t := range slices.Backward(c.byName[from]) {
		if t != s && (s.family == "" || t.family == s.family) {
			if s.family == "" {
				s.family, s.method = t.family, t.method
			}
			if c.inherited += len(t.options); c.inherited > maxInherited {
				c.Wrong(at, "", "iface %s inherits too much", foreign.Shown(s.name))
				return
			}
			s.options = append(s.options, t.options...)
			t.inherited = true
			return
		}
	}
	c.Wrong(at, "", "iface %s inherits from %s, which does not stand before it", foreign.Shown(s.name),
		foreign.Shown(from))
}

func (c *config) option(at foreign.Pos, key, value string) {
	s := c.current
	s.comments = append(s.comments, c.take()...)
	switch {
	case value == "":
		c.Wrong(at, "", "%s has no value", foreign.Shown(key))
		return
	case key == "inherit":
		c.ng = true
		c.inherit(s, at, value)
		return
	case key == "use", key == "requires", strings.HasPrefix(key, "wireguard-"), strings.HasPrefix(key, "forward-ipv"):
		c.ng = true
	}
	s.options = append(s.options, option{at, key, value})
}

func (c *config) source(at foreign.Pos, word, pattern string) {
	if pattern == "" {
		c.Wrong(at, "", "%s names no file", word)
		return
	}
	if word != "source" {
		pattern = path.Join(pattern, "*")
	}
	c.sources = append(c.sources, include{at, pattern})
}

// missing returns the source lines for which no file was given.
func (c *config) missing() (list []include) {
	for _, s := range c.sources {
		here := slices.ContainsFunc(c.files, func(name string) bool {
			whole, _ := path.Match(s.pattern, name)
			base, _ := path.Match(path.Base(s.pattern), path.Base(name))
			return name != s.at.File && (whole || base)
		})
		if !here {
			list = append(list, s)
		}
	}
	return list
}

// index fills the maps of groups by name, once for all devices.
func (c *config) index() {
	c.named = map[string][]named{}
	for i := range c.groups {
		g := &c.groups[i]
		for _, name := range g.names {
			physical, logical, _ := strings.Cut(name, "=")
			n := named{g, physical, logical}
			switch {
			case strings.ContainsAny(physical, "*?[") || strings.HasPrefix(physical, "/"):
				c.patterns = append(c.patterns, n)
				continue
			case logical != "" && logical != physical:
				c.named[logical] = append(c.named[logical], n)
			}
			c.named[physical] = append(c.named[physical], n)
		}
	}
}
