package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/vault"
)

func mvCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "mv",
		UsageText: "wgkeys mv basalt slate\n" +
			"wgkeys mv -t wg0 home",
		Usage:     "rename a host, or with -t a tunnel",
		ArgsUsage: "HOST NEW | -t TUNNEL NEW",
		Description: "The keys stay the same. The name is a part of each vault file, so those are opened\n" +
			"and encrypted again; everything is opened before anything is written. Tunnel files\n" +
			"keep their comments and their order. Where git mv has moved files already, this\n" +
			"does the rest. Nothing is done on a host: it says what is left to do there.",
		Flags: []cli.Flag{tunnelFlag, identityFlag, dryRunFlag, commitFlag,
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}},
	}, doMv
}

func doMv(e *env) error {
	r, err := e.writingOrDryRun()
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx); err != nil {
		return err
	}
	ids := e.identities()
	m, err := newMove(e, r, ids)
	if err != nil {
		return err
	}
	if e.cli.Bool("dry-run") {
		e.ui.Printf("%s", oneALine(m.Lines("to be ")))
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	defer e.warnLoose(ids)
	if err := m.Open(); err != nil {
		return err
	}
	if err := e.confirmed(m.Question()); err != nil {
		return err
	}
	err = m.Write()
	if err == nil {
		e.ui.Printf("%s", oneALine(m.Lines("")))
		m.SayNext()
	}
	return r.Changes.Commit(e.ctx, e.ui, "mv", []string{m.Old + " is called " + m.New + " from now on"}, err)
}

// oneALine joins lines, each with its end.
func oneALine(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// newMove parses the names to be changed.
func newMove(e *env, r *repo.Repo, ids *vault.Identities) (*keys.Move, error) {
	names, t := e.names(), e.cli.String("tunnel")
	switch {
	case t != "" && len(names) == 1:
		return e.maker(r, ids).MoveTunnel(t, names[0])
	case t == "" && len(names) == 2:
		return e.maker(r, ids).MoveHost(names[0], names[1])
	}
	return nil, ui.Usage("too few names, or too many, for", "wgkeys mv",
		"it takes a host and its new name, or with -t TUNNEL the tunnel's new name", "wgkeys mv --help")
}
