package main

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// keyFileFlag names key files that a host may have though no tunnel was applied there.
var keyFileFlag = &cli.StringSliceFlag{Name: "key-file", Hidden: true}

func uninstallCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "uninstall",
		UsageText: "wgkeys uninstall shale\n" +
			"wgkeys uninstall --keys -y shale",
		Usage:     "remove wgkeys from hosts, and undo all that it did",
		ArgsUsage: "[HOST...|--all]",
		Description: "On each HOST, or without one on this machine: takes its tunnels down, also for the\n" +
			"next boot, and removes the program, the views that apply kept and the\n" +
			"list of replaced keys. The key files stay unless --keys is given.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keys", Usage: "also remove the key files"}, keyFileFlag,
			allFlag, jobsFlag, stopAfterFlag, tunnelFlag, hostFlag, ofFlag, ofKeyFlag, dryRunFlag, timeoutFlag,
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
		},
	}, doUninstall
}

// uninstallOptions say what is removed.
type uninstallOptions struct {
	dryRun   bool
	keys     bool     // the key files, too
	keyFiles []string // more of them than those of the tunnels that were applied
}

func doUninstall(e *env) error {
	o := uninstallOptions{dryRun: e.cli.Bool("dry-run"), keys: e.cli.Bool("keys"), keyFiles: e.cli.StringSlice("key-file")}
	if t := e.cli.String("tunnel"); t != "" {
		return ui.Usage("cannot remove a single tunnel with", "wgkeys uninstall",
			"it removes the program, and with it all of them", "wgkeys down -t "+words.ForShell(t))
	}
	if len(e.names()) > 0 || e.cli.Bool("all") {
		return uninstallThere(e, o)
	}
	return uninstallHere(e, o)
}

// questionThere is the question to the user about other hosts.
func questionThere(hosts []string, keys bool) string {
	q := "remove wgkeys and all its tunnels from " + ui.Naming(hosts)
	if keys {
		q += ", and remove the key files there, also keys that are nowhere else"
	}
	return q + "?"
}

// uninstallThere removes it from other hosts.
func uninstallThere(e *env, o uninstallOptions) error {
	w, err := newWorkers(e, "")
	if err != nil {
		return err
	}
	flags := []string{"-y"}
	if o.dryRun {
		flags = append(flags, "-n")
	} else if err := e.confirmed(questionThere(w.chosen, o.keys)); err != nil {
		return err
	}
	return w.each(func(ctx context.Context, hosts *remote.Hosts, t *tunnel.Tunnel, host string) error {
		keys, err := w.keyFlags(host, o.keys)
		if err != nil {
			return err
		}
		tunnels, err := w.of(host)
		if err != nil {
			return err
		}
		begun, err := hosts.Uninstall(ctx, t, host, ownKeys(w.repo, host, tunnels...), slices.Concat(flags, keys))
		if errors.Is(err, remote.ErrNotInstalled) {
			hosts.Say.Say("nothing to do: wgkeys is not on %s", host)
			return nil
		}
		if begun && !o.dryRun && errors.Is(err, ssh.ErrUnreachable) {
			return fault.WrapHost(err, "cannot tell whether wgkeys was removed from host", host,
				"if it was begun there, the host finishes it by itself, even if ssh went through the tunnel")
		}
		return err
	})
}

// keyFlags name the key files that push may have brought to a host, if they have to be
// removed: without an applied tunnel the host does not know them.
func (w *workers) keyFlags(host string, remove bool) (flags []string, err error) {
	if !remove {
		return nil, nil
	}
	tunnels, err := w.of(host)
	for _, t := range tunnels {
		files, err := t.KeyFiles(host)
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			flags = append(flags, "--key-file", path)
		}
	}
	return append(flags, "--keys"), err
}
