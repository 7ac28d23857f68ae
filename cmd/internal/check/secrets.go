package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
	"wgkeys/vault/leak"
)

// knownSecrets returns what distinguishes the repository's secrets from other keys.
func knownSecrets(r *repo.Repo) (*leak.Known, error) {
	hosts, _ := r.Snapshot.Entries(r.Ring.Dir)
	k := &leak.Known{Public: make(map[keyring.PublicKey]string, len(hosts)),
		Sealed: make(map[keyring.PublicKey]string, len(hosts)), PSK: map[string]string{}, SSH: map[string]string{}}
	if err := r.EachPublicKey(func(key repo.HostKey, public keyring.PublicKey) {
		k.Public[public] = fmt.Sprintf("of host %q in tunnel %q", key.Host, key.Tunnel)
	}); err != nil {
		return nil, err
	}
	err := r.EachMeta(func(host, file string, m vault.Meta) {
		if m.PSK != "" {
			name, peer := repo.OwnerOf(file)
			k.PSK[m.PSK] = fmt.Sprintf("of hosts %q and %q in tunnel %q", host, peer, name)
		} else {
			k.Sealed[m.PublicKey] = fmt.Sprintf("of host %q, %s", host, file)
		}
	})
	sshRecipients(k.SSH, r.AllRecipients())
	return k, err
}

// secrets finds secrets in the clear in the working tree: in all of it if the repository is
// a directory of a larger one in git.
func (c *checker) secrets() error {
	known, err := knownSecrets(c.repo)
	if err != nil {
		return err
	}
	top := c.dir
	if t, err := git.Top(c.dir); err == nil {
		top = t
	}
	dir := c.dir
	if c.dir, err = filepath.EvalSymlinks(dir); err != nil { // paths below top are shown relative to it
		c.dir = dir
	}
	defer func() { c.dir = dir }()
	var mu sync.Mutex
	var here report
	here.dir = c.dir
	found := func(path string, h leak.Hit) {
		mu.Lock()
		defer mu.Unlock()
		here.secret(path, h, "",
			"it is there for everybody who reads the working tree: move it away, and if anybody could read it: "+replace(h))
	}
	unreadable := func(path string, err error) {
		if errors.Is(err, os.ErrNotExist) { // removed in the meantime
			return
		}
		mu.Lock()
		defer mu.Unlock()
		here.add(Finding{Check: "secret", Hint: "ls -ld " + ui.Quoted(path)}, path, 0,
			"cannot search %q for secrets: %v", path,
			fault.Errno(err))
	}
	known.Tree(top, c.repo.Snapshot, found, unreadable)
	here.sort()
	c.found = append(c.found, here.found...)
	return nil
}

func (r *report) sort() {
	slices.SortStableFunc(r.found,
		func(a, b Finding) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
}

func (r *report) secret(path string, h leak.Hit, where, hint string) {
	r.add(Finding{Check: "secret", Hint: hint}, path, h.Line, "%s is in the clear in %s:%d%s", h.Whose(), r.relative(path),
		h.Line, where)
}

// replace returns the command that makes an exposed secret worthless.
func replace(h leak.Hit) string {
	switch h.Kind {
	case leak.Identity:
		return "take its recipient out of vault/recipients.txt, wgkeys rekey, and wgkeys rotate --leaver RECIPIENT"
	case leak.PresharedKey:
		return "wgkeys rotate --psk HOST"
	}
	return "wgkeys rotate --now HOST"
}

// Staged finds secrets in the clear in what the next commit would add.
func Staged(ctx context.Context, r *repo.Repo) ([]Finding, error) {
	return secretsInGit(r, func(top string, known *leak.Known, here *report) error {
		reset := "git reset -q -- " // git restore needs a commit
		if top != r.Dir {
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

// pastSecrets finds secrets in the clear in all of git's history: in files, and in the messages
// of commits and tags. The SSH key of a former recipient is one: it opens old versions of files.
func pastSecrets(ctx context.Context, r *repo.Repo) ([]Finding, error) {
	return secretsInGit(r, func(_ string, known *leak.Known, here *report) error {
		known.AnySSH = true
		for _, err := range r.NarrowClones(ctx) {
			here.fault(Finding{Check: "history"}, err)
		}
		s := &pastSearch{known: known, here: here, left: map[string]string{}, could: map[vault.Fingerprint]bool{}}
		for _, top := range r.Tops() {
			inFile := func(b git.Blob) error { return s.file(top, b) }
			if err := git.History(ctx, top, leak.MaxFile, inFile, s.message); err != nil {
				return err
			}
		}
		for _, tell := range s.later {
			tell()
		}
		return nil
	})
}

// A pastSearch is the search of a history.
type pastSearch struct {
	known *leak.Known
	here  *report
	left  map[string]string          // recipients, as in leak.Known
	could map[vault.Fingerprint]bool // open a file of the vault
	later []func()                   // tell of SSH keys, when all recipients are known
}

func (s *pastSearch) file(top string, b git.Blob) error {
	if repo.IsRecipients(b.Path) {
		sshRecipients(s.left, vault.RecipientsIn(b.Path, b.Text))
	}
	if m, err := vault.ReadMeta(b.Path, b.Text); err == nil {
		for _, f := range m.Recipients {
			s.could[f] = true
		}
	}
	for _, h := range s.known.Find(b.Path, b.Text) {
		s.found(h, func(h leak.Hit) {
			s.here.secret(filepath.Join(top, b.Path), h, ", in history as "+b.ID[:12],
				"whoever has a clone has it: "+replace(h)+"; the commits: git log --all --find-object="+b.ID)
		})
	}
	return nil
}

// message passes over a key that is only alone in the text: it may as well be a public key of
// before, and a finding in a message is there for ever.
func (s *pastSearch) message(m git.Message) error {
	for _, h := range s.known.Find("", m.Text) {
		if h.Alone {
			continue
		}
		s.found(h, func(h leak.Hit) {
			s.here.add(Finding{Check: "secret", Hint: "whoever has a clone has it: " + replace(h) +
				"; the message: git cat-file -p " + m.ID}, "", 0,
				"%s is in the clear in the message of %s %s, line %d", h.Whose(), m.Of, m.ID[:12], h.Line)
		})
	}
	return nil
}

// found tells of a hit. That of an SSH key with an unknown owner waits until all recipients
// that there ever were are known, and is none if it was of none of them.
func (s *pastSearch) found(h leak.Hit, tell func(leak.Hit)) {
	if h.SSH == "" {
		tell(h)
		return
	}
	s.later = append(s.later, func() {
		rs := vault.RecipientsIn("", []byte(h.SSH))
		if h.Of = s.left[h.SSH]; h.Of == "" && len(rs) == 1 && s.could[rs[0].Fingerprint] {
			h.Of = "of recipient " + rs[0].Fingerprint.String()
		}
		if h.Of != "" {
			tell(h)
		}
	})
}

// sshRecipients adds the owners of SSH keys among the recipients.
func sshRecipients(to map[string]string, all vault.Recipients) {
	for _, r := range all {
		if strings.HasPrefix(r.Text, "ssh-") {
			to[r.Text] = "of recipient " + r.String()
		}
	}
}

func secretsInGit(r *repo.Repo, search func(top string, known *leak.Known, here *report) error) ([]Finding, error) {
	dir, err := filepath.EvalSymlinks(r.Dir)
	if err != nil {
		return nil, err
	}
	top, err := git.Top(dir)
	if err != nil {
		return nil, fault.NewFile("not in git:", r.Dir, "neither it nor a folder above it has a .git",
			git.ToInit(r.Dir))
	}
	known, err := knownSecrets(r)
	if err != nil {
		return nil, err
	}
	here := &report{dir: dir}
	err = search(top, known, here)
	here.sort()
	return unique(here.found), err
}
