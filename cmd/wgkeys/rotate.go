package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

func rotateCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "rotate",
		UsageText: "wgkeys rotate basalt\n" +
			"wgkeys rotate --due -y                # what is older than max_key_age\n" +
			"wgkeys rotate --now basalt            # the key was stolen\n" +
			"wgkeys rotate --leaver anna",
		Usage:     "replace keys in a running tunnel, losing no packet",
		ArgsUsage: "[HOST...]",
		Description: "Without HOST: every host that is managed. Each host gets another private key, and all its peers\n" +
			"follow at the same moment; wgkeys must be on all of them. If anything goes wrong\n" +
			"they go back to the old key by themselves. The preshared keys with its peers are\n" +
			"replaced too. A peer with managed = false gets the\n" +
			"new public key by hand, and is named at the end. A rotation that was interrupted is\n" +
			"finished by the next one. With --now the old key is refused everywhere first:\n" +
			"for a key that was stolen.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "due", Usage: "only keys older than max_key_age in " + repo.Marker},
			&cli.StringFlag{Name: "leaver", Usage: "only keys that `RECIPIENT`, who has left, could ever read"},
			&cli.BoolFlag{Name: "psk", Usage: "only the preshared keys, which are otherwise replaced with a key"},
			&cli.BoolFlag{Name: "unknown", Usage: "also if a host uses a key that this repository does not know"},
			&cli.StringSliceFlag{Name: "skip", Usage: "leave `PEER` behind, which cannot be reached; may be repeated"},
			&cli.BoolFlag{Name: "skip-unreachable", Usage: "leave every peer behind that does not answer"},
			&cli.BoolFlag{Name: "now", Usage: "a key was stolen: refuse it at once, whatever is lost"},
			&cli.BoolFlag{Name: "on-host", Usage: "the host makes its key itself, and it never leaves the host"},
			&cli.BoolFlag{Name: "no-hold", Usage: "do not hold packets during the switch"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "all", Usage: "every host that is managed, as without HOST"},
			jobsFlag, stopAfterFlag,
			tunnelFlag, identityFlag, hostFlag, dryRunFlag, jsonFlag, commitFlag, timeoutFlag,
		},
	}, doRotate
}

func doRotate(e *env) error {
	if err := checkRotate(e); err != nil {
		return err
	}
	if err := namesLeaver(e); err != nil {
		return err
	}
	r, err := e.writingOrDryRun()
	if err != nil {
		return err
	}
	hosts, skip, err := rotateHosts(e, r)
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx, hosts...); err != nil {
		return err
	}
	left, err := leftBy(e, r)
	if err != nil {
		return err
	}
	ids := e.identities()
	o := rotateOptions(e, hosts, skip, left)
	q, err := e.maker(r, ids).Rotations(o)
	if err != nil {
		return err
	}
	if q.Count() == 0 && len(q.Made) > 0 {
		return r.Changes.Commit(e.ctx, e.ui, "rotate", q.Made, nil)
	}
	if q.Count() == 0 {
		e.ui.Say("nothing to do: %s", whyNoRotation(o, e.cli.String("leaver")))
		return nil
	}
	return runRotations(e, r, q, o, e.cli.Bool("commit"))
}

// checkRotate refuses flags that make no sense, alone or together.
func checkRotate(e *env) error {
	named, all := len(e.names()) > 0, e.cli.Bool("all")
	switch {
	case e.cli.Bool("now") && !named && !all:
		return ui.Usage("no host named for", "wgkeys rotate --now", "it breaks connections", "wgkeys rotate --now HOST")
	case all && named:
		return ui.Usage("cannot go together:", "--all and HOST", "all are rotated without a name too", "wgkeys rotate --help")
	}
	return checkJobs(e)
}

// runRotations asks the user, and replaces the keys.
func runRotations(e *env, r *repo.Repo, q *keys.Rotations, o keys.RotateOptions, commits bool) error {
	q.Announce()
	question := "rotate it?"
	if q.Count() != 1 {
		question = fmt.Sprintf("rotate %d of them?", q.Count())
	}
	if err := e.confirmed(question); err != nil {
		return err
	}
	several := q.Count() > 1
	e.hosts.Uninterrupted = several && interruptible() // the one under way is finished
	said := context.AfterFunc(e.ctx, func() {
		if several {
			e.ui.Say("no more keys are begun; the one under way is finished, and a second signal ends at once")
		}
	})
	errs := q.Run(e.ctx)
	said()
	failed := q.NotDone()
	errs = append(errs, notRotated(e, q, o.PSKOnly)...)
	if o.DryRun && len(errs) == 0 {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	if len(q.Made) > 0 && !commits {
		remindOfCommit(e, r)
	}
	return failures(failed, q.Count(), r.Changes.Commit(e.ctx, e.ui, "rotate", q.Made, errors.Join(errs...)))
}

// remindOfCommit: a git checkout or reset would take the only copy of a key that is in use.
func remindOfCommit(e *env, r *repo.Repo) {
	if r.Tops() != nil {
		e.ui.Say("no commit has the new keys yet: git -C %[1]s add -A && git -C %[1]s commit (--commit does it)", ui.Quoted(r.Dir))
	}
}

// rotateHosts are the hosts that get new keys, none if all do, and those left behind.
func rotateHosts(e *env, r *repo.Repo) (hosts, skip []string, err error) {
	tunnels, err := r.SomeTunnels(e.cli.String("tunnel"))
	if err != nil {
		return nil, nil, err
	}
	if !e.cli.Bool("all") {
		if hosts, err = hostsMeant(e, tunnels); err != nil {
			return nil, nil, err
		}
	}
	if skip, err = tunnel.Select(tunnels, e.cli.StringSlice("skip")); err != nil {
		err = ui.ExitWith(ui.ExitUsage, err)
	}
	return hosts, skip, err
}

// notRotated are the errors with the commands for the rest of several rotations.
func notRotated(e *env, q *keys.Rotations, pskOnly bool) (errs []error) {
	if q.Count() < 2 {
		return nil
	}
	rest := restOfPSKs
	if pskOnly {
		rest = restOfKeys
	}
	left, several := q.Left()
	for _, x := range left {
		in, of := "", ""
		if several {
			in, of = "-t "+words.ForShell(x.Tunnel)+" ", " in tunnel "+x.Tunnel
		}
		if len(x.Keys) > 0 {
			errs = append(errs, fault.New("did not replace"+of+" the key of", ui.Naming(x.Keys), "see above",
				"then: "+restOfKeys(e, in, x.Keys)))
		}
		if len(x.PSKs) > 0 {
			errs = append(errs, fault.New("did not replace"+of+" preshared keys of", ui.Naming(x.PSKs),
				"see above", "then: "+rest(e, in, x.PSKs)))
		}
	}
	return errs
}

// restOfKeys returns the command that rotates the remaining keys of one tunnel. If there are
// several, in is the -t flag for this one, with a space at its end; otherwise it is "".
func restOfKeys(e *env, in string, hosts []string) string {
	if in == "" {
		return retry(e, hosts)
	}
	return strings.Join(slices.Concat([]string{"wgkeys rotate " + strings.TrimSpace(in)}, flagsOf(e), hosts), " ")
}

// restOfPSKs returns the command that rotates the preshared keys that remain after a rotation of
// keys, with the same in as restOfKeys. The flags of this run selected keys, which are rotated by
// now: they would select none.
func restOfPSKs(e *env, in string, hosts []string) string {
	flags := flagsOf(e, "due", "leaver", "now", "on-host")
	return strings.Join(slices.Concat([]string{"wgkeys rotate " + in + "--psk"}, flags, hosts), " ")
}

// rotateOptions are those of the flags; left is the former recipient, or nil.
func rotateOptions(e *env, hosts, skip []string, left *check.Exposure) keys.RotateOptions {
	o := keys.RotateOptions{
		Hosts: hosts, Only: e.cli.String("tunnel"), Skip: skip, SkipUnreachable: e.cli.Bool("skip-unreachable"),
		Jobs: e.cli.Int("jobs"), StopAfter: e.cli.Int("stop-after"),
		Due: e.cli.Bool("due"), PSKOnly: e.cli.Bool("psk"), Unknown: e.cli.Bool("unknown"), Now: e.cli.Bool("now"),
		OnHost: e.cli.Bool("on-host"), NoHold: e.cli.Bool("no-hold"), DryRun: e.cli.Bool("dry-run"),
		Event: func(v rotate.Event) { e.ui.Say("%s %s: %s", v.Host, v.Tunnel, v.Text) },
		Done:  func(_ rotate.Event, line string) { e.ui.Printf("%s\n", line) },
	}
	if e.cli.Bool("json") {
		o.Event = func(v rotate.Event) { e.ui.Event(v) }
		o.Done = func(v rotate.Event, _ string) { e.ui.Event(v) }
	}
	if left != nil {
		o.Selected = left
	}
	return o
}

// whyNoRotation says why there is nothing to rotate.
func whyNoRotation(o keys.RotateOptions, leaver string) string {
	switch {
	case o.Due:
		return "no key is due"
	case o.PSKOnly:
		return "no tunnel asks for preshared keys of them, with psk = true"
	case leaver != "":
		return "no key is left that " + leaver + " could read"
	}
	return "every host is left out by --skip, or nobody logs in to it, or there is none"
}

// namesLeaver refuses an empty --leaver, as of an unset variable in a script: the verb
// would do what it does without the flag.
func namesLeaver(e *env) error {
	if e.cli.IsSet("leaver") && strings.TrimSpace(e.cli.String("leaver")) == "" {
		verb := "wgkeys " + e.cli.Command.Name
		return ui.Usage("--leaver needs a recipient", "", "its value is empty", verb+" --leaver RECIPIENT")
	}
	if vault.HoldsSecret(e.cli.String("leaver")) { // the text must not be shown
		return ui.Usage("no recipient is named by --leaver of", "wgkeys "+e.cli.Command.Name,
			"its value has an identity or a private key in it", "age-keygen -y IDENTITY tells its recipient")
	}
	return nil
}

// leftBy is the exposure that rotate --leaver asks for; nil without it.
func leftBy(e *env, r *repo.Repo) (*check.Exposure, error) {
	who := e.cli.String("leaver")
	if who == "" {
		return nil, nil
	}
	l, err := check.Exposed(e.ctx, r, who)
	if err != nil {
		return nil, err
	}
	if err := l.Still(r); err != nil {
		return nil, err
	}
	for _, err := range r.NarrowClones(e.ctx) {
		e.ui.Warn(err)
	}
	l.WarnUnknown(e.ui)
	return l, nil
}
