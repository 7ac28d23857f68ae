package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/push"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// PushOptions say which hosts get their key files, and how.
type PushOptions struct {
	Hosts   []string
	Named   []string // those of them that are served even if they are this machine
	Only    string   // the tunnel; "": all
	Unknown bool     // also replace a key that the repository does not know
	DryRun  bool
	Jobs    int // how many hosts to serve at once

	StopAfter int             // as in [many.Work]
	Stop      <-chan struct{} // as in [many.Work]

	Count func(hosts int)   // called with the number of hosts
	Begun func(host string) // called for each host when it is begun
	Done  func(Pushed)      // called for each host when it is done
}

// A Pushed is the outcome for a host.
type Pushed struct {
	many.Outcome
	Results []push.Result
	Other   map[string]string // by path, the other host whose key a file had
}

// Push installs key files on hosts if they differ. The error is one from before any host
// was asked; errors of hosts are in the result.
func (m *Maker) Push(ctx context.Context, o PushOptions) ([]Pushed, error) {
	p := &pusher{maker: m, o: o, at: map[string]int{}, by: map[string]*tunnel.Tunnel{}, from: map[[2]string]vault.Name{},
		past: &repo.KeyHistory{Repo: m.Repo}, places: &places{owner: map[[2]string]string{}}}
	if err := p.findTargets(ctx); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	o.Count(len(p.targets))
	if o.DryRun {
		return p.serve(ctx, push.DryRun), nil
	}
	return p.serve(ctx, push.Host), nil
}

// A target is a host and the files it should have.
type target struct {
	host   string
	runner ssh.Runner
	files  []push.File
	err    error // why the repository lacks a file: then the host is not asked
}

// A pushing is [push.Host] or [push.DryRun].
type pushing = func(ctx context.Context, r ssh.Runner, host string, files []push.File) ([]push.Result, error)

// serve pushes to every target, or shows what it would push.
func (p *pusher) serve(ctx context.Context, do pushing) []Pushed {
	results := make([][]push.Result, len(p.targets))
	w := many.Work{Jobs: p.o.Jobs, StopAfter: p.o.StopAfter, Stop: p.o.Stop}
	for _, t := range p.targets {
		w.Hosts = append(w.Hosts, t.host)
	}
	w.Do = func(host string) (err error) {
		p.o.Begun(host)
		i := p.at[host]
		if err := p.targets[i].err; err != nil {
			return err
		}
		results[i], err = do(ctx, p.targets[i].runner, host, p.targets[i].files)
		return err
	}
	done := func(o many.Outcome) Pushed {
		r := results[p.at[o.Host]]
		return Pushed{o, r, p.others(o.Host, r)}
	}
	w.Done = func(o many.Outcome) { p.o.Done(done(o)) }
	all := make([]Pushed, len(p.targets))
	for i, o := range w.Run() {
		all[i] = done(o)
	}
	return all
}

// others finds files that had the key of another host.
func (p *pusher) others(host string, results []push.Result) map[string]string {
	others := map[string]string{}
	for _, r := range results {
		if r.Action != push.Replaced {
			continue
		}
		if other := p.past.OtherHost(host, r.Was); other != "" {
			others[r.Path] = other
		}
	}
	return others
}

// findTargets finds the hosts to serve and the key files that each should have.
func (p *pusher) findTargets(ctx context.Context) error {
	tunnels, err := p.maker.Repo.SomeTunnels(p.o.Only)
	if err != nil {
		return err
	}
	for _, t := range tunnels {
		p.add(ctx, t)
	}
	for _, host := range p.o.Named {
		if p.by[host] != nil {
			continue
		}
		for _, t := range tunnels {
			if err := t.RequireManaged(host, repo.ByHand(p.maker.Repo, t, host)); err != nil {
				return err
			}
		}
		return p.unknown(host, tunnels)
	}
	return nil
}

// prepare makes an age plugin open everything that this push needs at once: one touch of a
// hardware key, if the key allows that. For that the hosts are asked first what differs; if
// they do not answer, the push itself asks them again.
func (p *pusher) prepare(ctx context.Context) error {
	if !p.maker.IDs.MayAsk() || p.o.DryRun {
		return nil
	}
	var names []vault.Name
	quiet := *p
	quiet.o.Begun, quiet.o.Done, quiet.o.StopAfter = func(string) {}, func(Pushed) {}, 0
	for i, o := range quiet.serve(ctx, push.DryRun) {
		if errors.Is(o.Err, ssh.ErrSilent) {
			p.targets[i].runner = ssh.Lost{Err: o.Err} // do not wait for it twice
		}
		for _, f := range o.Results {
			if f.Action == push.Installed || f.Action == push.Replaced {
				names = append(names, p.from[[2]string{o.Host, f.Path}])
			}
		}
	}
	return p.maker.IDs.Prepare(p.maker.Repo.Vault, names)
}

// A pusher collects targets over all tunnels.
type pusher struct {
	maker   *Maker
	o       PushOptions
	targets []target
	at      map[string]int            // index of a host in targets
	by      map[string]*tunnel.Tunnel // the first tunnel of a host
	from    map[[2]string]vault.Name  // the vault file by host and path there
	past    *repo.KeyHistory
	places  *places
}

// unknown returns the error that no tunnel has the host, with the nearest name if there is
// one tunnel.
func (p *pusher) unknown(host string, tunnels []*tunnel.Tunnel) error {
	if len(tunnels) == 1 {
		if _, err := tunnels[0].KeyFiles(host); err != nil {
			return err
		}
	}
	return tunnel.NoSuchHost(tunnels, host)
}

// add adds the selected hosts of t, each once, except unmanaged ones.
func (p *pusher) add(ctx context.Context, t *tunnel.Tunnel) {
	same := tunnel.SameKeyFile(t)
	for _, host := range t.Hosts() {
		if !slices.Contains(p.o.Hosts, host) || t.Unmanaged(host) {
			continue
		}
		// A tunnel file that names this machine must not be enough to have root
		// write here.
		if !slices.Contains(p.o.Named, host) && p.maker.Hosts.IsLocal(t, host) {
			p.maker.Report.Say("left out %s, which is this machine: wgkeys push %[1]s serves it", host)
			continue
		}
		p.addHost(ctx, t, host)
		if other := same[host]; other != "" && !p.maker.Hosts.IsLocal(t, host) {
			p.targets[p.at[host]].err = tunnel.OneKeyFile(t, host, other)
		}
	}
}

// addHost adds a host with its files in t. An error in them does not keep other hosts from
// getting theirs.
func (p *pusher) addHost(ctx context.Context, t *tunnel.Tunnel, host string) {
	first := p.by[host]
	if first == nil {
		p.by[host], p.at[host] = t, len(p.targets)
		p.targets = append(p.targets, target{host: host, runner: p.maker.Hosts.Runner(t, host)})
	}
	at := &p.targets[p.at[host]]
	if at.err != nil {
		return
	}
	files, err := p.files(ctx, t, host)
	if err == nil && first != nil {
		err = p.sameWay(first, t, host)
	}
	at.files, at.err = append(at.files, files...), repo.OrAway(ctx, p.maker.Repo, err)
}

// sameWay refuses a host with different ssh destinations in two tunnels.
func (p *pusher) sameWay(first, t *tunnel.Tunnel, host string) error {
	one, _ := first.SSH(host)
	two, _ := t.SSH(host)
	if one != two || p.maker.Hosts.IsLocal(first, host) != p.maker.Hosts.IsLocal(t, host) {
		return fault.NewHost("two ssh destinations for host", host,
			fmt.Sprintf("%q by tunnel %s and %q by tunnel %s", one, first.Name, two, t.Name),
			"write the same ssh = into both tunnel files, or push one tunnel: wgkeys push -t "+first.Name+" "+host)
	}
	return nil
}

// files returns the key files of a host in one tunnel. It decrypts nothing.
func (p *pusher) files(ctx context.Context, t *tunnel.Tunnel, host string) ([]push.File, error) {
	paths, err := t.KeyFiles(host)
	if err != nil {
		return nil, err
	}
	var files []push.File
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		f := push.File{Path: paths[name]}
		if was, taken := p.from[[2]string{host, f.Path}]; taken {
			if err := p.otherTunnels(t, host, f.Path, was.File); err != nil {
				return nil, err
			}
		}
		p.from[[2]string{host, f.Path}] = vault.Name{Host: host, File: name}
		if name == t.Name+".key" {
			err = p.privateKey(ctx, t, host, name, &f)
			f.Machine = p.onMachine(ctx, t, host, f)
		} else {
			err = p.presharedKey(t.Name, host, name, &f)
		}
		if err != nil {
			return nil, err
		}
		f.MayReplace = p.mayReplace(ctx, t, host, name, f)
		files = append(files, f)
	}
	return files, nil
}

// mayReplace keeps a clone that is behind from restoring an old key, and a tunnel from
// replacing the key of another one.
func (p *pusher) mayReplace(ctx context.Context, t *tunnel.Tunnel, host, name string, f push.File) func(string) error {
	if p.o.Unknown {
		return nil
	}
	peer := ""
	if name != t.Name+".key" {
		peer = repo.PeerOf(t.Name, name)
	}
	again := repo.Command{Verb: "push", Host: host, In: repo.Commands(p.maker.Repo, t.Name)}
	if self := p.maker.Hosts.Self; self != "" {
		again.Verb += " --host " + ui.Quoted(self)
	}
	return func(has string) error {
		if file := p.past.PresentFile(host, has); file != "" {
			if err := p.otherTunnels(t, host, f.Path, file); err != nil {
				return err
			}
		}
		return p.past.NewerThere(ctx, t.Name, peer, f.Want, has, again)
	}
}

// otherTunnels refuses a file at path that the tunnel of the key called name has on the host, too.
func (p *pusher) otherTunnels(t *tunnel.Tunnel, host, path, name string) error {
	other, _ := repo.OwnerOf(name)
	if other == t.Name {
		return nil
	}
	its, err := repo.Parse(p.maker.Repo, other)
	if err != nil {
		return err
	}
	if paths, err := its.KeyFiles(host); err != nil || paths[name] != path {
		return nil // that tunnel keeps it elsewhere by now
	}
	if shared := tunnel.SharedKeyFile(its, t, host); shared != nil {
		return shared
	}
	return nil
}

// genIfNone is the hint for a public key that could not be read: none where there is one, if
// not a valid one.
func genIfNone(t *tunnel.Tunnel, host string, err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return t.Commands.Gen(host)
}

func (p *pusher) privateKey(ctx context.Context, t *tunnel.Tunnel, host, name string, f *push.File) error {
	public, err := p.maker.Repo.Ring.Get(host, t.Name)
	if err != nil {
		gen := genIfNone(t, host, err)
		if gen != "" {
			err = withoutHint(err)
		}
		return fault.WrapHost(err, "nothing to push to host", host, gen)
	}
	c, err := p.maker.Repo.KeyState(host, t.Name)
	if err != nil {
		return err
	}
	switch {
	case c.VaultPromoted: // finished, except in the keyring
		public = c.Next
	case !c.Next.IsZero():
		f.Next = c.Next.String()
	}
	// A host that makes its key itself has a public key and no vault file.
	_, err = p.maker.Repo.Vault.Meta(host, name)
	f.HostOnly = errors.Is(err, fs.ErrNotExist)
	p.maker.tellByHand(err)
	f.Want = public.String()
	f.Secret = func() ([]byte, error) {
		k, err := p.maker.Repo.Vault.OpenKey(host, name, public, p.maker.IDs)
		if away := repo.OrAway(ctx, p.maker.Repo, err); away != err {
			return nil, away
		}
		switch {
		case f.HostOnly && errors.Is(err, fs.ErrNotExist): // otherwise the error is about a missing identity file
			pub := p.maker.Repo.Ring.Path(host, t.Name)
			return nil, fault.WrapFile(withoutHint(err),
				"no private key in the vault, and "+host+" does not have the one of", pub,
				"git log -- "+ui.Quoted(p.maker.Repo.Vault.Path(host, name))+"; if it is lost, or "+host+
					" made its key itself and lost it: rm "+ui.Quoted(pub)+", then "+t.Commands.Run("gen", host))
		case err != nil:
			return nil, err
		}
		return k.File(), nil
	}
	return nil
}

// presharedKey takes the key's fingerprint from the file of the other host: a key that was
// replaced in one folder alone is refused, and not installed.
func (p *pusher) presharedKey(tunnel, host, name string, f *push.File) error {
	mine, other, err := p.maker.Repo.PSK(tunnel, host, repo.PeerOf(tunnel, name))
	if err != nil {
		return err
	}
	for _, h := range []repo.PSKFile{mine, other} {
		switch {
		case errors.Is(h.Err, vault.ErrNoMeta):
			return fault.WrapHost(h.Err, "no preshared key to push to host", host, "")
		case h.Err != nil:
			return fault.WrapHost(h.Err, "no preshared key to push to host", host,
				repo.Commands(p.maker.Repo, tunnel).Gen(h.Host))
		}
	}
	f.Want = other.PSK
	f.Secret = func() ([]byte, error) {
		k, err := p.maker.Repo.Vault.OpenPSK(host, name, other.PSK, p.maker.IDs)
		if err != nil {
			return nil, err
		}
		return k.File(), nil
	}
	return nil
}
