package vault

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// A Stale is a vault file that is not encrypted to the present recipients.
type Stale struct {
	Name
	Missing Recipients    // who cannot open it yet
	Gone    []Fingerprint // who still can
	NoMeta  bool          // made by stock age: it does not say who can open it
	Sealed  bool          // its host alone may open it

	read *sealed // not parsed until it is decrypted, since that takes most of the time
}

// Expected is what a file is compared with after it was decrypted: the public key of a
// private key, or the fingerprint of a preshared key. If no fingerprint is known, since
// stock age made the file, it is the file of the other host, if there is one.
type Expected struct {
	PublicKey keyring.PublicKey
	PSK       string
	Other     Name
}

// A Rekey encrypts vault files again, to the present recipients of their hosts.
// The keys in them stay the same, and so does the time when they were made.
//
// Everything is decrypted and compared before anything is written. Each file is then
// replaced by a rename, once the new one is on disk. So a rekey that stops at any point
// leaves a vault in which every file opens, for the old recipients or the new ones, and
// another rekey finishes.
type Rekey struct {
	Vault Vault
	IDs   *Identities
	Now   time.Time                    // when a file without metadata is said to have been made
	Want  func(Name) (Expected, error) // what a file has to contain
	Hosts []string                     // also searched for temporary files of an earlier rekey
	Step  func(done, all int)          // called for progress, in any order; may be nil
	Left  func(Stale, error)           // called for sealed files that only their hosts can rekey
	lists *Lists
	files *files.Swapper
	flush func(dir *os.File, hint string) error // flush, except in tests
	slow  bool                                  // each file is synced by itself
	mu    sync.Mutex
	done  int
	all   int
}

// Outdated returns the files of hosts that are not encrypted to their present recipients,
// in the order of hosts and files. It needs no identity.
func (v Vault) Outdated(ctx context.Context, hosts []string) ([]Stale, error) {
	lists := v.Lists()
	found := make([][]Stale, len(hosts))
	err := each(ctx, runtime.NumCPU(), len(hosts), func(i int) (err error) {
		found[i], err = lists.outdated(hosts[i])
		return err
	})
	var all []Stale
	for _, stale := range found {
		all = append(all, stale...)
	}
	return all, err
}

func (l *Lists) outdated(host string) (all []Stale, err error) {
	names, err := l.vault.List(host)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	rs, err := l.Of(host)
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		s, err := l.vault.read(host, file)
		if err != nil {
			return nil, err
		}
		stale := Stale{Name: Name{host, file}, NoMeta: s.meta.Version == 0, Sealed: l.vault.Sealed(host), read: s}
		stale.Missing, stale.Gone = rs.Compare(s.meta.Recipients)
		if stale.NoMeta || len(stale.Missing)+len(stale.Gone) > 0 {
			all = append(all, stale)
		}
	}
	return all, nil
}

// Run encrypts the files of stale again and returns those that it has replaced, also if
// there is an error. A file that somebody else has changed in the meantime is left as it
// is, and is an error.
func (r *Rekey) Run(ctx context.Context, stale []Stale) (did []Stale, err error) {
	unlock, err := r.Vault.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.sweep(stale); err != nil || len(stale) == 0 {
		return nil, err
	}
	r.lists, r.all, r.slow = r.Vault.Lists(), 2*len(stale), !files.Flushes(r.Vault.Dir)
	if err := r.agree(stale); err != nil {
		return nil, err
	}
	if err := r.IDs.Prepare(r.Vault, r.toOpen(stale)); err != nil {
		return nil, err
	}
	r.forget(stale)
	open, err := r.openAll(ctx, stale)
	defer clear(open)
	if err != nil {
		return nil, err
	}
	return r.writeAll(ctx, stale, open)
}

// toOpen returns the files of stale, and those that they are compared with.
func (r *Rekey) toOpen(stale []Stale) []Name {
	names := make([]Name, len(stale))
	for i, s := range stale {
		names[i] = s.Name
	}
	for _, s := range stale {
		if !s.NoMeta {
			continue
		}
		want, err := r.Want(s.Name) // its error is reported when the file is opened
		if err == nil && want.Other != (Name{}) && !slices.Contains(names, want.Other) {
			names = append(names, want.Other)
		}
	}
	return names
}

// agree is [Lists.Agree] of the files' hosts.
func (r *Rekey) agree(stale []Stale) error {
	hosts := make([]string, len(stale))
	for i, s := range stale {
		hosts[i] = s.Host
	}
	return r.lists.Agree(slices.Compact(hosts)) // they are sorted by host
}

// sweep removes the temporary files of an earlier rekey that was killed: they may be
// encrypted to somebody who is no longer in the lists.
func (r *Rekey) sweep(stale []Stale) error {
	hosts := slices.Clone(r.Hosts)
	for _, s := range stale {
		hosts = append(hosts, s.Host)
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		dir := filepath.Join(r.Vault.Dir, host)
		if err := r.Vault.Snapshot.Sweep(r.Vault.repository(), dir, isVaultFile); err != nil {
			return fault.WrapFile(err, "cannot remove what an earlier rekey has left in", dir, "ls -la "+words.ForShell(dir))
		}
	}
	return nil
}

// forget drops the snapshot's texts of the files that were read already, so that no text is
// in memory twice. Those of preshared keys stay, since they are compared with each other.
func (r *Rekey) forget(stale []Stale) {
	for _, s := range stale {
		if s.read != nil && strings.HasSuffix(s.File, keySuffix) {
			r.Vault.Snapshot.Forget(r.Vault.Path(s.Host, s.File))
		}
	}
}

// An openFile is a file that was decrypted, and will be written again.
type openFile struct {
	meta Meta
	was  [sha256.Size]byte // of the vault file
	text [maxText]byte     // of which the first size bytes are the key
	size int               // 0: it is left to its host
}

// maxErrors is how many errors are reported.
const maxErrors = 10

func (r *Rekey) openAll(ctx context.Context, stale []Stale) ([]openFile, error) {
	open := make([]openFile, len(stale))
	err := each(ctx, runtime.NumCPU(), len(stale), func(i int) error {
		defer r.step()
		err := r.open(&stale[i], &open[i])
		if errors.Is(err, ErrNoIdentity) && stale[i].Sealed {
			open[i].size = 0
			_, uncompared := errors.AsType[*notCompared](err)
			if f, ok := err.(*fault.Fault); ok && !uncompared {
				f.Hint = r.sealedHint(&stale[i])
			}
			r.left(stale[i], err)
			return nil
		}
		return err
	})
	return open, err
}

// sealedHint is the hint for a file that its host alone can open. If none of its present
// recipients can, the host was reinstalled since, and has another key.
func (r *Rekey) sealedHint(s *Stale) string {
	if rs, err := r.Vault.Lists().Of(s.Host); err == nil && len(s.Missing) == len(rs) {
		return reinstalled(s.Host)
	}
	return onHost(s.Host, "rekey "+s.Host)
}

func (r *Rekey) left(s Stale, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Left != nil {
		r.Left(s, err)
	}
}

func (r *Rekey) step() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.Step != nil {
		r.Step(r.done, r.all)
	}
}

// open decrypts a file and compares its content, as a push does.
func (r *Rekey) open(stale *Stale, o *openFile) error {
	want, err := r.Want(stale.Name)
	if err != nil {
		return err
	}
	s := stale.read // if the file has changed since, it will not be replaced
	if s == nil || r.Vault.Snapshot == nil {
		if s, err = r.Vault.read(stale.Host, stale.File); err != nil {
			return err
		}
	}
	stale.read = nil
	text, err := r.key(s, stale, &want)
	if err != nil {
		return err
	}
	defer clear(text)
	o.was, o.size = s.sum, copy(o.text[:], text)
	if o.meta = s.meta; stale.NoMeta {
		o.meta = Meta{Host: stale.Host, File: installed(stale.File), PublicKey: want.PublicKey, PSK: want.PSK, Created: r.Now}
	}
	return nil
}

// key returns the key file in s, after comparing it. If nothing was known to compare with,
// Expected is set from it.
func (r *Rekey) key(s *sealed, stale *Stale, want *Expected) ([]byte, error) {
	if strings.HasSuffix(stale.File, keySuffix) {
		k, err := s.openKey(r.Vault, stale.Host, want.PublicKey, r.IDs)
		if err != nil {
			return nil, err
		}
		return k.File(), nil
	}
	var k keyring.PresharedKey
	var err error
	if stale.NoMeta && want.PSK == "" {
		k, err = s.openByHand(r.Vault, stale.Host, want.Other, r.IDs)
	} else {
		k, err = s.openPSK(r.Vault, stale.Host, want.PSK, r.IDs)
	}
	if err != nil {
		return nil, err
	}
	want.PSK = k.Fingerprint()
	return k.File(), nil
}

// each does n pieces of work, several at once, until there are too many errors or ctx ends.
// It returns the errors in the order of the work.
func each(ctx context.Context, workers, n int, do func(int) error) error {
	errs := make([]error, n)
	var next, failed atomic.Int64
	var group sync.WaitGroup
	for range min(workers, n) {
		group.Go(func() { // a goroutine for each piece would have to grow its stack each time
			for failed.Load() < maxErrors && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[i] = do(i); errs[i] != nil {
					failed.Add(1)
				}
			}
		})
	}
	group.Wait()
	return errors.Join(append(errs, context.Cause(ctx))...)
}

// lock keeps a second rekey out of the vault. It ends with the process.
func (v Vault) lock() (unlock func(), err error) {
	unlock, err = files.Lock(v.Dir)
	if errors.Is(err, files.ErrLocked) {
		return nil, fault.NewFile("another rekey is running in", v.Dir, "two at once would be in each other's way",
			"wait for it, then wgkeys rekey")
	}
	if err != nil {
		return nil, fault.WrapFile(err, "cannot lock the vault", v.Dir, "")
	}
	return unlock, nil
}
