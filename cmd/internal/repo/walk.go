package repo

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/parallel"
	"wgkeys/vault"
)

// EachPublic calls do for every file of the keyring that is named as one of a
// public key; name is the tunnel's, with ".next" in the middle of a rotation.
func (r *Repo) EachPublic(do func(host, name, path string)) error {
	hosts, err := r.Snapshot.List(r.Dir, r.Ring.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.WrapFile(err, "cannot read the keyring", r.Ring.Dir, "ls -l "+ui.Quoted(r.Ring.Dir))
	}
	found := make([][]string, len(hosts))
	parallel.Queue(len(hosts), func(i int) {
		if keyring.CheckHost(hosts[i].Name()) != nil {
			return
		}
		entries, _ := r.Snapshot.ListIn(r.Dir, r.Ring.Dir, hosts[i].Name())
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".pub"); ok && e.Type().IsRegular() && !strings.HasPrefix(name, ".") {
				found[i] = append(found[i], name)
			}
		}
	})
	for i, names := range found {
		for _, name := range names {
			do(hosts[i].Name(), name, r.Ring.Path(hosts[i].Name(), name))
		}
	}
	return nil
}

// EachPublicKey calls do for every valid public key.
func (r *Repo) EachPublicKey(do func(HostKey, keyring.PublicKey)) error {
	hosts, _ := r.Snapshot.Entries(r.Ring.Dir)
	all := make([]HostKey, 0, len(hosts)) // or more, of several tunnels
	if err := r.EachPublic(func(host, name, _ string) {
		all = append(all, HostKey{Host: host, Tunnel: name})
	}); err != nil {
		return err
	}
	keys := make([]keyring.PublicKey, len(all))
	parallel.Queue(len(all), func(i int) { keys[i], _ = r.Ring.GetFrom(r.Snapshot, all[i].Host, all[i].Tunnel) })
	for i, k := range keys {
		if !k.IsZero() {
			do(all[i], k)
		}
	}
	return nil
}

// EachMeta calls do for every vault file that has metadata.
func (r *Repo) EachMeta(do func(host, file string, m vault.Meta)) error {
	hosts, err := r.Vault.Hosts()
	if err != nil {
		return err
	}
	type sealed struct {
		file string
		meta vault.Meta
	}
	found, errs := make([][]sealed, len(hosts)), make([]error, len(hosts))
	parallel.Queue(len(hosts), func(i int) {
		var names []string
		names, errs[i] = r.Vault.List(hosts[i])
		for _, file := range names {
			if m, err := r.Vault.Meta(hosts[i], file); err == nil {
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

// AllRecipients returns the recipients of all lists. An invalid list is reported elsewhere.
func (r *Repo) AllRecipients() vault.Recipients {
	var all vault.Recipients
	add := func(path string) {
		if text, err := r.Snapshot.Read(r.Dir, path, MaxFile); err == nil {
			all = append(all, vault.RecipientsIn(path, text)...)
		}
	}
	hosts, _ := r.Snapshot.List(r.Dir, r.Vault.Dir)
	for _, host := range hosts {
		lists, _ := r.Snapshot.ListIn(r.Dir, r.Vault.Dir, host.Name())
		for _, list := range lists {
			if IsRecipients(list.Name()) {
				add(filepath.Join(r.Vault.Dir, host.Name(), list.Name()))
			}
		}
	}
	add(filepath.Join(r.Vault.Dir, "recipients.txt"))
	return all
}
