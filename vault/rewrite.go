package vault

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

const (
	// There are more writers than processors, since some wait for the disk.
	writers = 16
	// The interval at which staged files are synced and swapped.
	every = 200 * time.Millisecond
)

// A rewrite replaces the files of a rekey. Some goroutines encrypt and stage new files;
// meanwhile another one syncs what is staged, all at once, and swaps it. To sync each file
// by itself took a third of the time of the cryptography, and to swap them only at the end
// left processors idle.
type rewrite struct {
	*Rekey
	dir      *os.File // the vault
	stale    []Stale
	opened   []openFile
	staging  sync.Mutex
	ready    []int // staged, and not yet taken by swapAll
	staged   []bool
	swapped  []bool
	failed   []error // to be swapped
	failures atomic.Int64
	gaveUp   atomic.Bool
}

// writeAll returns those of stale whose files were replaced.
func (r *Rekey) writeAll(ctx context.Context, stale []Stale, open []openFile) (did []Stale, err error) {
	dir, err := files.OpenDir(r.Vault.Dir)
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot open the vault", r.Vault.Dir,
			"ls -ld "+words.ForShell(r.Vault.Dir))
	}
	defer dir.Close()
	if r.files, err = files.NewSwapper(r.Vault.repository(), r.Vault.Dir); err != nil {
		return nil, fault.WrapFile(err, "cannot open the repository", r.Vault.repository(),
			"ls -ld "+words.ForShell(r.Vault.repository()))
	}
	defer r.files.Close()
	n := len(stale)
	w := &rewrite{Rekey: r, dir: dir, stale: stale, opened: open, staged: make([]bool, n), swapped: make([]bool, n),
		failed: make([]error, n)}
	if r.flush == nil {
		r.flush = flush
	}
	done, ended := make(chan struct{}), make(chan error)
	go func() { ended <- w.swapAll(done) }()
	err = each(ctx, writers, n, w.stage)
	close(done)
	err = errors.Join(err, <-ended)
	for i, s := range stale {
		switch {
		case w.swapped[i]:
			did = append(did, s)
		case w.staged[i]: // if it cannot be removed, the next rekey does it
			r.files.Unstage(r.Vault.Path(s.Host, s.File))
		}
	}
	return did, err
}

func (w *rewrite) stage(i int) error {
	if w.gaveUp.Load() {
		return nil
	}
	defer w.step()
	n, o := w.stale[i].Name, &w.opened[i]
	if o.size == 0 {
		return nil
	}
	path := w.Vault.Path(n.Host, n.File)
	rs, labels, err := w.lists.labelled(n.Host)
	if err != nil {
		return err
	}
	text, err := encrypt(o.meta, o.text[:o.size], rs, labels)
	if err == nil {
		stage := w.files.StageUnsynced
		if w.slow {
			stage = w.files.Stage
		}
		err = stage(path, text, 0o600|w.Vault.Shared)
	}
	if errors.Is(err, fs.ErrExist) {
		return fault.NewFile("cannot make the new file:", files.Staged(path), "something else has its name",
			"ls -ld "+words.ForShell(files.Staged(path))+", move it away, then wgkeys rekey")
	}
	if err != nil {
		return fault.WrapFile(err, "cannot encrypt again", path, "wgkeys rekey does what is left")
	}
	w.staging.Lock()
	defer w.staging.Unlock()
	w.staged[i], w.ready = true, append(w.ready, i)
	return nil
}

// swapAll swaps what is staged, repeatedly until done is closed, and then the rest. That
// includes a run that the user interrupts: otherwise the files that are encrypted already
// would have to be encrypted again. It gives up at an error of the disk, or too many
// others.
func (w *rewrite) swapAll(done <-chan struct{}) error {
	defer w.gaveUp.Store(true)
	var disk error
	for last := false; !last && disk == nil && w.failures.Load() < maxErrors; {
		select {
		case <-done:
			last = true
		case <-time.After(every):
		}
		batch := w.take()
		if len(batch) == 0 {
			continue
		}
		if disk = w.flush(w.dir, "wgkeys rekey"); disk == nil {
			each(context.Background(), writers, len(batch), func(n int) error { return w.swap(batch[n]) })
		}
	}
	if slices.Contains(w.swapped, true) {
		disk = cmp.Or(disk, w.flush(w.dir, "sync"))
	}
	return errors.Join(append(w.failed, disk)...)
}

// take returns what was staged since the last call.
func (w *rewrite) take() []int {
	w.staging.Lock()
	defer w.staging.Unlock()
	batch := w.ready
	w.ready = nil
	return batch
}

func (w *rewrite) swap(i int) error {
	n := w.stale[i].Name
	path := w.Vault.Path(n.Host, n.File)
	err := w.files.Swap(path, w.opened[i].was, maxFile)
	if err == nil {
		w.swapped[i] = true
		return nil
	}
	w.failures.Add(1)
	w.failed[i] = fault.WrapFile(err, "cannot encrypt again", path, "wgkeys rekey does what is left")
	return w.failed[i]
}
