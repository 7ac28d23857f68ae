package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/git"
)

func checkCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "check",
		UsageText: "wgkeys check\n" +
			"wgkeys check --history                # also all of git's history\n" +
			"wgkeys check --leaver anna            # what anna could ever read",
		Usage: "find what is wrong in the repository, without any secret",
		Description: "Tunnel files, missing and duplicate keys, vault files that do not belong to the\n" +
			"public key, preshared keys that one host lacks, recipients that are out of date,\n" +
			"keys of hosts that no tunnel names, rotations under way, keys older than\n" +
			"max_key_age in wgkeys.toml, files that others may change, and secret keys in the\n" +
			"clear anywhere in the working tree. With -i also whether every vault file opens.\n" +
			"Exit code 4 if there is a finding.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "staged", Usage: "search what is staged in git for secrets in the clear, and nothing else"},
			&cli.BoolFlag{Name: "history", Usage: "search all of git's history for secrets in the clear, too"},
			&cli.StringFlag{Name: "leaver", Usage: "find the keys in use that `RECIPIENT` could ever read, and nothing else"},
			&cli.StringFlag{Name: "annotate", Usage: "write findings for a code host: `github` or gitlab"},
			tunnelFlag, identityFlag, jsonFlag,
		},
	}, doCheck
}

// checkOptions say what to look for, and how findings are written.
type checkOptions struct {
	staged, history bool
	leaver, tunnel  string
	identity        bool   // one was named: try to open every file
	format          string // for a code host; "": for the user
	json            bool
}

func doCheck(e *env) error {
	o := checkOptions{staged: e.cli.Bool("staged"), history: e.cli.Bool("history"), leaver: e.cli.String("leaver"),
		tunnel: e.cli.String("tunnel"), identity: len(e.cli.StringSlice("identity")) > 0,
		format: e.cli.String("annotate"), json: e.cli.Bool("json")}
	switch forms := slices.Sorted(maps.Keys(annotators)); {
	case o.format != "" && annotators[o.format] == nil:
		return ui.Usage("cannot annotate for", o.format, ui.Among(o.format, forms), "wgkeys check --annotate "+forms[0])
	case o.format != "" && o.json:
		return ui.Usage("cannot annotate for", o.format, "it is another form than that of --json",
			"wgkeys check --annotate "+o.format)
	}
	if err := namesLeaver(e); err != nil {
		return err
	}
	if err := o.oneSearch(); err != nil {
		return err
	}
	if len(e.names()) > 0 {
		return ui.Usage("no names for", "wgkeys check", "it looks at all hosts", "wgkeys check")
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	found, err := findings(e, r, o)
	if err != nil {
		return err
	}
	if err := tellFindings(e, r, o, found); err != nil {
		return err
	}
	if len(found) > 0 {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return nil
}

// oneSearch refuses flags of which all but one would be ignored, so that what was not
// checked is not taken for good.
func (o checkOptions) oneSearch() error {
	var given []string
	if o.staged {
		given = append(given, "--staged")
	}
	if o.leaver != "" {
		given = append(given, "--leaver")
	}
	if o.history {
		given = append(given, "--history")
	}
	if len(given) > 0 && o.tunnel != "" {
		given = append(given, "-t")
	}
	if len(given) < 2 {
		return nil
	}
	why := "each looks for something else; one at a time"
	if given[1] == "-t" {
		why = "it looks at all tunnels"
	}
	hint := "wgkeys check " + given[0]
	if given[0] == "--leaver" {
		hint += " " + ui.Quoted(o.leaver)
	}
	return ui.Usage("cannot go together:", strings.Join(given, " and "), why, hint)
}

// findings returns the findings of the kind that was asked for.
func findings(e *env, r *repo.Repo, o checkOptions) ([]check.Finding, error) {
	if o.tunnel == "" {
		defer r.TakeSnapshot()()
	}
	switch {
	case o.staged:
		return check.Staged(e.ctx, r)
	case o.leaver != "":
		return check.ExposedFindings(e.ctx, r, e.ui, o.leaver)
	}
	all := check.Options{Only: o.tunnel, History: o.history, Places: defaultPlaces()}
	if o.identity {
		all.Identities = e.identities()
		defer e.warnLoose(all.Identities)
	}
	return check.Run(e.ctx, r, all)
}

func tellFindings(e *env, r *repo.Repo, o checkOptions, found []check.Finding) error {
	if annotate := annotators[o.format]; annotate != nil {
		return annotate(e.ui, fromTop(r.Dir, found))
	}
	if o.json {
		return e.ui.JSON(found)
	}
	for _, f := range found {
		e.ui.Printf("%s\n", f.What)
		if f.Hint != "" {
			e.ui.Printf("  hint: %s\n", e.ui.There(f.Hint))
		}
	}
	if len(found) == 0 {
		sayNothing(e, r)
	}
	return nil
}

// sayNothing says that nothing was found, and what could not be checked without git.
func sayNothing(e *env, r *repo.Repo) {
	switch {
	case e.ui.Quiet:
		return
	case r.Tops() != nil && !repo.Committed(e.ctx, r):
		e.ui.Say("nothing found in the files, of which no commit has any yet: git -C %[1]s add -A && git -C %[1]s commit", ui.Quoted(r.Dir))
		return
	case r.Tops() == nil:
		e.ui.Say("nothing found in the files; they are not in git, so what is in no commit is not known, and there is no history: %s", git.ToInit(r.Dir))
		return
	}
	e.ui.Say("nothing found")
}
