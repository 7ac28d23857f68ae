package main

import (
	"github.com/urfave/cli/v2"

	"wgkeys/deploy/tunnel"
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
	v, err := r.view(t, host)
	return v, t, err
}
