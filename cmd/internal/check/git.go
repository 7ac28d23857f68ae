package check

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// gits finds files of vault and keyring that git ignores, so that no commit has them, and
// merges that are not finished.
func (c *checker) gits(ctx context.Context, index repo.IndexOf) {
	c.merges(ctx, index)
	trees, _ := c.repo.Trees() // a read error, which is reported elsewhere
	for _, t := range trees {
		has, err := index(t.Top)
		if err == nil && !repo.HasUntracked(c.repo, t, has, matters) {
			continue // git examines each file for this
		}
		var ignored []string
		if err == nil {
			ignored, err = git.Ignored(ctx, t.Top, t.Folders...)
		}
		if err != nil { // report the reason once
			c.fault(Finding{Check: "checkout"}, err)
			continue
		}
		for _, name := range ignored {
			if matters(name) {
				c.add(Finding{Check: "ignored", Hint: fmt.Sprintf("git -C %s check-ignore -v -- %s", ui.Quoted(t.Top),
					ui.Quoted(name))}, filepath.Join(t.Top, name), 0,
					"git ignores %q: no commit takes it, and no clone has it", name)
			}
		}
	}
}

// checkout finds files that git has and the working tree does not. Those are not reported
// as missing, since making them again would be wrong.
func (c *checker) checkout(index repo.IndexOf) {
	if err := repo.RequireTunnels(index, c.repo); err != nil {
		c.fault(Finding{Check: "checkout"}, err)
		c.unknown = true // hosts that no tunnel names
	}
	err := repo.RequireIn(index, c.repo)
	if err == nil {
		return
	}
	c.fault(Finding{Check: "checkout"}, err)
	away := repo.ReadAway(index, c.repo)
	c.found = slices.DeleteFunc(c.found, func(f Finding) bool { return f.lacks != "" && away.Has(f.lacks) })
	for _, h := range c.hosts {
		h.lacks = h.lacks && !away.Has(c.repo.Ring.Path(h.host, h.tunnel))
	}
}

// matters reports whether a file holds a key, or says who can open one.
func matters(name string) bool { return repo.IsKeyFile(name) || repo.IsRecipients(name) }

// merges finds files that an unfinished merge has left, and says how to finish it.
func (c *checker) merges(ctx context.Context, index repo.IndexOf) {
	all, err := repo.UnmergedIn(ctx, c.repo, index)
	if err != nil {
		c.fault(Finding{Check: "checkout"}, err)
		return
	}
	if len(all) == 0 {
		return
	}
	op, err := git.Underway(ctx, all[0].Top)
	if err != nil || op.Name == "" {
		op = git.Operation{Name: "a merge", Finish: "status"}
	}
	seen, settled := map[string]bool{}, map[string]bool{}
	var alike []repo.Unmerged
	for _, u := range addRenamedTwice(c, all, op) {
		seen[c.relative(u.FullPath)], seen[u.FullPath] = true, true
		switch {
		case u.File != "" && u.Alike():
			alike = append(alike, u)
		case replacedOnOne(c, u, all):
			settled[u.Host] = true
			f := Finding{Check: "merge", Host: u.Host, Hint: rekeyAndGoOn(u, op)}
			what, now := "the key", ", as the keyring has it"
			if tunnel, peer := repo.OwnerOf(u.File); peer != "" {
				what, now = "the preshared key with "+peer+" in "+tunnel, ""
			}
			c.add(f, u.FullPath, 0, "%s is not finished: one side has encrypted %s of host %q again, "+
				"and the other has replaced it%s", op.Name, what, u.Host, now)
		default:
			c.merge(u, op)
		}
	}
	if n := len(alike); n > 0 {
		c.add(Finding{Check: "merge", Hint: rekeyAndGoOn(alike[0], op)},
			alike[0].FullPath, 0, "%s is not finished: both sides have encrypted %s again", op.Name,
			repo.Counted(repo.FilesOf(alike)))
	}
	c.found = slices.DeleteFunc(c.found, func(f Finding) bool {
		return seen[f.File] && f.conflict || f.other && settled[f.Host]
	})
}

// addRenamedTwice reports names that both sides have changed, and returns the other files.
func addRenamedTwice(c *checker, all []repo.Unmerged, op git.Operation) []repo.Unmerged {
	twice, rest := renamedTwice(all)
	unsettled := slices.ContainsFunc(rest, func(u repo.Unmerged) bool { return u.Host == "" })
	for _, r := range twice {
		f, what := r.finding(c.repo, c.parsed, all[0].Top, op, unsettled)
		c.add(f, filepath.Join(all[0].Top, r.bases[0]), 0, "%s", what)
		for _, host := range []string{r.ours, r.theirs} {
			if !r.isTunnel && !unsettled {
				c.meanwhile = append(c.meanwhile, meanwhile{host, host, f.Hint})
			}
		}
	}
	return rest
}

// rekeyAndGoOn is the hint where rekey knows which side to take.
func rekeyAndGoOn(u repo.Unmerged, op git.Operation) string {
	return fmt.Sprintf("wgkeys rekey, then: git -C %[1]s add -A -- %[2]s && git -C %[1]s %[3]s", ui.Quoted(u.Top),
		ui.Quoted(vaultOf(u)), op.Finish)
}

// replacedOnOne reports whether one side of the merge has replaced a host's key, and the
// other has only encrypted it again: then git could merge the public key.
func replacedOnOne(c *checker, u repo.Unmerged, all []repo.Unmerged) bool {
	if u.File == "" || slices.ContainsFunc(all, func(other repo.Unmerged) bool {
		return other.Host == u.Host && other.File == "" // of the keyring
	}) {
		return false
	}
	_, err := u.SideToTake(c.repo)
	return err == nil
}

// renamedMeanwhile returns the new name of a host that one side of the merge has renamed:
// its public key was moved there, and its private key, in which git sees no similarity, was
// not.
func renamedMeanwhile(c *checker, u repo.Unmerged) string {
	kept := u.Ours
	if kept.ID == "" {
		kept = u.Theirs
	} else if u.Theirs.ID != "" {
		return ""
	}
	meta, ok := u.Holds(kept)
	if !ok || u.File == "" || meta.PublicKey.IsZero() {
		return ""
	}
	for _, h := range c.hosts {
		if h.public == meta.PublicKey && h.host != u.Host && vault.KeyFile(h.tunnel) == u.File {
			return h.host
		}
	}
	return ""
}

// inBoth returns the vault files that two hosts have in common, as arguments for a shell.
func inBoth(c *checker, host, other string) string {
	files, _ := c.repo.Vault.List(host) // a read error, which is reported elsewhere
	var paths []string
	for _, file := range files {
		paths = append(paths, c.repo.Vault.Path(other, file))
	}
	return repo.Existing(paths...)
}

// A meanwhile is a host that one side of a merge has renamed.
type meanwhile struct{ from, to, hint string }

// hintMeanwhile gives other findings about such a host the same hint. Their own hints would
// remove one of the two keys.
func hintMeanwhile(c *checker) {
	for _, m := range c.meanwhile {
		for i := range c.found {
			if f := &c.found[i]; (f.Check == "orphaned" || f.Check == "merge") && f.Host == m.from ||
				f.Check == "key" && f.Host == m.to {
				f.Hint = m.hint
			}
		}
	}
}

// whichKey says which side has which key, and how to see the one in use: wgkeys status reads the
// file in conflict, too.
func whichKey(u repo.Unmerged) string {
	tunnel, ours, theirs := u.PublicKeys()
	if ours == "" || theirs == "" {
		return ""
	}
	return fmt.Sprintf("; wg show %s public-key on %s says which one it uses: %s is that of --ours, %s that of --theirs",
		tunnel, u.Host, ours, theirs)
}

// vaultOf returns the path of the vault relative to the top of git's working tree.
func vaultOf(u repo.Unmerged) string { return filepath.Dir(filepath.Dir(u.Path)) }

// merge reports a file in conflict that only a person can decide.
func (c *checker) merge(u repo.Unmerged, op git.Operation) {
	g := "git -C " + ui.Quoted(u.Top)
	path := ui.Quoted(u.Path)
	f := Finding{Check: "merge", Host: u.Host}
	what := fmt.Sprintf("%s is not finished: both sides have changed %q", op.Name, c.relative(u.FullPath))
	if to := renamedMeanwhile(c, u); to != "" {
		what = fmt.Sprintf("%s is not finished: one side has called host %q %q, and on the other it got another key", op.Name,
			u.Host, to)
		f.Hint = fmt.Sprintf("rm %s, then wgkeys mv %s %s; then %s add -A -- %s and %s %s",
			inBoth(c, u.Host, to), u.Host, to, g, ui.Quoted(vaultOf(u)), g, op.Finish)
		c.meanwhile = append(c.meanwhile, meanwhile{u.Host, to, f.Hint})
	} else if u.Ours.ID == "" || u.Theirs.ID == "" {
		what = fmt.Sprintf("%s is not finished: one side has removed %q, and the other has changed it", op.Name,
			c.relative(u.FullPath))
		f.Hint = fmt.Sprintf("%[1]s rm -q -- %[2]s, or to keep it: %[1]s add -- %[2]s; and %[1]s %[3]s", g, path, op.Finish)
	} else if u.Host != "" {
		above := filepath.Dir(filepath.Dir(filepath.Dir(u.Path)))
		both := ui.Quoted(filepath.Join(above, "keyring", u.Host)) + " " + ui.Quoted(filepath.Join(above, "vault", u.Host))
		what += ", to another key each" + whichKey(u)
		f.Hint = fmt.Sprintf("%[1]s checkout --ours -- %[2]s, or with --theirs; then wgkeys rekey %[3]s, %[1]s add -A -- %[2]s and %[1]s %[4]s", g, both, u.Host, op.Finish)
	} else {
		f.Hint = fmt.Sprintf("keep in %[1]s what shall stay of both, without the lines <<<<<<<, ======= and >>>>>>>; then %[2]s add -- %[3]s", ui.Quoted(u.FullPath), g, path)
	}
	c.add(f, u.FullPath, 0, "%s", what)
}
