package main

import (
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/manual"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/files"
)

// pages are the program's manual pages: its own, one for each verb and one for each guide,
// from the same texts as its help.
func pages(app *cli.App) []manual.Page {
	b := thisBuild()
	book := manual.Book{Date: b.day(), Source: b.short()}
	for _, t := range topics() {
		book.Guides = append(book.Guides, t.name)
	}
	var commands []manual.Command
	for _, c := range app.Commands {
		if !c.Hidden {
			commands = append(commands, manualOf(c))
		}
	}
	all := []manual.Page{book.Program(app.Name, app.Usage, commands, appParts)}
	for _, c := range commands {
		all = append(all, book.Command(app.Name, c))
	}
	for _, t := range topics() {
		all = append(all, book.Guide(app.Name, t.name, t.text()))
	}
	return all
}

// manualOf is a verb as its page describes it.
func manualOf(c *cli.Command) manual.Command {
	m := manual.Command{Name: c.Name, Usage: c.Usage, Args: c.ArgsUsage, Description: c.Description,
		Examples: examples(c)}
	for _, f := range c.VisibleFlags() {
		flag := manual.Flag{}
		flag.Value, flag.Usage = flagUsage(f)
		for _, name := range f.Names() {
			flag.Names = append(flag.Names, dashed(name))
		}
		m.Flags = append(m.Flags, flag)
	}
	m.Flags = append(m.Flags, manual.Flag{Names: []string{"-h", "--help"}, Usage: "show the help of this verb"})
	return m
}

// writePages writes them into a folder, as a package has them below /usr/share/man.
func writePages(u *ui.UI, app *cli.App, dir string) error {
	if err := files.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	all := pages(app)
	for _, p := range all {
		f := foreign.File{Text: []byte(p.Text), Mode: "0644"}
		if err := writeOut(filepath.Join(dir, p.File), f); err != nil {
			return err
		}
	}
	u.Say("%s in %s; man -l %s", ui.Plural(len(all), "page"), strings.TrimSuffix(dir, "/"),
		ui.Quoted(filepath.Join(dir, app.Name+".1")))
	return nil
}
