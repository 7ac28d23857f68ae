package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/manual"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/words"
)

// help prints the help text of the verb or the guide named in words, or that of the
// program. If a verb and a guide have the same name, "help NAME" is the guide and "NAME
// --help" the flags. Package cli's own help is off at every level: it would take "h" and
// "help" as subcommands, which are valid names of hosts.
func help(u *ui.UI, app *cli.App, words []string) error {
	colours(u)
	u.Pager = pager()
	if len(words) == 0 || words[0] == "help" {
		ui.Page(u, appHelp(app))
		return nil
	}
	for _, t := range topics() {
		if t.name == words[0] {
			ui.Page(u, t.text())
			return nil
		}
	}
	return helpOfVerb(u, app, words)
}

// helpOfVerb prints the help text of a verb, as its --help does.
func helpOfVerb(u *ui.UI, app *cli.App, words []string) error {
	if len(words) == 0 {
		return help(u, app, nil)
	}
	colours(u)
	u.Pager = pager()
	for _, c := range app.Commands {
		if c.Name == words[0] {
			ui.Page(u, verbHelp(c))
			return nil
		}
	}
	return noSuchVerb(words[0], app)
}

// pager is the program that shows long texts: $PAGER, none if that is empty or cat, and
// less if it is not set.
func pager() string {
	command, set := os.LookupEnv("PAGER")
	if !set {
		if _, err := exec.LookPath("less"); err == nil {
			return "less -FRX"
		}
	}
	if strings.TrimSpace(command) == "cat" {
		return ""
	}
	return command
}

// helpCommand is "wgkeys help" with the words after it.
func helpCommand(u *ui.UI, app *cli.App, words []string) error {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "--" })
	flag, value := "", ""
	if len(words) > 0 {
		flag, value, _ = strings.Cut(words[0], "=")
	}
	if value == "" && len(words) > 1 {
		value = words[1]
	}
	switch {
	case flag == "--man" && value == "":
		return ui.Usage("cannot read the command line of", "wgkeys help", "the flag --man needs a value",
			"wgkeys help --man DIR")
	case flag == "--man":
		return writePages(u, app, value)
	case flag == "--schema":
		return schema(u, value)
	case flagName(flag) == "h", flagName(flag) == "help":
		return help(u, app, words[1:])
	case flagName(flag) != "":
		return ui.Usage("cannot read the command line of", "wgkeys help",
			"there is no flag "+flag+" with this: there are --schema NAME and --man DIR", "wgkeys help")
	}
	return help(u, app, words)
}

// appParts are the rest of the program's help, and of its manual page.
var appParts = []manual.Part{
	{Title: "Command line", Text: `
Flags stand before or after names; what follows "--" is a name.
"wgkeys VERB --help" shows the flags of a verb, "wgkeys --version" which wgkeys
this is, "wgkeys help --schema NAME" the schema of what --json writes, and
"wgkeys completion SHELL" completes all of it in bash, zsh or fish.
`},
	{Title: "Files", Text: `
In the repository:

    wgkeys.toml                  marks the repository; may be empty
    tunnels/wg0.toml             the tunnel, plain, all its hosts
    keyring/HOST/wg0.pub         public keys, plain
    vault/recipients.txt         who can decrypt, as age -R reads it
    vault/HOST/wg0.key.age       private keys, encrypted with age
`},
	{Title: "Identities", Text: `
To decrypt, the identities of -i FILE are used and no others. Without -i they
are those found in

    $WGKEYS_IDENTITY and $SOPS_AGE_KEY_FILE
    ~/.config/wgkeys/identity.txt and ~/.config/sops/age/keys.txt
`},
	{Title: "Environment", Text: `
    NO_COLOR  if it is set and not empty there are no colours
    PAGER     shows help that is longer than the terminal; less, if it is not
              set; none, if it is empty or cat
`},
	{Title: "Exit status", Text: `
    0  done, or nothing to do
    1  failed
    2  called wrongly, or with a name of a host or tunnel that there is not
    3  some hosts failed, others did not
    4  plan, or a dry run of apply or down: there is a step to take;
       check or status: there is a finding
`},
}

func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wgkeys: %s\n\nUsage: wgkeys VERB [FLAGS] [NAME...]\n\nVerbs:\n", app.Usage)
	for _, c := range app.Commands {
		if !c.Hidden {
			left := beside(fmt.Sprintf("    %-10s ", c.Name), c.ArgsUsage)
			if len(left) > 30 {
				left += fmt.Sprintf("\n%30s", "") // the description is on a line of its own
			}
			b.WriteString(beside(fmt.Sprintf("%-30s ", left), c.Usage) + "\n")
		}
	}
	b.WriteString("\nGuides, by \"wgkeys help TOPIC\":\n")
	for _, t := range topics() {
		b.WriteString(beside(fmt.Sprintf("    %-11s  ", t.name), t.title) + "\n")
	}
	for _, p := range appParts {
		fmt.Fprintf(&b, "\n%s:\n\n%s", p.Title, strings.TrimLeft(p.Text, "\n"))
	}
	return b.String()
}

// beside returns the text to the right of left, in as many lines as it takes in a terminal of
// the usual width, and without spaces at the end of one.
func beside(left, text string) string {
	const columns = 80
	last := left[strings.LastIndexByte(left, '\n')+1:]
	indent, used := len(last), len(last)
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case used+1+len(word) > columns:
			left += "\n" + strings.Repeat(" ", indent)
			used = indent
		default:
			left += " "
			used++
		}
		left += word
		used += len(word)
	}
	return strings.TrimRight(left, " ")
}

// reflowed returns the paragraphs of a text in lines of that width; one with indented lines
// stays as it is.
func reflowed(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if !strings.Contains("\n"+p, "\n ") {
			paragraphs[i] = beside("", p)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func verbHelp(c *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n", beside("wgkeys "+c.Name+": ", c.Usage),
		beside("Usage: wgkeys "+c.Name+" ", "[FLAGS] "+c.ArgsUsage))
	if c.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", reflowed(c.Description))
	}
	b.WriteString("\nFlags:\n")
	for _, f := range c.VisibleFlags() {
		left, usage := flagHelp(f)
		b.WriteString(beside(fmt.Sprintf("    %-24s  ", left), usage) + "\n")
	}
	fmt.Fprintf(&b, "    %-24s  %s\n", "-h, --help", "show this help")
	if all := examples(c); all != nil {
		fmt.Fprintf(&b, "\nExamples:\n    %s\n", strings.Join(all, "\n    "))
	}
	for _, t := range topics() {
		if t.name == c.Name {
			fmt.Fprintf(&b, "\nThe guide: wgkeys help %s\n", t.name)
		}
	}
	return b.String()
}

// examples are the lines of a verb's UsageText, which package cli uses only in its own
// help.
func examples(c *cli.Command) []string {
	if c.UsageText == "" {
		return nil
	}
	return strings.Split(c.UsageText, "\n")
}

// flagHelp formats a flag, short before long and with its value, and its description.
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
	value, usage := flagUsage(f)
	return strings.TrimRight(left+" "+value, " "), usage
}

// flagUsage returns the placeholder of a flag's value, "" if it takes none, and its
// description.
func flagUsage(f cli.Flag) (value, usage string) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "", ""
	}
	value, usage = unquoted(doc.GetUsage())
	if !doc.TakesValue() {
		return "", usage
	}
	if def := doc.GetDefaultText(); def != "" {
		usage += " (default: " + def + ")"
	}
	return value, usage
}

// unquoted removes the back quotes around the placeholder in usage.
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

// flagError translates errors of package flag about a command line.
func flagError(err error, flags []cli.Flag) error {
	text := err.Error()
	if name := undefinedFlag(err); name != "" {
		var known []string
		for _, f := range flags {
			known = append(known, f.Names()...)
		}
		why := "there is no flag " + dashed(name)
		if near := ui.DidYouMean(name, known, dashed); near != "" {
			why += ": " + near
		} else if letters := oneLetterFlags(name, known); letters != "" {
			why = "one-letter flags are written apart: " + letters
		}
		return errors.New(why)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return errors.New("the flag " + dashed(name) + " needs a value" + placeholder(name, flags))
	}
	if _, name, ok := strings.Cut(text, " for -"); ok && strings.HasPrefix(text, "invalid boolean value") {
		name, _, _ = strings.Cut(name, ":")
		return errors.New("the flag " + dashed(name) + " has no value")
	}
	return valueError(text, flags, err)
}

// placeholder is ": DIR", with what the help has as the value of a flag.
func placeholder(name string, flags []cli.Flag) string {
	for _, f := range flags {
		if value, _ := flagUsage(f); slices.Contains(f.Names(), name) && value != "" {
			return ": " + value
		}
	}
	return ""
}

// undefinedFlag is the name of the flag that err says is not known, "" for another error.
func undefinedFlag(err error) string {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return ""
	}
	return name
}

// oneLetterFlags spells flags of a letter each that were written as one, "" if one is not known.
func oneLetterFlags(letters string, known []string) string {
	var all []string
	for _, letter := range letters {
		if !slices.Contains(known, string(letter)) {
			return ""
		}
		all = append(all, "-"+string(letter))
	}
	return strings.Join(all, " ")
}

// valueError says what a flag takes that has a value of another type; any other error is
// returned as it is.
func valueError(text string, flags []cli.Flag, err error) error {
	value, rest, _ := strings.Cut(strings.TrimPrefix(text, "invalid value "), " for flag -")
	name, _, found := strings.Cut(rest, ": ")
	if !found {
		return err
	}
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *cli.DurationFlag:
			return errors.New("the flag " + dashed(name) + " takes a time with its unit, as 30s or 5m, not " + value)
		case *cli.IntFlag:
			return errors.New("the flag " + dashed(name) + " takes a number, not " + value)
		}
	}
	return err
}

// noSuchVerb is the error of an unknown verb.
func noSuchVerb(typed string, app *cli.App) error {
	var known []string
	for _, c := range app.VisibleCommands() {
		known = append(known, c.Name)
	}
	guide := map[string]bool{}
	for _, t := range topics() {
		if t.name == typed {
			return ui.Usage("no such command", typed, "it is a guide", "wgkeys help "+typed)
		}
		known, guide[t.name] = append(known, t.name), true
	}
	near := words.Nearest(typed, slices.Values(append(known, "version")))
	switch {
	case near == "":
		return ui.Usage("no such command", typed, "wgkeys has no verb or guide of that name", "wgkeys --help")
	case near == "version":
		return ui.Usage("no such command", typed, "it is a flag", "wgkeys --version")
	case guide[near]:
		return ui.Usage("no such command", typed, `did you mean "help `+near+`"?`, "wgkeys help "+near)
	}
	return ui.Usage("no such command", typed, "did you mean "+strconv.Quote(near)+"?", "wgkeys "+near+" --help")
}
