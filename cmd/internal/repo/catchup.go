package repo

import (
	"context"
	"errors"
	"fmt"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// How to proceed from a key that this clone does not know, or has replaced by an older one.
// "git pull" is not always right: it fails without a branch or an upstream, and does
// nothing if a commit of this branch has removed the key.

// A Command is a command of wgkeys that has to be repeated for a host: the verb with its
// flags.
type Command struct {
	Verb, Host string
	In         words.Commands
}

func (c Command) again() string   { return c.In.Run(c.Verb, c.Host) }
func (c Command) unknown() string { return c.In.Run(c.Verb+" --unknown", c.Host) }

// NewerThere is the error of a command that would replace a key on the host by one of this
// clone, or nil if it may. The command is repeated in the hint.
func (k *KeyHistory) NewerThere(ctx context.Context, tunnel, peer, want, has string, c Command) error {
	err := k.MayReplace(ctx, c.Host, tunnel, peer, want, has)
	unknown, ok := errors.AsType[*notKnown](err)
	if !ok {
		return err
	}
	what, key := "the repository may be behind: it did not replace the key on host", has
	if peer != "" {
		what, key = "the repository may be behind: it did not replace the preshared key with "+peer+" on host",
			"the one with the fingerprint "+has
	}
	why := "that is " + key + "; " + unknown.why
	if unknown.later {
		return fault.NewHost(what, c.Host, why, k.putBack(ctx, tunnel, peer, has, c))
	}
	return fault.NewHost(what, c.Host, why, k.CatchUp(ctx, tunnel, peer, has, c))
}

// CatchUp is how this clone gets to know a key that a host has.
func (k *KeyHistory) CatchUp(ctx context.Context, tunnel, peer, has string, c Command) string {
	otherwise := "if nobody has that key: " + c.unknown()
	top, err := git.Top(k.Repo.Dir)
	if err != nil {
		return "work in the newest copy of the repository; " + otherwise
	}
	on := ""
	files := k.filesOf(keyOf{c.Host, tunnel, peer})
	_, err = versions(ctx, git.Everywhere, files, func(fingerprint string, v git.Version) {
		if fingerprint == has && on == "" {
			on = git.BranchWith(ctx, top, v.First)
		}
	})
	if err != nil {
		on = ""
	}
	if left := k.leftBehind(ctx, tunnel, peer, has, c); left != "" && on == "" {
		return left + "; " + otherwise
	}
	if pull := git.CatchUp(ctx, top, on); pull != "" {
		return fmt.Sprintf("%s, then %s; %s", pull, c.again(), otherwise)
	}
	return "work in the newest copy of the repository; " + otherwise
}

// leftBehind is how to restore a key from a commit that no branch has any more, as after a reset
// to what somebody else has pushed by force, or from a stash; "": there is none.
func (k *KeyHistory) leftBehind(ctx context.Context, tunnel, peer, has string, c Command) string {
	commit, files := "", k.pairOf(tunnel, peer, c)
	top, err := versions(ctx, git.Before, files[:1], func(fingerprint string, v git.Version) {
		if fingerprint == has {
			commit = v.First
		}
	})
	if err != nil || commit == "" || git.Published(ctx, top, commit) || !git.Has(ctx, top, commit, files...) {
		return ""
	}
	return restore(top, commit, files) + ", which no branch has any more, then " + c.again()
}

// Deleted is the command that brings back from git the private key of a public one, of which the
// vault has no file; "" where git has none either, as of a key that a host has made itself.
func (k *KeyHistory) Deleted(ctx context.Context, host, file string, public keyring.PublicKey) string {
	path, commit := k.Repo.Vault.Path(host, file), ""
	top, err := versions(ctx, git.CheckedOut, []string{path}, func(fingerprint string, v git.Version) {
		if fingerprint == public.String() {
			commit = v.First
		}
	})
	if err != nil || commit == "" {
		return ""
	}
	return restore(top, commit, []string{path})
}

// restore is the command that takes files from a commit.
func restore(top, commit string, files []string) string {
	names := ""
	for _, file := range files {
		names += " " + ui.Quoted(file)
	}
	return fmt.Sprintf("git -C %s checkout %.10s --%s", ui.Quoted(top), commit, names)
}

// pairOf are the two files of a key.
func (k *KeyHistory) pairOf(tunnel, peer string, c Command) []string {
	r := k.Repo
	if peer != "" {
		return []string{r.PSKFile(tunnel, c.Host, peer).Path, r.PSKFile(tunnel, peer, c.Host).Path}
	}
	return []string{r.Ring.Path(c.Host, tunnel), r.Vault.Path(c.Host, vault.KeyFile(tunnel))}
}

// putBack is how to restore a key that a commit has removed.
func (k *KeyHistory) putBack(ctx context.Context, tunnel, peer, has string, c Command) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	otherwise := "; if the older key is right: " + c.unknown()
	commit, files := "", k.pairOf(tunnel, peer, c)
	top, err := versions(ctx, git.CheckedOut, files[:1], func(fingerprint string, v git.Version) {
		if fingerprint == has {
			commit = v.First
		}
	})
	if err == nil && commit != "" && git.Has(ctx, top, commit, files...) {
		return restore(top, commit, files) + ", then " + c.again() + otherwise
	}
	if all, err := k.ofAll(ctx, peer); err == nil && all.first[has] != "" { // a file of a host with another name
		return fmt.Sprintf("git -C %s show %.10s", ui.Quoted(all.top), all.first[has]) + otherwise
	}
	return "git log -p -- " + ui.Quoted(files[0]) + otherwise
}

// filesOf are the files that say which key it is, or was.
func (k *KeyHistory) filesOf(of keyOf) []string {
	r := k.Repo
	if of.peer == "" {
		return []string{r.Ring.Path(of.host, of.tunnel), r.Ring.Path(of.host, keyring.Next(of.tunnel))}
	}
	return []string{r.PSKFile(of.tunnel, of.host, of.peer).Path, r.PSKFile(of.tunnel, of.peer, of.host).Path}
}
