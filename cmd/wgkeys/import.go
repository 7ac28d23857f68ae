package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/intake"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/formats"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

func importCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "import",
		UsageText: "wgkeys import /etc/wireguard/wg0.conf\n" +
			"wgkeys import -n hub=wg0.conf basalt=b.conf\n" +
			"wgkeys import --live hub=root@hub.example.net",
		Usage:     "make a tunnel file from the files of another program",
		ArgsUsage: "[NAME=]FILE... | --live [[NAME=]HOST...] | --take-over|--undo [HOST]",
		Description: "Formats: " + strings.Join(formats.ImportNames(), ", ") + ". Files of several hosts, as\n" +
			"NAME=FILE each, become one tunnel: they are matched by public keys. A FILE\n" +
			"without a name is this machine's. The keys go into the vault and nowhere else, the\n" +
			"rest becomes tunnels/TUNNEL.toml. What that cannot express is listed, and nothing is\n" +
			"written then without --leave-out.\n" +
			"\n" +
			"With --live it reads the kernel, and the files of the program that brought the interface\n" +
			"up: if they differ the kernel counts. The host needs only wg(8) and ip(8).\n" +
			"\n" +
			"With --take-over a tunnel that runs on this machine, or on HOST, comes under wgkeys\n" +
			"without a packet lost: its program releases it, and --undo gives it back.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "the files are in `FORMAT`", DefaultText: "by what is in them"},
			&cli.StringFlag{Name: "host", Usage: "the files belong to `HOST`", DefaultText: "this machine"},
			&cli.StringFlag{Name: "tunnel", Aliases: []string{"t"},
				Usage: "name the tunnel, and its interface, `TUNNEL`; with --live read it alone"},
			&cli.BoolFlag{Name: "leave-out", Usage: "write the rest if something cannot be expressed"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show the tunnel file, and write nothing"},
			&cli.BoolFlag{Name: "live", Usage: "read the running tunnels of this machine, or over ssh of each HOST"},
			takeOverFlag, undoFlag, hiddenViewFlag, ofFlag, ofKeyFlag,
			commitFlag,
		},
	}, doImport
}

func doImport(e *env) error {
	tunnel, leaveOut, dry := e.cli.String("tunnel"), e.cli.Bool("leave-out"), e.cli.Bool("dry-run")
	switch over, undo := e.cli.Bool("take-over"), e.cli.Bool("undo"); {
	case over && undo:
		return ui.Usage("cannot go together:", "--take-over and --undo", "one undoes the other",
			"wgkeys import --help")
	case over:
		return doTakeOver(e, e.cli.String("view"), dry)
	case undo:
		return doGiveBack(e, tunnel, dry)
	}
	drafts, err := draftsOf(e, intake.Options{Names: e.names(), Format: e.cli.String("format"), Tunnel: tunnel,
		Host: e.cli.String("host"), OfHost: e.cli.IsSet("host"), LeaveOut: leaveOut, Hosts: e.hosts, Report: e.ui},
		e.cli.Bool("live"))
	if err != nil {
		return err
	}
	if err := tellLeft(e, drafts, leaveOut || dry); err != nil {
		return err
	}
	if !dry {
		return writeDrafts(e, drafts)
	}
	for n, d := range drafts {
		if len(drafts) > 1 {
			e.ui.Printf("%s# tunnels/%s.toml\n", strings.Repeat("\n", min(n, 1)), d.Tunnel)
		}
		ui.Print(e.ui, string(d.Text))
	}
	return nil
}

// draftsOf are the tunnels in the files, or those that run on the hosts.
func draftsOf(e *env, o intake.Options, live bool) ([]*draft.Draft, error) {
	if live {
		return intake.Running(e.ctx, o)
	}
	if len(o.Names) == 0 {
		return nil, ui.Usage("no file named for", "wgkeys import", "it reads the files of another program",
			"wgkeys import /etc/wireguard/wg0.conf, or wgkeys import --live")
	}
	if o.Format != "" {
		if _, err := formats.Importable(o.Format); err != nil {
			return nil, ui.ExitWith(ui.ExitUsage, err)
		}
	}
	return intake.Files(o)
}

// tellLeft lists what cannot be expressed. That is an error, unless it may be left out.
func tellLeft(e *env, drafts []*draft.Draft, mayLeave bool) error {
	left := 0
	for _, d := range drafts {
		for _, l := range d.Left {
			e.ui.Say("left out: %s:%d: %s: %s", l.Pos.File, l.Pos.Line, l.What, l.Why)
			left++
		}
	}
	if left == 0 || mayLeave {
		return nil
	}
	again := append([]string{"wgkeys import --leave-out"}, flagsOf(e)...)
	for _, n := range e.names() {
		again = append(again, ui.Quoted(n))
	}
	lines := "1 line"
	if left > 1 {
		lines = fmt.Sprintf("%d lines", left)
	}
	return fault.New("nothing was written; left out would be "+lines+" of", strings.Join(e.names(), ", "),
		"a tunnel file cannot express it", strings.Join(again, " "))
}

func writeDrafts(e *env, drafts []*draft.Draft) error {
	r, err := e.writing()
	if err != nil {
		return err
	}
	m := e.maker(r, nil)
	var lines []string
	for _, d := range drafts {
		made, failed := m.Import(d)
		lines = append(lines, made...)
		if len(made) > 0 {
			e.ui.Printf("%s\n", strings.Join(made, "\n"))
		}
		if failed != nil {
			return r.Changes.Commit(e.ctx, e.ui, "import", lines, failed)
		}
		tellKeys(e, d, repo.Commands(r, d.Tunnel))
	}
	return r.Changes.Commit(e.ctx, e.ui, "import", lines, nil)
}

// tellKeys says which keys the files did not hold.
func tellKeys(e *env, d *draft.Draft, in words.Commands) {
	for _, h := range d.Hosts {
		if !h.Managed || !h.PrivateKey.IsZero() {
			continue
		}
		where := "no file has it"
		if h.KeyFile != "" {
			where = "it is in " + h.KeyFile + " there"
		}
		e.ui.Warn(fault.NewHost("no private key yet for", h.Name, where,
			"on "+h.Name+", import again; or a new one: "+in.Run("gen", h.Name)))
	}
	var without []string
	for _, p := range d.Pairs {
		if p.Key.IsZero() {
			without = append(without, p.A+" and "+p.B)
		}
	}
	if slices.Sort(without); len(without) > 0 {
		e.ui.Warn(fault.New("no preshared key yet for", strings.Join(without, ", "), "the files name only where it lies",
			"wgkeys gen, for new ones"))
	}
}
