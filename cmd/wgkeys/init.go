package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
)

func initCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "init",
		UsageText: "wgkeys init net                       # a repository, and an identity\n" +
			"wgkeys init -i ~/.ssh/id_ed25519 net  # a vault for a key that you have",
		Usage:     "make a repository, and an identity where you have none",
		ArgsUsage: "[DIR]",
		Description: "The vault is encrypted to your identity: post-quantum by default, to be opened\n" +
			"with wgkeys or age 1.3 and later; --classic for X25519, which every age opens.\n" +
			"In a clone of a repository: makes you an identity where you have none, and shows\n" +
			"the recipient that somebody who can decrypt has to add for you.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "hook", Usage: "have git search each commit for secrets in the clear before it is made"},
			&cli.BoolFlag{Name: "classic", Usage: "a vault that every version of age can open, and perhaps a quantum computer"},
			identityFlag,
		},
	}, doInit
}

func doInit(e *env) error {
	in := e.cli.String("C")
	dir, err := e.oneName(func() (string, error) { return ".", nil })
	if err != nil {
		return err
	}
	if !filepath.IsAbs(dir) { // like git -C
		dir = filepath.Join(in, dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fault.WrapFile(err, "cannot find the folder", dir, "")
	}
	if _, err := os.Lstat(filepath.Join(dir, repo.Marker)); err == nil {
		if e.cli.Bool("hook") {
			return repo.InstallHook(e.ctx, e.ui, dir)
		}
		e.ui.Say("%s is a repository already; nothing was changed in it", dir)
		if err := repo.SweepInit(dir); err != nil {
			return err
		}
		return joinList(e, dir)
	}
	if err := errors.Join(requireNoneAbove(dir), repo.RequireNone(e.ctx, dir)); err != nil {
		return err
	}
	recipients, err := keys.UserRecipients(keys.UserOptions{Dir: dir, IDs: e.identities(), Classic: e.cli.Bool("classic"),
		Report: e.ui})
	if err != nil {
		return err
	}
	if err := repo.Init(e.ctx, e.ui, dir, recipients); err != nil {
		return err
	}
	e.ui.Say("made the repository %s", dir)
	if err := offerGit(e, dir); err != nil {
		return err
	}
	if e.cli.Bool("hook") {
		if err := repo.InstallHook(e.ctx, e.ui, dir); err != nil {
			return err
		}
	}
	e.ui.Say("next: write tunnels/wg0.toml, as wgkeys help start does, then wgkeys gen HOST...")
	return nil
}

// requireNoneAbove refuses a folder of a repository, in which init was perhaps typed by
// mistake: the verbs would find the inner repository there, and git the outer one.
func requireNoneAbove(dir string) error {
	above, err := repo.Find(filepath.Dir(dir))
	if err != nil {
		return nil // there is none, or what is wrong with it is not our concern
	}
	return fault.NewFile("cannot make a repository in", dir, above.Dir+" is one already",
		"cd "+ui.Quoted(above.Dir)+" and use that one, or name a folder outside of it")
}

// joinList shows a user who is not in a repository's list of recipients the line to add for him.
func joinList(e *env, dir string) error {
	missing, err := keys.Unlisted(keys.UserOptions{Dir: dir, IDs: e.identities(), Report: e.ui})
	if err != nil || missing == nil {
		return err
	}
	for _, r := range missing {
		e.ui.Printf("%s\n", r)
	}
	e.ui.Say("you cannot decrypt yet: have somebody who can add your recipient, which is printed, to vault/recipients.txt, and run wgkeys rekey")
	return nil
}

// offerGit asks whether to make a git repository, if there is a user to answer.
func offerGit(e *env, dir string) error {
	if _, err := git.Top(dir); err == nil {
		return nil
	}
	if !e.ui.Quiet && git.Installed() && term.IsTerminal(int(os.Stdin.Fd())) {
		switch yes, err := e.ui.Confirm("it is not in git, which keeps its history: git init " + ui.Quoted(dir) + "?"); {
		case err != nil:
			return err
		case yes:
			return git.Init(e.ctx, dir)
		}
	}
	e.ui.Say("it is not in git yet: %s", git.ToInit(dir))
	return nil
}
