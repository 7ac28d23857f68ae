package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/push"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

func pushCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "push",
		Usage:     "install key files on hosts, where they differ",
		ArgsUsage: "HOST...|--all",
		Description: "The hosts are asked first what they have: a key that agrees is not decrypted,\n" +
			"and with nothing to do no identity is needed. A file that holds anything but a\n" +
			"key is not replaced, nor is a key that neither the repository nor its history has:\n" +
			"the clone may be behind. This machine is served only if it is named, also with --all.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every host of the tunnels"},
			&cli.BoolFlag{Name: "unknown", Usage: "also replace a key that this repository does not know"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "serve `N` hosts at once", Value: push.DefaultJobs},
			tunnelFlag, identityFlag, hostFlag, dryRunFlag, jsonFlag, timeoutFlag,
		},
	}, doPush
}

func doPush(e *env) error {
	if len(e.names()) == 0 && !e.cli.Bool("all") {
		return ui.Usage("no host named for", "wgkeys push", "it serves the hosts that you name", "wgkeys push HOST..., or wgkeys push --all")
	}
	if e.cli.Int("jobs") < 1 {
		return ui.Usage("too few hosts at once for", "wgkeys push", "-j begins with 1", "wgkeys push --help")
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	p, err := newPusher(r, e, ids)
	if err != nil {
		return err
	}
	if err := p.prepare(); err != nil {
		return err
	}
	targets := p.targets
	var errs []error
	report := func(o push.Outcome) {
		if !e.cli.Bool("json") {
			e.reportPush(o)
		}
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	outcomes := push.All(e.ctx, targets, e.cli.Int("jobs"), e.cli.Bool("dry-run"), report)
	if e.cli.Bool("json") {
		if err := e.ui.JSON(pushJSON(outcomes)); err != nil {
			return err
		}
	}
	if e.cli.Bool("dry-run") && len(errs) == 0 && slices.ContainsFunc(outcomes, toPush) {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return failures(len(errs), len(targets), errors.Join(errs...))
}

// toPush reports whether a push has, or would have, something to install on a host.
func toPush(o push.Outcome) bool {
	return slices.ContainsFunc(o.Results, func(r push.Result) bool { return r.Action != push.Unchanged })
}

// prepare has an age plugin open everything that this push needs at once: one
// touch of a hardware key, where it allows that. For it the hosts are asked first
// what differs; what they cannot answer they are asked again by the push itself.
func (p *pusher) prepare() error {
	if !p.ids.MayAsk() || p.cli.Bool("dry-run") {
		return nil
	}
	var names []vault.Name
	for i, o := range push.All(p.ctx, p.targets, p.cli.Int("jobs"), true, nil) {
		if errors.Is(o.Err, ssh.ErrSilent) {
			p.targets[i].Runner = ssh.Lost{Err: o.Err} // it is not waited for twice
		}
		for _, f := range o.Results {
			if f.Action == push.Installed || f.Action == push.Replaced {
				names = append(names, p.from[[2]string{o.Host, f.Path}])
			}
		}
	}
	return p.repo.Vault.Prepare(p.ids, names)
}

func (e *env) reportPush(o push.Outcome) {
	for _, f := range o.Results {
		action := string(f.Action)
		if e.cli.Bool("dry-run") && f.Action != push.Unchanged {
			action = "to be " + action
		}
		if f.Was == push.NoKey {
			action += ", and held no key"
		}
		switch {
		case f.Next:
			action += ", holds its next key: wgkeys rotate " + o.Host + " finishes the rotation"
		case f.HostOnly && f.Action == push.Unchanged:
			action = "nothing to push: " + o.Host + " made its key itself"
		}
		e.ui.Printf("%s %s %s\n", o.Host, f.Path, action)
	}
}

// A pushedHost is an outcome for programs.
type pushedHost struct {
	Host  string        `json:"host"`
	Files []push.Result `json:"files"`
	Error string        `json:"error,omitempty"`
}

func pushJSON(outcomes []push.Outcome) []pushedHost {
	out := make([]pushedHost, len(outcomes))
	for i, o := range outcomes {
		out[i] = pushedHost{Host: o.Host, Files: append([]push.Result{}, o.Results...)}
		if o.Err != nil {
			out[i].Error = o.Err.Error()
		}
	}
	return out
}

// newPusher are the hosts to serve and the key files that each should have.
func newPusher(r *repo.Repo, e *env, ids *vault.Identities) (*pusher, error) {
	tunnels, err := r.SomeTunnels(e.cli.String("tunnel"))
	if err != nil {
		return nil, err
	}
	p := &pusher{env: e, repo: r, ids: ids, at: map[string]int{}, by: map[string]*tunnel.Tunnel{}, from: map[[2]string]vault.Name{}, past: &repo.KeyHistory{Repo: r}}
	for _, t := range tunnels {
		if err := p.add(t); err != nil {
			return nil, err
		}
	}
	for _, host := range e.names() {
		if p.by[host] == nil {
			return nil, p.unknown(host, tunnels)
		}
	}
	return p, nil
}

// A pusher collects targets over all tunnels.
type pusher struct {
	*env
	repo    *repo.Repo
	ids     *vault.Identities
	targets []push.Target
	at      map[string]int            // index of a host in targets
	by      map[string]*tunnel.Tunnel // the first tunnel of a host
	from    map[[2]string]vault.Name  // the vault file by host and path there
	past    *repo.KeyHistory
}

// unknown says that no tunnel has the host, with the nearest name where there
// is one tunnel.
func (p *pusher) unknown(host string, tunnels []*tunnel.Tunnel) error {
	if len(tunnels) == 1 {
		if _, err := tunnels[0].KeyFiles(host); err != nil {
			return err
		}
	}
	return fault.New("no such host", host, "no tunnel file names it", "grep hosts "+tunnel.Dir+"/*.toml")
}

// add adds the hosts of t that were asked for, each once.
func (p *pusher) add(t *tunnel.Tunnel) error {
	for _, host := range t.Hosts() {
		named := slices.Contains(p.names(), host)
		if !named && !p.cli.Bool("all") {
			continue
		}
		// A tunnel file that names this machine must not be enough to have root
		// write here.
		if !named && p.hosts.IsLocal(t, host) {
			p.ui.Say("left out %s, which is this machine: wgkeys push %[1]s serves it", host)
			continue
		}
		if err := p.addHost(t, host); err != nil {
			return err
		}
	}
	return nil
}

func (p *pusher) addHost(t *tunnel.Tunnel, host string) error {
	files, err := p.files(t, host)
	if err != nil {
		return err
	}
	first := p.by[host]
	if first == nil {
		p.by[host], p.at[host] = t, len(p.targets)
		p.targets = append(p.targets, push.Target{Host: host, Runner: p.hosts.Runner(t, host), Files: files})
		return nil
	}
	one, _ := first.SSH(host)
	two, _ := t.SSH(host)
	if one != two || p.hosts.IsLocal(first, host) != p.hosts.IsLocal(t, host) {
		return fault.New("two ssh destinations for host", host,
			fmt.Sprintf("%q by tunnel %s and %q by tunnel %s", one, first.Name, two, t.Name),
			"write the same ssh = into both tunnel files, or push one tunnel: wgkeys push -t "+first.Name+" "+host)
	}
	target := &p.targets[p.at[host]]
	target.Files = append(target.Files, files...)
	return nil
}

// files are the key files of a host in one tunnel. Nothing is decrypted here.
func (p *pusher) files(t *tunnel.Tunnel, host string) ([]push.File, error) {
	paths, err := t.KeyFiles(host)
	if err != nil {
		return nil, err
	}
	var files []push.File
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		f := push.File{Path: paths[name]}
		p.from[[2]string{host, f.Path}] = vault.Name{Host: host, File: name}
		if name == t.Name+".key" {
			err = p.privateKey(t, host, name, &f)
		} else {
			err = p.presharedKey(t.Name, host, name, &f)
		}
		if err != nil {
			return nil, err
		}
		f.MayReplace = p.mayReplace(t.Name, host, name, f.Want)
		files = append(files, f)
	}
	return files, nil
}

// mayReplace keeps a clone that is behind from putting a key back.
func (p *pusher) mayReplace(tunnel, host, name, want string) func(string) error {
	if p.cli.Bool("unknown") {
		return nil
	}
	peer := ""
	if name != tunnel+".key" {
		peer = repo.PeerOf(tunnel, name)
	}
	return func(has string) error { return p.past.NewerThere(p.ctx, host, tunnel, peer, want, has, "push") }
}

func (p *pusher) privateKey(t *tunnel.Tunnel, host, name string, f *push.File) error {
	public, err := p.repo.Ring.Get(host, t.Name)
	if err != nil {
		return fault.Wrap(err, "nothing to push to host", host, "wgkeys gen "+host)
	}
	c, err := p.repo.KeyState(host, t.Name)
	if err != nil {
		return err
	}
	switch {
	case c.VaultPromoted: // over, but for the keyring
		public = c.Next
	case !c.Next.IsZero():
		f.Next = c.Next.String()
	}
	// A host that makes its key itself has a public key and no vault file.
	_, err = p.repo.Vault.Meta(host, name)
	f.HostOnly = errors.Is(err, fs.ErrNotExist)
	f.Want = public.String()
	f.Secret = func() ([]byte, error) {
		k, err := p.repo.Vault.OpenKey(host, name, public, p.ids)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault.Wrap(err, "no private key in the vault, and "+host+" has not the one of", p.repo.Ring.Path(host, t.Name),
				"git log -- "+p.repo.Vault.Path(host, name)+"; if it is lost, or "+host+" made its key itself and lost it: rm "+
					p.repo.Ring.Path(host, t.Name)+", then wgkeys gen "+host)
		case err != nil:
			return nil, err
		}
		return k.File(), nil
	}
	return nil
}

// presharedKey takes the key's mark from the file of the other host: a key that
// was replaced in one folder alone is refused, not installed.
func (p *pusher) presharedKey(tunnel, host, name string, f *push.File) error {
	mine, other, err := p.repo.PSK(tunnel, host, repo.PeerOf(tunnel, name))
	if err != nil {
		return err
	}
	for _, h := range []repo.PSKFile{mine, other} {
		if h.Err != nil {
			return fault.Wrap(h.Err, "no preshared key to push to host", host, "wgkeys gen "+h.Host)
		}
	}
	f.Want = other.PSK
	f.Secret = func() ([]byte, error) {
		k, err := p.repo.Vault.OpenPSK(host, name, other.PSK, p.ids)
		if err != nil {
			return nil, err
		}
		return k.File(), nil
	}
	return nil
}
