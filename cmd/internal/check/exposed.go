package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// An Exposure is what a former recipient could open, and which of those keys are still in
// use. Removing a recipient from recipients.txt does not take back what was read before, or
// a clone that somebody keeps.
type Exposure struct {
	name  string // the name that the user gave
	print vault.Fingerprint
	keys  []repo.HostKey
	psks  []hostPSK
	now   []string // files that do not say to whom they are encrypted
	once  []string // files of which an old version does not
}

// A hostPSK is a preshared key of two hosts.
type hostPSK struct{ host, peer, tunnel string }

// Exposed searches git's history and uncommitted files for everything that the recipient
// who could ever read.
func Exposed(ctx context.Context, r *repo.Repo, who string) (*Exposure, error) {
	past := &past{public: map[vault.Fingerprint]map[keyring.PublicKey]bool{}, psk: map[vault.Fingerprint]map[string]bool{},
		named: r.AllRecipients()}
	if err := past.present(r); err != nil {
		return nil, err
	}
	tops := r.Tops()
	if tops == nil {
		return nil, fault.NewFile("no history of", r.Dir, "it is not in git: what was encrypted to whom before is not known",
			git.ToInit(r.Dir))
	}
	if err := r.RequireCheckedOut(ctx); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(r.Dir)
	if err != nil {
		return nil, err
	}
	for _, top := range tops {
		err := git.History(ctx, top, repo.MaxVaultFile, func(b git.Blob) error {
			past.blob(b.Path, (&report{dir: dir}).relative(filepath.Join(top, b.Path)), b.Text)
			return nil
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	l := &Exposure{name: who, now: past.now, once: past.once}
	if l.print, err = past.find(who, filepath.Join(r.Vault.Dir, "recipients.txt")); err != nil {
		return nil, errors.Join(append(r.NarrowClones(ctx), err)...)
	}
	return l, l.inUse(r, past)
}

// past holds all versions of a repository's vault files and lists of recipients.
type past struct {
	named  vault.Recipients
	maybe  vault.Recipients // in files of other names, which git may have renamed
	now    []string         // files that do not say to whom they are encrypted
	once   []string         // files of which an old version does not
	public map[vault.Fingerprint]map[keyring.PublicKey]bool
	psk    map[vault.Fingerprint]map[string]bool
}

func (p *past) present(r *repo.Repo) error {
	hosts, err := r.Vault.Hosts()
	if err != nil {
		return err
	}
	for _, host := range hosts {
		names, err := r.Vault.List(host)
		if err != nil {
			return err
		}
		for _, file := range names {
			switch m, err := r.Vault.Meta(host, file); {
			case err == nil:
				p.meta(m)
			case errors.Is(err, vault.ErrNoMeta):
				p.now = append(p.now, (&report{dir: r.Dir}).relative(r.Vault.Path(host, file)))
			}
		}
	}
	return nil
}

// blob reads one version of a file; shown is its name for the user. Git names a blob by one
// path of several, so any file may be a vault file, which its content shows. A file that
// stock age made does not say to whom it is encrypted. Other files are skipped.
func (p *past) blob(path, shown string, text []byte) {
	if repo.IsRecipients(path) {
		p.named = append(p.named, vault.RecipientsIn(path, text)...)
		return
	}
	if mayList(text) {
		p.maybe = append(p.maybe, vault.RecipientsIn(path, text)...)
	}
	switch m, err := vault.ReadMeta(path, text); {
	case err == nil:
		p.meta(m)
	case errors.Is(err, vault.ErrNoMeta) && repo.IsVaultFile(path) && !slices.Contains(p.now, shown) &&
		!slices.Contains(p.once, shown):
		p.once = append(p.once, shown)
	}
}

// mayList reports whether a text may be a list of recipients, whatever its name.
func mayList(text []byte) bool {
	for _, begin := range []string{"age1", "ssh-"} {
		if bytes.HasPrefix(text, []byte(begin)) || bytes.Contains(text, []byte("\n"+begin)) {
			return true
		}
	}
	return false
}

func (p *past) meta(m vault.Meta) {
	for _, f := range m.Recipients {
		if m.PSK != "" {
			put(p.psk, f, m.PSK)
		} else {
			put(p.public, f, m.PublicKey)
		}
	}
}

func put[K comparable](sets map[vault.Fingerprint]map[K]bool, f vault.Fingerprint, k K) {
	if sets[f] == nil {
		sets[f] = map[K]bool{}
	}
	sets[f][k] = true
}

// find returns the recipient that the user named: as in a recipients file, by its
// fingerprint, or by the comment above it, if that comment belongs to one recipient only.
func (p *past) find(who, list string) (vault.Fingerprint, error) {
	if f, err := vault.ParseFingerprint(who); err == nil {
		return f, p.seen(who, f)
	}
	if rs := vault.RecipientsIn("", []byte(who)); len(rs) == 1 {
		return rs[0].Fingerprint, p.seen(who, rs[0].Fingerprint)
	}
	var texts []string
	var print vault.Fingerprint
	could := func(r vault.Recipient) bool { return p.public[r.Fingerprint] != nil || p.psk[r.Fingerprint] != nil }
	for _, r := range slices.Concat(p.named,
		slices.DeleteFunc(p.maybe, func(r vault.Recipient) bool { return !could(r) })) {
		if (r.Name == who || r.Above == who) && !slices.Contains(texts, r.Text) {
			texts, print = append(texts, r.Text), r.Fingerprint
		}
	}
	switch len(texts) {
	case 1:
		return print, nil
	case 0:
		why := "no list of recipients, neither now nor in git's history, has it or names it so"
		if near := ui.DidYouMean(who, p.names(), strconv.Quote); near != "" {
			why += ": " + near
		}
		return print, fault.New("no such recipient", who, why,
			"git log -p -- "+ui.Quoted(list))
	}
	for i, t := range texts {
		texts[i] = fmt.Sprintf("%.24s… (fingerprint %s)", t, vault.RecipientsIn("", []byte(t))[0].Fingerprint)
	}
	return print, fault.New("more than one recipient", who, strings.Join(texts, ", "), "name the one by its fingerprint")
}

// names are those of all recipients that there ever were.
func (p *past) names() (all []string) {
	for _, r := range p.named {
		for _, name := range []string{r.Name, r.Above} {
			if name != "" {
				all = append(all, name)
			}
		}
	}
	return all
}

// seen returns an error if nobody with that fingerprint ever was a recipient: a typing
// error, or a recipient of another repository.
func (p *past) seen(who string, f vault.Fingerprint) error {
	listed := slices.ContainsFunc(p.named, func(r vault.Recipient) bool { return r.Fingerprint == f })
	if listed || p.public[f] != nil || p.psk[f] != nil {
		return nil
	}
	return fault.New("no such recipient", who,
		"no list of recipients and no vault file, neither now nor in git's history, has it",
		"wgkeys check --leaver NAME, as the comment above the line had it")
}

// inUse keeps those of the readable keys that are in use.
func (l *Exposure) inUse(r *repo.Repo, p *past) error {
	err := r.EachPublicKey(func(k repo.HostKey, public keyring.PublicKey) {
		if p.public[l.print][public] {
			k.Tunnel = strings.TrimSuffix(k.Tunnel, ".next")
			if !slices.Contains(l.keys, k) {
				l.keys = append(l.keys, k)
			}
		}
	})
	if err != nil {
		return err
	}
	err = r.EachMeta(func(host, file string, m vault.Meta) {
		if m.PSK == "" || !p.psk[l.print][m.PSK] {
			return
		}
		k := hostPSK{host: host}
		if k.tunnel, k.peer = repo.OwnerOf(file); k.host > k.peer {
			k.host, k.peer = k.peer, k.host
		}
		if !slices.Contains(l.psks, k) {
			l.psks = append(l.psks, k)
		}
	})
	slices.SortFunc(l.psks, func(a, b hostPSK) int {
		return cmp.Or(cmp.Compare(a.tunnel, b.tunnel), cmp.Compare(a.host, b.host), cmp.Compare(a.peer, b.peer))
	})
	return err
}

// Still returns an error if the former recipient is still listed anywhere, because new keys
// would be encrypted to it, too.
func (l *Exposure) Still(r *repo.Repo) error {
	for _, rs := range r.AllRecipients() {
		if rs.Fingerprint == l.print {
			return fault.New("still a recipient:", l.name, "the keys that come are encrypted to "+rs.String()+" as well",
				fmt.Sprintf("take the line out of %s, then wgkeys rekey", rs.File))
		}
	}
	return nil
}

// Has reports whether the recipient could read the private key of a host.
func (l *Exposure) Has(host, tunnel string) bool {
	return slices.ContainsFunc(l.keys, func(k repo.HostKey) bool { return k.Host == host && k.Tunnel == tunnel })
}

// replace returns the command that replaces a preshared key.
func (k hostPSK) replace() string {
	return fmt.Sprintf("wgkeys rotate --psk -t %s %s", k.tunnel, k.host)
}

// ExposedFindings returns a finding for each key in use that the recipient could read.
func ExposedFindings(ctx context.Context, r *repo.Repo, say ui.Reporter, who string) ([]Finding, error) {
	l, err := Exposed(ctx, r, who)
	if err != nil {
		return nil, err
	}
	c := report{dir: r.Dir}
	if err := l.Still(r); err != nil {
		c.fault(Finding{Check: "leaver"}, err)
	}
	unmanaged := repo.Unmanaged(r)
	for _, k := range l.keys {
		hint := "wgkeys rotate --leaver " + ui.Quoted(l.name)
		if unmanaged(k.Host, k.Tunnel) {
			hint = repo.NewKeyByHand(r, k.Host, k.Tunnel)
		}
		c.add(Finding{Check: "leaver", Host: k.Host, Tunnel: k.Tunnel, Hint: hint}, r.Ring.Path(k.Host, k.Tunnel), 1,
			"%s could read the private key of host %q in tunnel %q, and it is in use", l.name, k.Host, k.Tunnel)
	}
	for _, k := range l.psks {
		if unmanaged(k.peer, k.tunnel) { // the command has to name a managed host
			k.host, k.peer = k.peer, k.host
		}
		c.add(Finding{Check: "leaver", Host: k.host, Tunnel: k.tunnel, Hint: k.replace()},
			r.Vault.Path(k.host, vault.PSKFile(k.tunnel, k.peer)), 0,
			"%s could read the preshared key of hosts %q and %q in tunnel %q, and it is in use", l.name, k.host, k.peer,
			k.tunnel)
	}
	for _, err := range r.NarrowClones(ctx) {
		c.fault(Finding{Check: "leaver"}, err)
	}
	for _, path := range l.now {
		c.found = append(c.found, Finding{Check: "leaver", File: path, Hint: l.replaceUnknown(path),
			What: fmt.Sprintf("not known who can read %q: it does not say to whom it is encrypted, since wgkeys did not make it",
				path)})
	}
	l.warn(say, l.once)
	return unique(c.found), nil
}

// WarnUnknown warns of the files for which it is not known whether the recipient could read
// them.
func (l *Exposure) WarnUnknown(say ui.Reporter) { l.warn(say, slices.Concat(l.now, l.once)) }

// warn lists the files about which nothing is known, so that the answer is not taken to be
// complete. The history does not say whether such a key was replaced since.
func (l *Exposure) warn(say ui.Reporter, paths []string) {
	const most = 5
	for i, path := range paths {
		who := path
		if i == most {
			who = words.AndMore(path, len(paths)-most)
		}
		say.Warn(fault.New("cannot tell who could read", who,
			"a version of it does not say to whom it is encrypted, since wgkeys did not make it", l.replaceUnknown(path)))
		if i == most {
			return
		}
	}
}

func (l *Exposure) replaceUnknown(path string) string {
	how := "wgkeys rotate HOST"
	if strings.HasSuffix(path, ".psk.age") {
		how = "wgkeys rotate --psk HOST"
	}
	return "if " + l.name + " may have been one of them, and the key was not replaced since: " + how
}

// HasPSK reports whether the recipient could read the preshared key of two hosts.
func (l *Exposure) HasPSK(pair [2]string, tunnel string) bool {
	return slices.ContainsFunc(l.psks, func(k hostPSK) bool {
		return k.tunnel == tunnel && slices.Contains(pair[:], k.host) && slices.Contains(pair[:], k.peer)
	})
}
