package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// permute moves the flags before the names, because package cli stops reading flags at the
// first name: then "wgkeys gen basalt -t wg1" and "wgkeys -C repo gen basalt" work. After
// "--" everything is a name. The names are left out if help is asked for or a flag lacks
// its value: package cli would take "--", or the next flag, for the value.
func permute(app *cli.App, args []string) (sorted []string, help bool) {
	valued, plain := flagNames(app, args[1:])
	var verb, flags, names []string
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			names = append(names, args[i+1:]...)
			i = len(args)
		case flagName(a) == "h" || flagName(a) == "help":
			help = true
		case valued[flagName(a)] && (i+1 == len(args) || valued[flagName(args[i+1])] || plain[flagName(args[i+1])]):
			return slices.Concat(args[:1], verb, flags, []string{a}), help
		case valued[flagName(a)]:
			flags = append(flags, a, args[i+1])
			i++
		case flagName(a) != "":
			flags = append(flags, a)
		case verb == nil:
			verb = []string{a}
		default:
			names = append(names, a)
		}
	}
	if help {
		return slices.Concat(args[:1], verb), true
	}
	sorted = slices.Concat(args[:1], verb, flags)
	if names != nil {
		sorted = append(append(sorted, "--"), names...)
	}
	return sorted, false
}

// flagName is what follows the dashes of a flag, "" if arg is none.
func flagName(arg string) string {
	if !strings.HasPrefix(arg, "-") {
		return ""
	}
	return strings.TrimLeft(arg, "-")
}

// flagNames are the names of the flags that take a value, and of those that do not. If a flag
// takes one for some verbs only, it is that of the verb in args.
func flagNames(app *cli.App, args []string) (valued, plain map[string]bool) {
	valued, plain = map[string]bool{}, map[string]bool{}
	for _, c := range app.Commands {
		addFlags(c, valued, plain)
	}
	for name := range plain {
		delete(valued, name)
	}
	for i := 0; i < len(args); i++ {
		switch name := flagName(args[i]); {
		case valued[name]:
			i++
		case name == "": // the verb
			if c := app.Command(args[i]); c != nil {
				own := map[string]bool{}
				addFlags(c, valued, own)
				for name := range valued {
					delete(plain, name)
				}
				maps.Copy(plain, own)
			}
			return valued, plain
		}
	}
	return valued, plain
}

// addFlags adds the names of a command's flags: those that take a value, and the others.
func addFlags(c *cli.Command, valued, plain map[string]bool) {
	for _, f := range c.Flags {
		names := valued
		if _, ok := f.(*cli.BoolFlag); ok {
			names = plain
		}
		for _, name := range flagNamesOf(f) {
			names[name] = true
		}
	}
}

// flagNamesOf are the names of a flag. Its own method puts each through a regular expression: for the
// flags of all verbs that is a twentieth of the time of a start.
func flagNamesOf(f cli.Flag) []string {
	switch f := f.(type) {
	case *cli.BoolFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *cli.StringFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *cli.StringSliceFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *cli.IntFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *cli.DurationFlag:
		return append([]string{f.Name}, f.Aliases...)
	}
	return f.Names()
}
