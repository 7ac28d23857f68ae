package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
	"wgkeys/vault/leak"
)

// eachPublic calls do for every file of the keyring that is named as one of a
// public key; name is the tunnel's, with ".next" in the middle of a rotation.
func (r *repo) eachPublic(do func(host, name, path string)) error {
	hosts, err := r.seen.List(r.dir, r.ring.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, "cannot read the keyring", r.ring.Dir, "ls -l "+r.ring.Dir)
	}
	found := make([][]string, len(hosts))
	each(len(hosts), func(i int) {
		if keyring.CheckHost(hosts[i].Name()) != nil {
			return
		}
		entries, _ := r.seen.List(r.dir, filepath.Join(r.ring.Dir, hosts[i].Name()))
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".pub"); ok && e.Type().IsRegular() && !strings.HasPrefix(name, ".") {
				found[i] = append(found[i], name)
			}
		}
	})
	for i, names := range found {
		for _, name := range names {
			do(hosts[i].Name(), name, r.ring.Path(hosts[i].Name(), name))
		}
	}
	return nil
}

// known is what tells the repository's secrets from other keys.
func (r *repo) known() (*leak.Known, error) {
	k := &leak.Known{Public: map[keyring.PublicKey]string{}, Sealed: map[keyring.PublicKey]string{}, PSK: map[string]string{}, SSH: map[string]string{}}
	if err := r.eachPublicKey(func(key hostKey, public keyring.PublicKey) {
		k.Public[public] = fmt.Sprintf("of host %q in tunnel %q", key.Host, key.Tunnel)
	}); err != nil {
		return nil, err
	}
	err := r.eachMeta(func(host, file string, m vault.Meta) {
		if m.PSK != "" {
			name, peer := r.ownerOf(host, file)
			k.PSK[m.PSK] = fmt.Sprintf("of hosts %q and %q in tunnel %q", host, peer, name)
		} else {
			k.Sealed[m.PublicKey] = fmt.Sprintf("of host %q, %s", host, file)
		}
	})
	sshRecipients(k.SSH, r.allRecipients())
	return k, err
}

// eachPublicKey calls do for every valid public key.
func (r *repo) eachPublicKey(do func(hostKey, keyring.PublicKey)) error {
	var all []hostKey
	if err := r.eachPublic(func(host, name, _ string) { all = append(all, hostKey{Host: host, Tunnel: name}) }); err != nil {
		return err
	}
	keys := make([]keyring.PublicKey, len(all))
	each(len(all), func(i int) { keys[i], _ = r.ring.Seen(r.seen, all[i].Host, all[i].Tunnel) })
	for i, k := range keys {
		if !k.IsZero() {
			do(all[i], k)
		}
	}
	return nil
}

// eachMeta calls do for every vault file that has metadata.
func (r *repo) eachMeta(do func(host, file string, m vault.Meta)) error {
	hosts, err := r.vault.Hosts()
	if err != nil {
		return err
	}
	type sealed struct {
		file string
		meta vault.Meta
	}
	found, errs := make([][]sealed, len(hosts)), make([]error, len(hosts))
	each(len(hosts), func(i int) {
		var names []string
		names, errs[i] = r.vault.List(hosts[i])
		for _, file := range names {
			if m, err := r.vault.Meta(hosts[i], file); err == nil {
				found[i] = append(found[i], sealed{file, m})
			}
		}
	})
	for i, all := range found {
		for _, s := range all {
			do(hosts[i], s.file, s.meta)
		}
	}
	return errors.Join(errs...)
}

// allRecipients are those of all lists. A list that is wrong is found elsewhere.
func (r *repo) allRecipients() vault.Recipients {
	var all vault.Recipients
	add := func(path string) {
		if text, err := r.seen.Read(r.dir, path, maxMarker); err == nil {
			all = append(all, vault.RecipientsIn(path, text)...)
		}
	}
	hosts, _ := r.seen.List(r.dir, r.vault.Dir)
	for _, host := range hosts {
		lists, _ := r.seen.List(r.dir, filepath.Join(r.vault.Dir, host.Name()))
		for _, list := range lists {
			if isRecipients(list.Name()) {
				add(filepath.Join(r.vault.Dir, host.Name(), list.Name()))
			}
		}
	}
	add(filepath.Join(r.vault.Dir, "recipients.txt"))
	return all
}

// secrets finds secrets in the clear in the working tree: all of git's, where the
// repository is in git.
func (c *checker) secrets() error {
	known, err := c.repo.known()
	if err != nil {
		return err
	}
	top := c.dir
	if t, err := git.Top(c.dir); err == nil {
		top = t
	}
	dir := c.dir
	if c.dir, err = filepath.EvalSymlinks(dir); err != nil { // paths below top are told as seen from it
		c.dir = dir
	}
	defer func() { c.dir = dir }()
	var mu sync.Mutex
	var here report
	here.dir = c.dir
	found := func(path string, h leak.Hit) {
		mu.Lock()
		defer mu.Unlock()
		here.secret(path, h, "", "it is there for everybody who reads the working tree: move it away, and if anybody could read it: "+replace(h))
	}
	unreadable := func(path string, err error) {
		if errors.Is(err, os.ErrNotExist) { // removed meanwhile
			return
		}
		mu.Lock()
		defer mu.Unlock()
		here.add(finding{Check: "secret", Hint: "ls -ld " + path}, path, 0, "cannot search %q for secrets: %v", path, fault.Errno(err))
	}
	known.Tree(top, c.repo.seen, found, unreadable)
	here.sort()
	c.found = append(c.found, here.found...)
	return nil
}

func (r *report) sort() {
	slices.SortStableFunc(r.found, func(a, b finding) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
}

func (r *report) secret(path string, h leak.Hit, where, hint string) {
	what := h.What
	if h.Of != "" {
		what += " " + h.Of
	}
	r.add(finding{Check: "secret", Hint: hint}, path, h.Line, "%s is in the clear in %s:%d%s", what, r.relative(path), h.Line, where)
}

// replace is what makes a secret worthless that was seen.
func replace(h leak.Hit) string {
	switch {
	case strings.Contains(h.What, "identity"), strings.Contains(h.What, "SSH"):
		return "take its recipient out of vault/recipients.txt, wgkeys rekey, and wgkeys rotate --leaver RECIPIENT"
	case strings.Contains(h.What, "preshared"):
		return "wgkeys rotate --psk HOST"
	}
	return "wgkeys rotate --now HOST"
}

// stagedSecrets finds secrets in the clear in what the next commit would add.
func (r *repo) stagedSecrets(ctx context.Context) ([]finding, error) {
	return r.secretsInGit(func(top string, known *leak.Known, here *report) error {
		reset := "git reset -q -- " // git restore needs a commit
		if top != r.dir {
			reset = "git -C " + ui.Quoted(top) + " reset -q -- "
		}
		return git.Staged(ctx, top, leak.MaxFile, func(b git.Blob) error {
			for _, h := range known.Find(b.Path, b.Text) {
				here.secret(filepath.Join(top, b.Path), h, ", staged", reset+ui.Quoted(b.Path)+", and move it away")
			}
			return nil
		})
	})
}

// pastSecrets finds secrets in the clear in all of git's history. The SSH key of a
// recipient who has left is one: it opens what history has.
func (r *repo) pastSecrets(ctx context.Context) ([]finding, error) {
	return r.secretsInGit(func(_ string, known *leak.Known, here *report) error {
		known.AnySSH = true
		for _, err := range r.narrow(ctx) {
			here.fault(finding{Check: "history"}, err)
		}
		left := map[string]string{}           // recipients, as known has them
		could := map[vault.Fingerprint]bool{} // open a file of the vault
		var later []func()                    // when all of them are known
		for _, top := range r.tops() {
			err := git.History(ctx, top, leak.MaxFile, func(b git.Blob) error {
				if isRecipients(b.Path) {
					sshRecipients(left, vault.RecipientsIn(b.Path, b.Text))
				}
				if m, err := vault.ReadMeta(b.Path, b.Text); err == nil {
					for _, f := range m.Recipients {
						could[f] = true
					}
				}
				for _, h := range known.Find(b.Path, b.Text) {
					tell := func() {
						here.secret(filepath.Join(top, b.Path), h, ", in history as "+b.ID[:12],
							"whoever has a clone has it: "+replace(h)+"; the commits: git log --all --find-object="+b.ID)
					}
					if h.SSH == "" {
						tell()
						continue
					}
					later = append(later, func() {
						rs := vault.RecipientsIn("", []byte(h.SSH))
						if h.Of = left[h.SSH]; h.Of == "" && len(rs) == 1 && could[rs[0].Fingerprint] {
							h.Of = "of recipient " + rs[0].Fingerprint.String()
						}
						if h.Of != "" {
							tell()
						}
					})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		for _, tell := range later {
			tell()
		}
		return nil
	})
}

// sshRecipients adds whose the SSH keys are among recipients.
func sshRecipients(to map[string]string, all vault.Recipients) {
	for _, r := range all {
		if strings.HasPrefix(r.Text, "ssh-") {
			to[r.Text] = "of recipient " + r.String()
		}
	}
}

func (r *repo) secretsInGit(search func(top string, known *leak.Known, here *report) error) ([]finding, error) {
	dir, err := filepath.EvalSymlinks(r.dir)
	if err != nil {
		return nil, err
	}
	top, err := git.Top(dir)
	if err != nil {
		return nil, fault.New("not in git:", r.dir, "neither it nor a folder above it has a .git", "git init "+r.dir)
	}
	known, err := r.known()
	if err != nil {
		return nil, err
	}
	here := &report{dir: dir}
	err = search(top, known, here)
	here.sort()
	return here.found, err
}
