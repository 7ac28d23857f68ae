package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/vault"
)

// A hostCheck checks one host in one tunnel.
type hostCheck struct {
	*checker
	report
	tunnel, host string
	unmanaged    bool // nobody logs in to it: its private key need not be in the vault

	public keyring.PublicKey // zero: there is none, or it is not valid
	lacks  bool              // there is none
	change repo.KeyState
}

func (h *hostCheck) run() {
	var err error
	h.change, err = h.repo.KeyState(h.host, h.tunnel)
	h.key()
	h.rotation(err)
}

func (h *hostCheck) finding(check, hint string) Finding {
	return Finding{Check: check, Tunnel: h.tunnel, Host: h.host, Hint: hint}
}

// fault and add add to the host's own report, since several hosts are checked at once.
func (h *hostCheck) fault(check string, err error) { h.report.fault(h.finding(check, ""), err) }
func (h *hostCheck) add(check, hint, path string, line int, what string, args ...any) {
	h.report.add(h.finding(check, hint), path, line, what, args...)
}

// addLacking reports a missing file at path.
func (h *hostCheck) addLacking(check, hint, file, path string, line int, what string, args ...any) {
	f := h.finding(check, hint)
	f.lacks = file
	h.report.add(f, path, line, what, args...)
}

// key checks a host's key pair, and to whom the private key is encrypted.
func (h *hostCheck) key() {
	pub := h.repo.Ring.Path(h.host, h.tunnel)
	public, err := h.repo.Ring.GetFrom(h.repo.Snapshot, h.host, h.tunnel)
	if errors.Is(err, fs.ErrNotExist) {
		h.withoutPublic(pub, err)
		return
	}
	if err != nil {
		h.fault("key", err)
		return
	}
	h.public = public
	file := vault.KeyFile(h.tunnel)
	path := h.repo.Vault.Path(h.host, file)
	if h.unmanaged && h.repo.Vault.Lacks(h.host, file) {
		return // its owner has it; the hint of an error would look at all keys of the repository
	}
	meta, err := h.repo.Vault.Meta(h.host, file)
	switch {
	case errors.Is(err, vault.ErrNoMeta): // made by stock age: rekey would write it again anyway
		h.add("recipients", "wgkeys rekey "+h.host, path, 0, noMeta, file, h.host)
		h.open(file, public)
	case errors.Is(err, fs.ErrNotExist) && h.unmanaged:
	case errors.Is(err, fs.ErrNotExist):
		h.addLacking("key", "bring it back from git: git log -- "+ui.Quoted(path)+"; if "+h.host+
			" made its key itself: "+repo.Commands(h.repo, h.tunnel).Run("push", h.host)+" asks whether it still has it", path,
			pub, 1, "host %q has a public key in tunnel %q, and no private one in the vault", h.host, h.tunnel)
	case err != nil:
		h.fault("key", err)
	case meta.PublicKey != public && h.change.VaultPromoted: // see rotation
	case meta.PublicKey != public:
		f := h.finding("key", "git log -p -- "+ui.Quoted(pub))
		f.other = true
		h.report.add(f, pub, 1, "the private key of host %q in tunnel %q belongs to %s, and the keyring has %s",
			h.host, h.tunnel, meta.PublicKey, public.Spelled(meta.PublicKey))
	default:
		h.lists.compare(&h.report, h.finding("recipients", ""), file, path, meta)
		if h.repo.TooOld(meta, h.now) {
			hint := repo.Commands(h.repo, h.tunnel).Run("rotate", h.host)
			if h.unmanaged {
				hint = repo.NewKeyByHand(h.repo, h.host, h.tunnel)
			}
			h.add("age", hint, path, 0, "the key of host %q in tunnel %q was made %d days ago, and max_key_age in %s is %v",
				h.host, h.tunnel, int(h.now.Sub(meta.Created)/repo.Day), repo.Marker, repo.InDays(h.repo.MaxKeyAge))
		}
		h.open(file, public)
	}
}

// withoutPublic reports that the host has no public key, which belongs into the file pub.
func (h *hostCheck) withoutPublic(pub string, err error) {
	h.lacks = true
	hint := repo.Commands(h.repo, h.tunnel).Run("gen", h.host)
	if h.unmanaged {
		hint = "write the public key into " + ui.Quoted(pub) + ", or for one to export: " + hint
	}
	if _, noMeta := h.repo.Vault.Meta(h.host, vault.KeyFile(h.tunnel)); errors.Is(noMeta, vault.ErrNoMeta) {
		h.fault("key", repo.WithoutPublic(h.repo, h.host, h.tunnel, err))
		return
	}
	h.addLacking("key", hint, pub, pub, 0, "host %q has no public key in tunnel %q", h.host, h.tunnel)
}

// noMeta formats a file and a host: a former recipient may be able to open it.
const noMeta = "%s of host %q does not say to whom it is encrypted, since wgkeys did not make it"

// open checks whether a private key opens and belongs to its public key.
func (h *hostCheck) open(file string, public keyring.PublicKey) {
	if h.ids == nil {
		return
	}
	if _, err := h.repo.Vault.OpenKey(h.host, file, public, h.ids); err != nil {
		h.fault("key", err)
	}
}

// prepareAll opens all files at once if that takes a hardware key.
func prepareAll(r *repo.Repo, ids *vault.Identities) error {
	if !ids.MayAsk() {
		return nil
	}
	hosts, err := r.Vault.Hosts()
	if err != nil {
		return err
	}
	var all []vault.Name
	for _, host := range hosts {
		files, err := r.Vault.List(host)
		if err != nil {
			return err
		}
		for _, file := range files {
			all = append(all, vault.Name{Host: host, File: file})
		}
	}
	return ids.Prepare(r.Vault, all)
}

// rotation reports an unfinished rotation, and its state.
func (h *hostCheck) rotation(err error) {
	r := h.change
	if err == nil {
		err = r.Mismatch(h.repo, h.host, h.tunnel)
	}
	rotate := repo.Commands(h.repo, h.tunnel).Run("rotate", h.host)
	nextPub := h.repo.Ring.Path(h.host, keyring.Next(h.tunnel))
	nextFile := vault.KeyFile(keyring.Next(h.tunnel))
	switch {
	case err != nil:
		h.fault("rotation", err)
	case r.VaultPromoted:
		h.add("rotation", rotate, nextPub, 1,
			"a rotation of host %q in tunnel %q is over, but for %s: the private key in the vault is the next one already",
			h.host, h.tunnel, nextPub)
	case r.Sealed && r.Next.IsZero():
		h.add("rotation", rotate, h.repo.Vault.Path(h.host, nextFile), 0,
			"a rotation of host %q in tunnel %q was begun: its next key is in the vault, and %s is missing",
			h.host, h.tunnel, nextPub)
	case r.Sealed:
		h.add("rotation", rotate, nextPub, 1,
			"a rotation of host %q in tunnel %q is under way: its hosts may use the old key or the next", h.host, h.tunnel)
		if meta, err := h.repo.Vault.Meta(h.host, nextFile); err == nil {
			h.lists.compare(&h.report, h.finding("recipients", ""), nextFile, h.repo.Vault.Path(h.host, nextFile), meta)
		}
		h.open(nextFile, r.Next)
	case r.UnderWay():
		h.add("rotation", rotate+"; if it was lost: git log -- "+ui.Quoted(h.repo.Vault.Path(h.host, nextFile)), nextPub, 1,
			"a rotation of host %q in tunnel %q is under way, and its next private key is not in the vault: the host made it itself, or it was lost", h.host, h.tunnel)
	}
}

// recipientLists caches the lists of recipients. Most hosts have none of their own, and
// share one.
type recipientLists struct {
	repo   *repo.Repo
	once   sync.Once
	shared vault.Recipients
	err    error
}

func newRecipientLists(r *repo.Repo) *recipientLists { return &recipientLists{repo: r} }

func (l *recipientLists) of(host string) (vault.Recipients, error) {
	for _, own := range []string{"recipients.txt", "recipients.only.txt"} {
		if !l.repo.Snapshot.Lacks(l.repo.Vault.Dir, host, own) &&
			l.repo.Snapshot.Exists(filepath.Join(l.repo.Vault.Dir, host, own)) {
			return l.repo.Vault.Recipients(host)
		}
	}
	l.once.Do(func() { l.shared, l.err = l.repo.Vault.Recipients(host) })
	return l.shared, l.err
}

// compare reports how the recipients of a vault file differ from those listed.
func (l *recipientLists) compare(r *report, f Finding, file, path string, meta vault.Meta) {
	f.Check, f.Hint = "recipients", "wgkeys rekey "+meta.Host
	want, err := l.of(meta.Host)
	if err != nil {
		r.fault(f, err)
		return
	}
	missing, stale := want.Compare(meta.Recipients)
	for _, m := range missing {
		r.add(f, path, 0, "%s of host %q is not encrypted to %s", file, meta.Host, m)
	}
	for _, s := range stale {
		f.Hint = fmt.Sprintf("wgkeys rekey %s, and for what it could read: wgkeys check --leaver %s", meta.Host, s)
		r.add(f, path, 0, "%s of host %q is still encrypted to a recipient that is no longer listed (fingerprint %s)", file,
			meta.Host, s)
	}
}
