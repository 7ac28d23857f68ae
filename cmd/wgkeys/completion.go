package main

import (
	"embed"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// shells are the scripts that have a shell ask this program what may stand next. All that
// depends on the verb or the repository is decided in complete.go, once for all of them.
//
//go:embed completion/*
var shells embed.FS

var shellNames = []string{"bash", "zsh", "fish"}

func completionCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "completion",
		UsageText: `eval "$(wgkeys completion bash)"       # in ~/.bashrc` + "\n" +
			`eval "$(wgkeys completion zsh)"        # in ~/.zshrc, after compinit` + "\n" +
			`wgkeys completion fish | source       # in ~/.config/fish/config.fish`,
		Usage:     "print what has a shell complete the command line",
		ArgsUsage: "bash|zsh|fish",
		Description: "Verbs, flags, what a flag may have, and the hosts, tunnels and tags of the\n" +
			"repository at hand. Nothing is decrypted for that, and no host is asked. Packages\n" +
			"bring it along.",
	}, doCompletion
}

func doCompletion(e *env) error {
	name, err := e.oneName(func() (string, error) { return "", nil })
	if err != nil {
		return err
	}
	script, err := shells.ReadFile("completion/" + name)
	if err != nil {
		return ui.Usage("no such shell", name, ui.Among(name, shellNames), "wgkeys completion bash")
	}
	e.ui.Printf("%s", script)
	return nil
}
