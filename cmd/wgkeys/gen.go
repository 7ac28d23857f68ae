package main

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

func genCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "gen",
		UsageText: "wgkeys gen basalt shale\n" +
			"wgkeys gen --all                      # what the tunnel file names\n" +
			"wgkeys gen --sealed slate             # only slate can read its key",
		Usage:     "make key pairs for hosts that have none",
		ArgsUsage: "HOST...|--all",
		Description: "The private key goes into vault/HOST/, encrypted, the public one into\n" +
			"keyring/HOST/. Preshared keys that the tunnel file asks for are made too. A key\n" +
			"that exists is never overwritten. HOST may also be a pattern or a tag of the tunnel\n" +
			"file: wgkeys help hosts.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every host of the tunnel that is managed"},
			&cli.BoolFlag{Name: "on-host", Usage: "each host makes its private key itself, and it never leaves the host"},
			&cli.BoolFlag{Name: "sealed",
				Usage: "only the host can read its keys: vault/HOST/recipients.txt becomes its only list"},
			tunnelFlag, identityFlag, hostFlag, commitFlag, timeoutFlag,
		},
	}, doGen
}

func doGen(e *env) error {
	if len(e.names()) == 0 && !e.cli.Bool("all") {
		return ui.Usage("no host named for", "wgkeys gen", "it makes the keys of the hosts that you name",
			"wgkeys gen HOST..., or --all for those of the tunnel file")
	}
	r, err := e.writing()
	if err != nil {
		return err
	}
	name, t, err := genTunnel(r, e)
	if err != nil {
		return err
	}
	hosts, err := genHosts(e, name, t)
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx, hosts...); err != nil {
		return err
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	o := keys.GenerateOptions{OnHost: e.cli.Bool("on-host"), Sealed: e.cli.Bool("sealed"),
		Made: func(line string) { e.ui.Printf("%s\n", line) }}
	made, err := e.maker(r, ids).Generate(e.ctx, name, t, hosts, o)
	return r.Changes.Commit(e.ctx, e.ui, "gen", made, err)
}

// genTunnel is the tunnel for which keys are made: wg0 if there is none yet. Its file may
// be missing.
func genTunnel(r *repo.Repo, e *env) (string, *tunnel.Tunnel, error) {
	names, err := r.TunnelNames(e.cli.String("tunnel"))
	if err != nil {
		return "", nil, err
	}
	if len(names) == 0 {
		return "wg0", nil, nil
	}
	if err := checkTunnel(e, names[0]); err != nil {
		return "", nil, err
	}
	t, err := e.tunnel(r)
	if errors.Is(err, fs.ErrNotExist) {
		e.ui.Warn(fault.New("no tunnel file yet for", names[0], "there is no tunnels/"+names[0]+".toml", ""))
		return names[0], nil, nil
	}
	return names[0], t, err
}

// genHosts are the hosts that get keys. t is nil if there is no tunnel file, in which a
// pattern or a tag could select some.
func genHosts(e *env, name string, t *tunnel.Tunnel) ([]string, error) {
	var tunnels []*tunnel.Tunnel
	if t != nil {
		tunnels = append(tunnels, t)
	} else if e.cli.Bool("all") || slices.ContainsFunc(e.names(), tunnel.IsPattern) {
		return nil, ui.Usage("cannot select hosts of tunnel", name, "there is no tunnels/"+name+".toml yet",
			"wgkeys gen HOST...")
	}
	hosts, err := hostsMeant(e, tunnels)
	if err != nil {
		return nil, err
	}
	commands := words.Commands{Tunnel: e.cli.String("tunnel")}
	if t != nil {
		commands = t.Commands
	}
	for _, host := range hosts {
		if err := keyring.CheckHost(host); err != nil {
			hint := "wgkeys gen --help"
			if lower := strings.ToLower(host); keyring.CheckHost(lower) == nil {
				hint = commands.Run("gen", lower)
			}
			return nil, ui.Usage("no host can be named", host, err.Error(), hint)
		}
	}
	return hosts, nil
}
