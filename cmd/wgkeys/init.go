package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
	"wgkeys/vault"
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
	recipients, err := ownRecipients(e, dir, !e.cli.Bool("classic"))
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

// ownRecipients are those of the user's identity; if there is none it is made. If an
// identity does not reveal its recipient the user has to add that to the list himself: he
// would not expect an identity of another kind beside it.
func ownRecipients(e *env, dir string, postQuantum bool) ([]string, error) {
	ids := e.identities()
	all, err := ids.Recipients()
	e.warnLoose(ids)
	if err != nil && !errors.Is(err, vault.ErrNoIdentity) {
		return nil, err
	}
	if len(all) == 0 && ids.Found() {
		list := filepath.Join(dir, "vault", "recipients.txt")
		if _, err := os.Stat(list); err == nil {
			return nil, nil
		}
		return nil, fault.New("cannot tell the recipient of your identity", "",
			"it is a plugin's, or under a passphrase; nothing was made",
			"mkdir -p "+ui.Quoted(filepath.Dir(list))+", write its recipient (age1...) to "+ui.Quoted(list)+
				", then wgkeys init "+ui.Quoted(dir))
	}
	if len(all) == 0 {
		defer sayKind(e, postQuantum)
		return newIdentity(e, postQuantum)
	}
	if ids.Unnamed() {
		e.ui.Warn(fault.New("cannot tell the recipient of an identity of yours", "",
			"it is a plugin's, or under a passphrase; the vault is for the others",
			"write its recipient to "+filepath.Join(dir, "vault", "recipients.txt")+" before the first wgkeys gen"))
	}
	kind := slices.DeleteFunc(slices.Clone(all), func(r string) bool { return hasHybrid(r) != postQuantum })
	if len(kind) == 0 && postQuantum {
		e.ui.Say("your identity is classic (X25519 or SSH), so the vault is: any age opens it, and whoever keeps a copy may open it with a quantum computer one day")
		return all, nil
	}
	if len(kind) == 0 {
		return nil, fault.New("no classic identity of yours", "", "the one found is post-quantum",
			"age-keygen -o classic.txt, then wgkeys init --classic -i classic.txt")
	}
	sayKind(e, postQuantum)
	return kind, nil
}

func newIdentity(e *env, postQuantum bool) ([]string, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return nil, fault.Wrap(err, "cannot tell where your identity belongs", "",
			"age-keygen -o FILE, then wgkeys init -i FILE")
	}
	path := filepath.Join(config, "wgkeys", "identity.txt")
	recipient, err := vault.NewIdentity(path, postQuantum, time.Now())
	if err != nil {
		return nil, err
	}
	e.ui.Say("made your identity %s; keep a copy in a safe place, since nothing opens the vault without it", path)
	return []string{recipient}, nil
}

func sayKind(e *env, postQuantum bool) {
	if postQuantum {
		e.ui.Say("the vault is post-quantum: wgkeys opens it, and age from version 1.3 on (--classic makes one that every age opens)")
		return
	}
	e.ui.Say("the vault is classic: every age opens it, but git keeps ciphertext for ever, and a quantum computer may open it one day")
}

// joinList shows a user who is not in a repository's list of recipients the line to add for
// him, and makes an identity of the list's kind if he has none.
func joinList(e *env, dir string) error {
	path := filepath.Join(dir, "vault", "recipients.txt")
	list, err := files.Read(dir, path, repo.MaxFile)
	if err != nil { // check reports it
		return nil
	}
	ids := e.identities()
	mine, err := ids.Recipients()
	e.warnLoose(ids)
	if err != nil && !errors.Is(err, vault.ErrNoIdentity) {
		return err
	}
	if len(mine) == 0 && ids.Found() {
		return nil // a plugin's, for instance, which may be in the list
	}
	postQuantum := hasHybrid(string(list))
	listed := func(r string) bool { return strings.Contains(string(list), r) }
	if slices.ContainsFunc(mine, listed) {
		return nil
	}
	none := len(mine) == 0
	mine = slices.DeleteFunc(mine, func(r string) bool { return hasHybrid(r) != postQuantum })
	if len(mine) == 0 && !none {
		return otherKind(postQuantum, dir)
	}
	if none {
		if mine, err = newIdentity(e, postQuantum); err != nil {
			return err
		}
	}
	for _, r := range mine {
		e.ui.Printf("%s\n", r)
	}
	e.ui.Say("you cannot decrypt yet: have somebody who can add your recipient, which is printed, to vault/recipients.txt, and run wgkeys rekey")
	return nil
}

// otherKind is the error of an identity of the wrong kind: age refuses a list with
// recipients of both, since the classic ones would defeat the purpose of the others.
func otherKind(postQuantum bool, dir string) error {
	if postQuantum {
		return fault.New("no post-quantum identity of yours", "", "the vault is post-quantum, and the one found is classic",
			"age-keygen -pq -o pq.txt (age 1.3 or later), then wgkeys init -i pq.txt "+ui.Quoted(dir))
	}
	return fault.New("no classic identity of yours", "", "the vault is classic, and the one found is post-quantum",
		"age-keygen -o classic.txt, then wgkeys init -i classic.txt "+ui.Quoted(dir))
}

func hasHybrid(recipients string) bool { return strings.Contains(recipients, "age1pq1") }

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
