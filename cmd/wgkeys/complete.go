package main

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/formats"
)

// askComplete is the word with which the shells' scripts ask for completion.
const askComplete = "__complete"

// What a script completes by the shell's own means.
const someFile, someFolder = ":files", ":dirs"

// taggedVerbs are the verbs that log in to hosts, and take patterns of names, and tags; gen
// takes these too.
var taggedVerbs = []string{"push", "rotate", "status", "plan", "apply", "confirm", "down", "install", "uninstall"}

// A completer finds the possible words in the place of the last one.
type completer struct {
	app     *cli.App
	verb    *cli.Command
	names   []string // after the verb
	folder  string   // of -C
	tunnel  string   // of -t
	current string

	valued  map[string]bool // the flags that take a value
	given   []string        // the flags that take none, as they stand on the line
	waiting string          // the flag whose value is the next word
	named   bool            // after "--": only names follow

	found [][2]string // a word and its description
}

// complete writes the possible last words, a line each, with a tab before the description.
// The words are those after the program's name.
func complete(u *ui.UI, app *cli.App, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	c := &completer{app: app, current: words[len(words)-1]}
	c.find(words[:len(words)-1])
	for _, f := range c.found {
		u.Printf("%s\n", strings.TrimSuffix(f[0]+"\t"+f[1], "\t"))
	}
}

// find parses the words before the last one as the command line will be parsed, and then
// finds what the last one may be.
func (c *completer) find(before []string) {
	c.valued, _ = flagNames(c.app, before)
	for _, w := range before {
		c.read(w)
	}
	flag, value, assigned := strings.Cut(c.current, "=")
	switch {
	case c.waiting != "":
		c.values(c.waiting, "", c.current)
	case c.named || !strings.HasPrefix(c.current, "-"):
		c.words()
	case assigned && strings.HasPrefix(flag, "--"):
		c.values(strings.TrimPrefix(flag, "--"), flag+"=", value)
	default:
		c.flags()
	}
}

// read parses a word before the one that is completed.
func (c *completer) read(word string) {
	flag, value, assigned := strings.Cut(flagName(word), "=")
	switch {
	case c.waiting != "":
		c.set(c.waiting, word)
		c.waiting = ""
	case c.named || !strings.HasPrefix(word, "-"):
		c.name(word)
	case word == "--":
		c.named = true
	case assigned:
		c.set(flag, value)
	case c.valued[flag] || c.isHelp() && (flag == "schema" || flag == "man"):
		c.waiting = flag
	default:
		c.given = append(c.given, flag)
	}
}

// isHelp reports whether the line begins with wgkeys help.
func (c *completer) isHelp() bool { return c.verb == nil && len(c.names) > 0 && c.names[0] == "help" }

func (c *completer) set(flag, value string) {
	switch flag {
	case "C":
		c.folder = value
	case "t", "tunnel":
		c.tunnel = value
	}
}

// name handles a word that is no flag: the verb, or a name after it.
func (c *completer) name(word string) {
	if c.verb == nil && len(c.names) == 0 {
		if c.verb = c.app.Command(word); c.verb != nil {
			return
		}
	}
	c.names = append(c.names, word)
}

// add adds a word, if it begins with what is typed.
func (c *completer) add(word, what, prefix, typed string) {
	if strings.HasPrefix(word, typed) {
		c.found = append(c.found, [2]string{prefix + word, what})
	}
}

func (c *completer) all(words []string, prefix, typed string) {
	for _, w := range words {
		c.add(w, "", prefix, typed)
	}
}

// words finds the words for a place without flags.
func (c *completer) words() {
	switch {
	case c.isHelp():
		for _, t := range topics() {
			c.add(t.name, t.title, "", c.current)
		}
		c.verbs()
	case c.verb == nil && len(c.names) == 0:
		c.verbs()
		c.add("help", "tell how a verb is used, or of a topic", "", c.current)
	case c.verb != nil:
		c.args()
	}
}

func (c *completer) verbs() {
	for _, v := range c.app.VisibleCommands() {
		c.add(v.Name, v.Usage, "", c.current)
	}
}

// ofHosts are the flags of import with which it takes hosts, and no files.
var ofHosts = []string{"live", "take-over", "undo"}

// args finds names for the verb.
func (c *completer) args() {
	usage := c.verb.ArgsUsage
	given := func(flag string) bool { return slices.Contains(c.given, flag) }
	if c.verb.Name == "import" && slices.ContainsFunc(ofHosts, given) {
		usage = "HOST..."
	}
	switch several := strings.Contains(usage, "..."); {
	case !several && len(c.names) > 0:
	case c.verb.Name == "mv" && c.tunnel != "": // the new name of that
	case c.verb.Name == "completion":
		c.all(shellNames, "", c.current)
	case strings.Contains(usage, "FILE"):
		c.found = append(c.found, [2]string{someFile})
	case strings.Contains(usage, "DIR"):
		c.found = append(c.found, [2]string{someFolder})
	case strings.Contains(usage, "HOST"):
		logsIn := slices.Contains(taggedVerbs, c.verb.Name)
		which := anyHost
		if logsIn {
			which = managed
		}
		c.hosts("", c.current, which)
		if logsIn || c.verb.Name == "gen" {
			c.tags()
		}
	}
}

// flags finds the flags of the verb.
func (c *completer) flags() {
	if c.isHelp() {
		c.add("--schema", "print the JSON schema of NAME", "", c.current)
		c.add("--man", "write the pages of the manual into DIR", "", c.current)
		return
	}
	flags := c.app.VisibleFlags()
	if c.verb != nil {
		flags = c.verb.VisibleFlags()
	}
	for _, f := range flags {
		_, usage := flagUsage(f)
		for _, name := range f.Names() {
			if len(name) > 1 || strings.HasPrefix(c.current, "-"+name) || len(f.Names()) == 1 {
				c.add(dashed(name), usage, "", c.current)
			}
		}
	}
	c.add("--help", "show the help of it", "", c.current)
}

// values finds the values of a flag, by their placeholder in the help.
func (c *completer) values(flag, prefix, typed string) {
	if c.isHelp() {
		if flag == "schema" {
			c.all(schemaNames(), prefix, typed)
		} else {
			c.found = append(c.found, [2]string{someFolder})
		}
		return
	}
	if c.verb == nil {
		if flag == "C" {
			c.found = append(c.found, [2]string{someFolder})
		}
		return
	}
	for _, f := range c.verb.Flags {
		if !slices.Contains(f.Names(), flag) {
			continue
		}
		switch value, _ := flagUsage(f); value {
		case "FILE":
			c.found = append(c.found, [2]string{someFile})
		case "DIR":
			c.found = append(c.found, [2]string{someFolder})
		case "HOST", "PEER":
			c.hosts(prefix, typed, anyHost)
		case "TUNNEL":
			c.all(c.tunnelNames(), prefix, typed)
		default:
			c.all(valuesOf(c.verb.Name, flag), prefix, typed)
		}
	}
}

// valuesOf lists the flags whose values are a fixed set.
func valuesOf(verb, flag string) []string {
	switch verb + " --" + flag {
	case "import --format":
		return formats.ImportNames()
	case "export --format":
		return formats.ExportNames()
	case "graph --format":
		return slices.Sorted(maps.Keys(drawings))
	case "check --annotate":
		return slices.Sorted(maps.Keys(annotators))
	}
	return nil
}

// repo is the repository of the command line, nil if there is none.
func (c *completer) repo() *repo.Repo {
	r, err := repo.Find(c.folder)
	if err != nil {
		return nil
	}
	return r
}

func (c *completer) tunnelNames() []string {
	r := c.repo()
	if r == nil {
		return nil
	}
	names, _ := r.TunnelNames("") // without a tunnel there is nothing to complete
	return names
}

// tunnels are those that the line is about, if their files can be read.
func (c *completer) tunnels() (all []*tunnel.Tunnel) {
	r := c.repo()
	if r == nil {
		return nil
	}
	for _, name := range c.tunnelNames() {
		if c.tunnel != "" && c.tunnel != name {
			continue
		}
		if t, err := repo.Parse(r, name); err == nil {
			all = append(all, t)
		}
	}
	return all
}

// anyHost and managed are which hosts of a tunnel a place is for.
func anyHost(*tunnel.Tunnel, string) bool        { return true }
func managed(t *tunnel.Tunnel, host string) bool { return !t.Unmanaged(host) }

// hosts finds those hosts of the tunnels. If a tunnel file is invalid, perhaps because it is
// being written, it finds those that have keys.
func (c *completer) hosts(prefix, typed string, which func(*tunnel.Tunnel, string) bool) {
	known := map[string]bool{}
	tunnels := c.tunnels()
	for _, t := range tunnels {
		for _, h := range t.Hosts() {
			if which(t, h) {
				known[h] = true
			}
		}
	}
	if r := c.repo(); r != nil && tunnels == nil {
		entries, _ := os.ReadDir(r.Ring.Dir)
		for _, e := range entries {
			known[e.Name()] = true
		}
	}
	for _, h := range slices.Sorted(maps.Keys(known)) {
		if !slices.Contains(c.names, h) {
			c.add(h, "", prefix, typed)
		}
	}
}

func (c *completer) tags() {
	for _, tag := range tunnel.Tags(c.tunnels()) {
		if !slices.Contains(c.names, "@"+tag) {
			c.add("@"+tag, "all hosts with this tag", "", c.current)
		}
	}
}
