package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// help prints the help text of the verb or the guide to the topic in words, or the help
// text of the program. Package
// cli's own help stays off at every level: it makes "h" and "help" words of the
// command line, which are good names for hosts.
func help(u *ui.UI, app *cli.App, words []string) error {
	if len(words) == 0 || words[0] == "help" {
		u.Printf("%s", appHelp(app))
		return nil
	}
	for _, c := range app.Commands {
		if c.Name == words[0] {
			u.Printf("%s", verbHelp(c))
			return nil
		}
	}
	for _, t := range topics() {
		if t.name == words[0] {
			u.Printf("%s", t.text)
			return nil
		}
	}
	return noSuchVerb(words[0], app)
}

const appEnd = `
Flags stand before or after names; what follows "--" is a name.
"wgkeys VERB --help" tells the flags of a verb, "wgkeys --version" which wgkeys
this is.

Files, in the repository:
    wgkeys.toml                  marks the repository; empty will do
    tunnels/wg0.toml             the tunnel, plain, all its hosts
    keyring/HOST/wg0.pub         public keys, plain
    vault/recipients.txt         who can decrypt, as age -R reads it
    vault/HOST/wg0.key.age       private keys, encrypted with age

Identities, to decrypt, are those of -i FILE and no others. Without -i they are
all that are found in
    $WGKEYS_IDENTITY and $SOPS_AGE_KEY_FILE
    ~/.config/wgkeys/identity.txt and ~/.config/sops/age/keys.txt

Exit codes:
    0  done, or nothing to do
    1  failed
    2  called wrongly
    3  some hosts failed, others did not
    4  plan, or a dry run of apply or down: there is a step to take;
       check: there is a finding
`

func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wgkeys: %s\n\nUsage: wgkeys VERB [FLAGS] [NAME...]\n\nVerbs:\n", app.Usage)
	for _, c := range app.Commands {
		if !c.Hidden {
			fmt.Fprintf(&b, "    %-9s %-14s %s\n", c.Name, c.ArgsUsage, c.Usage)
		}
	}
	b.WriteString("\nGuides, by \"wgkeys help TOPIC\":\n")
	for _, t := range topics() {
		fmt.Fprintf(&b, "    %-10s  %s\n", t.name, t.title)
	}
	b.WriteString(appEnd)
	return b.String()
}

func verbHelp(c *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wgkeys %s: %s\n\nUsage: wgkeys %s\n", c.Name, c.Usage,
		strings.TrimSpace(c.Name+" [FLAGS] "+c.ArgsUsage))
	if c.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", c.Description)
	}
	b.WriteString("\nFlags:\n")
	for _, f := range c.VisibleFlags() {
		left, usage := flagHelp(f)
		fmt.Fprintf(&b, "    %-24s  %s\n", left, usage)
	}
	fmt.Fprintf(&b, "    %-24s  %s\n", "-h, --help", "show this help")
	return b.String()
}

// flagHelp spells a flag, short before long and with its value, and what it
// does.
func flagHelp(f cli.Flag) (left, usage string) {
	short, long := "    ", ""
	for _, name := range f.Names() {
		if len(name) == 1 {
			short = "-" + name
		} else {
			long = "--" + name
		}
	}
	left = short + long
	if short != "    " && long != "" {
		left = short + ", " + long
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return left, ""
	}
	value, usage := unquoted(doc.GetUsage())
	if doc.TakesValue() {
		left += " " + value
		if def := doc.GetDefaultText(); def != "" {
			usage += " (default: " + def + ")"
		}
	}
	return left, usage
}

// unquoted takes the back quotes from around the word in usage that stands for
// the flag's value.
func unquoted(usage string) (value, text string) {
	before, rest, found := strings.Cut(usage, "`")
	value, after, closed := strings.Cut(rest, "`")
	if !found || !closed {
		return "VALUE", usage
	}
	return value, before + value + after
}

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// flagError puts into our words what package flag says of a command line.
func flagError(err error, flags []cli.Flag) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var known []string
		for _, f := range flags {
			known = append(known, f.Names()...)
		}
		why := "there is no flag " + dashed(name)
		if near := ui.DidYouMean(name, known, dashed); near != "" {
			why += ": " + near
		}
		return errors.New(why)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return errors.New("the flag " + dashed(name) + " needs a value")
	}
	return err
}

// noSuchVerb is the error of a verb that is none.
func noSuchVerb(typed string, app *cli.App) error {
	for _, t := range topics() {
		if t.name == typed {
			return ui.Usage("no such command", typed, "it is a guide", "wgkeys help "+typed)
		}
	}
	return ui.Usage("no such command", typed, didYouMean(typed, app), "wgkeys --help")
}

// didYouMean says which verb or guide is near to the one that was typed.
func didYouMean(typed string, app *cli.App) string {
	var known []string
	for _, c := range app.VisibleCommands() {
		known = append(known, c.Name)
	}
	guide := map[string]bool{}
	for _, t := range topics() {
		known, guide[t.name] = append(known, t.name), true
	}
	spell := func(name string) string {
		if guide[name] {
			name = "help " + name
		}
		return strconv.Quote(name)
	}
	return cmp.Or(ui.DidYouMean(typed, known, spell), "it is none of wgkeys'")
}
