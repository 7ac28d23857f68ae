package main

import (
	"bytes"
	"errors"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/vault"
)

func showCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "show",
		UsageText: "wgkeys show shale\n" +
			"wgkeys show --json shale\n" +
			"wgkeys show --secret shale | wg pubkey",
		Usage:     "show the configuration of one host, INSIDE and OUTSIDE",
		ArgsUsage: "[HOST]",
		Description: "Without HOST: as this machine sees it. With --secret HOST: the host's private key\n" +
			"and nothing else, to a terminal or a pipe, never to a file.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "secret", Usage: "show the private key of HOST"},
			tunnelFlag, hostFlag, jsonFlag, identityFlag,
		},
	}, doShow
}

func doShow(e *env) error {
	if e.cli.Bool("secret") {
		return showSecret(e)
	}
	v, _, err := viewOf(e)
	if err != nil {
		return err
	}
	if e.cli.Bool("json") {
		var text bytes.Buffer
		err := tunnel.EncodeView(&text, v)
		e.ui.Printf("%s", text.Bytes())
		return err
	}
	e.ui.Printf("%s", v.Annotate())
	return nil
}

// showSecret writes the key file of one named host. A host in the middle of a rotation has
// two keys; this is the present one.
func showSecret(e *env) error {
	if len(e.names()) != 1 || e.cli.Bool("json") || e.cli.IsSet("host") {
		return ui.Usage("cannot show a secret with", "wgkeys show --secret",
			"it takes the name of one host, and neither --json nor --host",
			"wgkeys show --secret HOST")
	}
	host := e.names()[0]
	if err := keyring.CheckHost(host); err != nil {
		return ui.Usage("no host can be named", host, err.Error(), "wgkeys show --secret HOST")
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return err
	}
	if err := e.ui.TakesSecret(t.Commands.Run("show --secret", host) + " | wg pubkey"); err != nil {
		return err
	}
	public, err := r.Ring.Get(host, t.Name)
	if err != nil {
		return err
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	if _, err := r.Vault.Meta(host, vault.KeyFile(t.Name)); errors.Is(err, vault.ErrNoMeta) {
		e.ui.Warn(err)
	}
	k, err := r.Vault.OpenKey(host, vault.KeyFile(t.Name), public, ids)
	if err != nil {
		return err
	}
	text := k.File()
	defer clear(text)
	e.ui.Secret(text)
	return nil
}
