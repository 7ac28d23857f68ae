package ifupdown

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// A config is what the files say, before anything of it is understood.
type config struct {
	*foreign.Reader
	files   []string
	stanzas []*stanza
	byName  map[string][]*stanza
	groups  []group   // auto, allow-hotplug, no-auto-down …
	sources []include // files that belong to it
	ng      bool      // a word of ifupdown-ng is in it

	named    map[string][]named // the groups by the names in them
	patterns []named

	current *stanza // whose options the next lines are; nil: no one's
	mapping bool    // the next lines are those of a mapping
	pending []string

	inherited int // options
}

// A stanza is one iface of interfaces(5), or a template of ifupdown-ng.
type stanza struct {
	at             foreign.Pos
	name           string
	family, method string // "": not said, as with ifupdown-ng
	template       bool   // there for others to inherit from
	options        []option
	comments       []string

	byKey     map[string][]option // options that are no command
	variables map[string][]string // what commands find in their environment
	used      map[string]bool     // those that a command names
}

// An option is a line of a stanza.
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

// A named is one name of a group: "physical=logical".
type named struct {
	group             *group
	physical, logical string
}

// An include is a source or source-directory line.
type include struct {
	at      foreign.Pos
	pattern string
}

// hookKeys are the options that hold a command, each with the one that ifupdown takes it
// for, in the order of their runs.
var hookKeys = map[string]string{
	"pre-up": "pre-up", "up": "up", "post-up": "up", "down": "down", "pre-down": "down", "post-down": "post-down",
}

func isHook(key string) bool { return hookKeys[key] != "" }

// variable is how the commands of a stanza find an option (interfaces(5)).
func variable(key string) string { return "IF_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }

var variables = regexp.MustCompile(`IF_[A-Z0-9_]+`)

// index prepares what is looked up in a stanza.
func (s *stanza) index() {
	s.byKey, s.variables, s.used = map[string][]option{}, map[string][]string{}, map[string]bool{}
	for _, o := range s.options {
		if isHook(o.key) {
			for _, name := range variables.FindAllString(o.value, -1) {
				s.used[name] = true
			}
			continue
		}
		s.byKey[o.key] = append(s.byKey[o.key], o)
		s.variables[variable(o.key)] = append(s.variables[variable(o.key)], o.value)
	}
}

// all are the options of these keys.
func (s *stanza) all(keys ...string) (found []option) {
	for _, key := range keys {
		found = append(found, s.byKey[key]...)
	}
	return found
}

// read takes in the lines of a file. A file ends every stanza: ifupdown reads what a
// source line names as if it were there, but a stanza does not go on in the next file.
func (c *config) read(f foreign.File) {
	c.files = append(c.files, f.Name)
	c.current, c.mapping, c.pending = nil, false, nil
	for l := range lines(f) {
		switch {
		case l.text == "":
			if c.current == nil {
				c.pending = nil // a comment on its own is no interface's
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

// control tells of characters that no line has but by accident. A tabulator is a blank.
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

// keywords are those that begin a stanza.
var keywords = []string{"auto", "iface", "mapping", "source", "source-directory", "allow-auto", "allow-hotplug",
	"no-auto-down", "no-scripts", "rename", "template"}

// take hands over the comments before a line.
func (c *config) take() (comments []string) {
	comments, c.pending = c.pending, nil
	return comments
}

func (c *config) endStanza() {
	c.current, c.mapping = nil, false
}

// iface begins a stanza: "iface NAME FAMILY METHOD [inherits NAME]", or with ifupdown-ng
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

// maxInherited bounds the options that stanzas get from others.
const maxInherited = 1 << 16

// inherit gives s the options of a stanza that came before, of the same family where
// that is said (read_interfaces of ifupdown's config.c).
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

// missing are the source lines of which no file is here.
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

// index finds the groups of each name, once for all devices.
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
