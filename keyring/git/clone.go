package git

import (
	"context"
	"fmt"
	"strings"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// whole refuses a clone without the whole history of its branches: a shallow one, or a
// partial one (git-clone(1), "--depth" and "--filter").
func whole(ctx context.Context, dir string) error {
	out, err := run(ctx, dir, nil, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(out)) == "true" {
		return fault.NewFile("the history is cut short in", dir, "it is a shallow clone, and what was before is not known here",
			"git -C "+words.ForShell(dir)+" fetch --unshallow")
	}
	promised, err := configured(ctx, dir, `^remote\..*\.promisor$|^extensions\.partialclone$`)
	if err != nil || len(promised) == 0 {
		return err
	}
	if out, err = run(ctx, dir, nil, "rev-list", "--objects", "--all", "--missing=print"); err != nil {
		return err
	}
	if n := strings.Count("\n"+string(out), "\n?"); n > 0 {
		return partial(dir, fmt.Sprintf("%d of its files are not here", n))
	}
	return nil
}

// partial is the error in a partial clone if something is asked for that it lacks.
func partial(dir, lacks string) error {
	return fault.NewFile("the history is not all in", dir, "it is a partial clone, and "+lacks,
		"git -C "+words.ForShell(dir)+" fetch --refetch --no-filter")
}

// Narrow returns an error for a clone that fetches only some of the branches (git-clone(1),
// "--single-branch"; "--depth" implies it), nil for others. The history of the other
// branches is not known there.
func Narrow(ctx context.Context, dir string) error {
	specs, err := configured(ctx, dir, `^remote\..*\.fetch$`)
	if err != nil {
		return err
	}
	all := map[string]bool{}
	only := map[string]string{}
	var remotes []string
	for _, s := range specs {
		remote := strings.TrimSuffix(strings.TrimPrefix(s.name, "remote."), ".fetch")
		if _, known := all[remote]; !known {
			remotes, all[remote] = append(remotes, remote), false
		}
		from, _, _ := strings.Cut(strings.TrimPrefix(s.value, "+"), ":")
		switch from {
		case "refs/heads/*", "refs/*":
			all[remote] = true
		default:
			only[remote] = strings.TrimPrefix(from, "refs/heads/")
		}
	}
	for _, remote := range remotes {
		if !all[remote] {
			return fault.NewFile("not all branches are in", dir,
				fmt.Sprintf("it fetches %s of %s alone, and what is or was on the others is not known here", only[remote], remote),
				fmt.Sprintf("git -C %[1]s remote set-branches %[2]s '*' && git -C %[1]s fetch %[2]s", words.ForShell(dir),
					words.ForShell(remote)))
		}
	}
	return nil
}
