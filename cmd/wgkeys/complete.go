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

// askComplete is the word by which the shells' scripts ask.
const askComplete = "__complete"

// What a script is to complete by the shell's own means.
const someFile, someFolder = ":files", ":dirs"

// taggedVerbs are the verbs that take patterns of names, and tags.
var taggedVerbs = []string{"push", "rotate", "status", "plan", "apply", "confirm", "down", "install", "uninstall"}

// A completer finds what may stand in the place of the last of some words.
type completer struct {
	app     *cli.App
	verb    *cli.Command
	names   []string // after the verb
	folder  string   // of -C
	tunnel  string   // of -t
	current string

	valued  map[string]bool // the flags that take a value
	waiting string          // the flag that the next word is the value of
	named   bool            // after "--": names alone come

	found [][2]string // a word and what it is
}

// complete writes what the last word may be, a line each, with a tab before what is said
// of it. The words are those after the program's name.
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

// find reads the words before the last one as the command line will be read, and then
// finds what that one may be.
func (c *completer) find(before []string) {
	c.valued = valueFlags(c.app, before)
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

// read takes a word before the one that is completed.
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
	}
}

// isHelp tells whether the line begins with wgkeys help.
func (c *completer) isHelp() bool { return c.verb == nil && len(c.names) > 0 && c.names[0] == "help" }

func (c *completer) set(flag, value string) {
	switch flag {
	case "C":
		c.folder = value
	case "t", "tunnel":
		c.tunnel = value
	}
}

// name takes a word that is no flag: the verb, or a name after it.
func (c *completer) name(word string) {
	if c.verb == nil && len(c.names) == 0 {
		if c.verb = c.app.Command(word); c.verb != nil {
			return
		}
	}
	c.names = append(c.names, word)
}

// add finds a word, if it goes on from what is there.
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

// words finds what may stand where no flag does.
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

// args finds names for the verb.
func (c *completer) args() {
	usage := c.verb.ArgsUsage
	switch several := strings.Contains(usage, "..."); {
	case !several && len(c.names) > 0:
	case c.verb.Name == "completion":
		c.all(shellNames, "", c.current)
	case strings.Contains(usage, "FILE"):
		c.found = append(c.found, [2]string{someFile})
	case strings.Contains(usage, "DIR"):
		c.found = append(c.found, [2]string{someFolder})
	case strings.Contains(usage, "HOST"):
		logsIn := slices.Contains(taggedVerbs, c.verb.Name)
		c.hosts("", c.current, logsIn)
		if logsIn {
			c.tags()
		}
	}
}

// flags finds those of the verb.
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

// values finds what a flag may have, by the word that stands for it in the help.
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
			c.hosts(prefix, typed, false)
		case "TUNNEL":
			c.all(c.tunnelNames(), prefix, typed)
		default:
			c.all(valuesOf(c.verb.Name, flag), prefix, typed)
		}
	}
}

// valuesOf are what a flag may have, where that is a set.
func valuesOf(verb, flag string) []string {
	switch verb + " --" + flag {
	case "import --format":
		return formats.Names(true)
	case "export --format":
		return formats.Names(false)
	case "graph --format":
		return slices.Sorted(maps.Keys(drawings))
	case "check --annotate":
		return slices.Sorted(maps.Keys(annotators))
	}
	return nil
}

// repo is the repository at hand, nil where there is none.
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

// tunnels are those that the line is about, as far as their files can be read.
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

// hosts finds those of the tunnels, or only those that somebody logs in to. A tunnel file
// that is being written may be wrong: then they are those that have keys.
func (c *completer) hosts(prefix, typed string, managed bool) {
	known := map[string]bool{}
	tunnels := c.tunnels()
	for _, t := range tunnels {
		for _, h := range t.Hosts() {
			if !managed || !t.Unmanaged(h) {
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
