package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

func showCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:        "show",
		Usage:       "show a tunnel as one host sees it, INSIDE and OUTSIDE",
		ArgsUsage:   "[HOST]",
		Description: "Without HOST: as this machine sees it.",
		Flags:       []cli.Flag{tunnelFlag, hostFlag, jsonFlag},
	}, doShow
}

func doShow(e *env) error {
	v, _, err := e.view()
	if err != nil {
		return err
	}
	if e.cli.Bool("json") {
		return tunnel.EncodeView(e.ui.stdout, v)
	}
	e.ui.printf("%s", v.Annotate())
	return nil
}

// view is that of the host named on the command line, or of this machine.
func (e *env) view() (*tunnel.View, *tunnel.Tunnel, error) {
	verb := e.cli.Command.Name
	host, err := e.oneName(e.thisHost)
	if err != nil {
		return nil, nil, err
	}
	r, err := e.repo()
	if err != nil {
		return nil, nil, err
	}
	t, err := r.oneTunnel(e)
	if err != nil {
		return nil, nil, err
	}
	if len(e.names()) == 0 && !e.cli.IsSet("host") && !slices.Contains(t.Hosts(), host) {
		return nil, nil, fault.New("no host named for", "wgkeys "+verb,
			"this machine is "+host+", which is no host of tunnel "+t.Name+"; those are "+strings.Join(t.Hosts(), ", "),
			"wgkeys "+verb+" HOST, or --host HOST if this machine is one of them")
	}
	v, err := r.view(t, host)
	return v, t, err
}
