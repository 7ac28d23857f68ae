package main

import (
	"embed"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// shells are the scripts with which a shell asks this program for completion. Whatever
// depends on the verb or the repository is decided in complete.go, for all of them.
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
		Usage:     "print a shell's script for completing command lines",
		ArgsUsage: "bash|zsh|fish",
		Description: "It completes verbs, flags and their values, and the hosts, tunnels and tags of the\n" +
			"repository at hand. Nothing is decrypted for that, and no host is asked. Packages\n" +
			"install it.",
	}, doCompletion
}

func doCompletion(e *env) error {
	name, err := e.oneName(func() (string, error) {
		return "", ui.Usage("no shell named for", "wgkeys completion", "there are "+strings.Join(shellNames, ", "),
			"wgkeys completion bash")
	})
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
