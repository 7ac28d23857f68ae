package check

import (
	"slices"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// hintRename extends hints that would make another key, or remove one. If one host has no
// public key, and no tunnel names another one, they may be the same host, whose name
// somebody has changed in the tunnel file: then the hint also says how to keep the key.
func (c *checker) hintRename() {
	hintRenamedTunnel(c)
	lacking := c.lackingKey()
	if len(lacking) != 1 {
		return
	}
	orphaned := c.orphanedHosts()
	if len(orphaned) != 1 {
		return
	}
	from, to := orphaned[0], lacking[0]
	if slices.ContainsFunc(c.found, func(f Finding) bool { return f.mayBe(to, from) }) {
		from, to = to, from // the folders were renamed, and not the host in the tunnel file
	}
	for i := range c.found {
		f := &c.found[i]
		if f.mayBeRenamed() {
			continue // its own hint says so
		}
		if f.Check == "key" && f.Host == lacking[0] || f.Check == "orphaned" && f.Host == orphaned[0] {
			f.Hint = words.IfRenamed("", from, to) + f.Hint
		}
	}
}

// hintRenamedTunnel does the same for a tunnel whose file somebody has renamed, or to which
// a merge has brought a host under the old name.
func hintRenamedTunnel(c *checker) {
	from, to, ok := renamedTunnel(c)
	if !ok {
		return
	}
	for i := range c.found {
		f := &c.found[i]
		switch {
		case f.Check == "orphaned" && f.Tunnel == from:
			f.Hint = words.IfRenamed("-t ", from, to) + f.Hint
		case f.lacks != "" && f.Tunnel == to:
			f.Hint = words.IfRenamed("-t ", from, to) + repo.RemoveFormer(c.repo, from, f.Host) + f.Hint
		}
	}
}

// renamedTunnel returns the only tunnel that has keys and no file, and the only one where
// hosts lack keys that they have in the former.
func renamedTunnel(c *checker) (from, to string, ok bool) {
	old := map[string]map[string]bool{} // by tunnel, hosts with keys
	for _, f := range c.found {
		if f.Check == "orphaned" && f.Tunnel != "" && !hasFile(c, f.Tunnel) {
			if from = f.Tunnel; old[from] == nil {
				old[from] = map[string]bool{}
			}
			old[from][f.Host] = true
		}
	}
	several := len(old) != 1
	for _, h := range c.hosts {
		if h.lacks && old[from][h.host] {
			several = several || to != "" && to != h.tunnel
			to = h.tunnel
		}
	}
	return from, to, to != "" && !several
}

// hasFile reports whether there is a tunnel of that name.
func hasFile(c *checker, name string) bool {
	return slices.ContainsFunc(c.parsed, func(t *tunnel.Tunnel) bool { return t.Name == name })
}

// mayBe reports whether a file made for host from is in the folder of host to.
func (f Finding) mayBe(from, to string) bool {
	if f.moved == nil {
		return false
	}
	was, is, ok := f.moved.Hosts()
	return ok && was == from && is == to
}

// mayBeRenamed reports whether a file may belong to a renamed host or tunnel.
func (f Finding) mayBeRenamed() bool {
	if f.moved == nil {
		return false
	}
	_, _, hosts := f.moved.Hosts()
	_, _, tunnels := f.moved.Tunnels()
	return hosts || tunnels
}

// lackingKey returns hosts of tunnel files that have no public key, two at most.
func (c *checker) lackingKey() (hosts []string) {
	for _, h := range c.hosts {
		if h.lacks && !slices.Contains(hosts, h.host) {
			hosts = append(hosts, h.host)
		}
		if len(hosts) > 1 {
			break
		}
	}
	return hosts
}

// orphanedHosts returns hosts that have keys and that no tunnel file names.
func (c *checker) orphanedHosts() (hosts []string) {
	if !slices.ContainsFunc(c.found, func(f Finding) bool { return f.Check == "orphaned" }) {
		return nil
	}
	known := map[string]bool{} // named by a tunnel file, or found already
	for _, h := range c.hosts {
		known[h.host] = true
	}
	for _, f := range c.found {
		if f.Check == "orphaned" && f.Host != "" && !known[f.Host] {
			hosts, known[f.Host] = append(hosts, f.Host), true
		}
	}
	return hosts
}

// holders are folders of the vault that no tunnel asks for, by the private keys in them.
type holders map[keyIn][]string

type keyIn struct {
	file string
	key  keyring.PublicKey
}

// holdersOf returns which of the orphaned hosts have what private keys in these files.
func holdersOf(c *checker, orphaned []string, files map[string]bool) holders {
	all := holders{}
	for file := range files {
		for _, host := range orphaned {
			if meta, err := c.repo.Vault.Meta(host, file); err == nil && !meta.PublicKey.IsZero() {
				of := keyIn{file, meta.PublicKey}
				all[of] = append(all[of], host)
			}
		}
	}
	return all
}

// hintKeyElsewhere gives findings another hint if the private key of a host is in the folder of
// another one, which no tunnel names any more, as after a merge of a renaming and a new key: that
// file is not to be removed.
func hintKeyElsewhere(c *checker) {
	orphaned := c.orphanedHosts()
	if len(orphaned) == 0 {
		return // in a large repository the rest takes time
	}
	var lacking []*hostCheck
	files := map[string]bool{}
	for _, h := range c.hosts {
		file := vault.KeyFile(h.tunnel)
		own, err := c.repo.Vault.Meta(h.host, file)
		if !h.public.IsZero() && (err != nil || own.PublicKey != h.public) {
			lacking, files[file] = append(lacking, h), true
		}
	}
	at := holdersOf(c, orphaned, files)
	ofOrphaned, ofHost := map[string]string{}, map[string]string{}
	for _, h := range lacking {
		file := vault.KeyFile(h.tunnel)
		for _, other := range at[keyIn{file, h.public}] {
			hint := "wgkeys mv " + other + " " + h.host
			if there := repo.Existing(c.repo.Vault.Path(h.host, file)); there != "" {
				hint = "rm " + there + ", then " + hint
			}
			ofOrphaned[other], ofHost[h.host] = hint, hint
		}
	}
	for i := range c.found {
		f := &c.found[i]
		hints := map[string]map[string]string{"orphaned": ofOrphaned, "key": ofHost}[f.Check]
		if hint := hints[f.Host]; hint != "" {
			f.Hint = hint
		}
	}
}

// hintNextElsewhere gives findings about a next key that is in the folder of another host
// another hint, since hosts may use the key already: one side of a merge has renamed a host
// of which the other has begun a rotation. That one can be finished under the old name alone.
func hintNextElsewhere(c *checker) {
	var begun []*hostCheck
	files := map[string]bool{}
	for _, h := range c.hosts {
		if !h.change.Next.IsZero() && !h.change.Sealed {
			begun, files[vault.KeyFile(keyring.Next(h.tunnel))] = append(begun, h), true
		}
	}
	if len(begun) == 0 {
		return
	}
	at := holdersOf(c, c.orphanedHosts(), files)
	ofOrphaned, ofHost := map[string]string{}, map[string]string{}
	for _, h := range begun {
		for _, other := range at[keyIn{vault.KeyFile(keyring.Next(h.tunnel)), h.change.Next}] {
			hint := "git -C " + ui.Quoted(c.dir) + " merge --abort; on the branch that has begun the rotation: " +
				repo.Commands(c.repo, h.tunnel).Run("rotate --commit", other) + "; then merge again"
			ofOrphaned[other], ofHost[h.host] = hint, hint
		}
	}
	for i := range c.found {
		f := &c.found[i]
		if hint := ofOrphaned[f.Host]; hint != "" {
			f.Hint = hint
		} else if hint := ofHost[f.Host]; hint != "" && (f.Check == "rotation" || f.Check == "merge") {
			f.Hint = hint
		}
	}
}
