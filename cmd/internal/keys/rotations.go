package keys

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// Rotations are those that the user asked for.
type Rotations struct {
	maker *Maker
	o     RotateOptions
	keys  []*rotation
	psks  []*pskRotation
	left  []step   // that failed, or were not begun
	Made  []string // for the commit message

	unmanaged map[string]error // unmanaged hosts, and what to do instead
	stays     [][2]string      // a managed and an unmanaged host whose preshared key stays
}

// Rotations finds what has to be rotated: a rotation for each host of each tunnel, and for
// each preshared key. It asks no host.
func (m *Maker) Rotations(o RotateOptions) (*Rotations, error) {
	q := &Rotations{maker: m, o: o, unmanaged: map[string]error{}}
	if err := q.findKeys(); err != nil {
		return nil, err
	}
	if !o.PSKOnly {
		q.leaveOutOwed()
	}
	if err := q.findPSKs(); err != nil {
		return nil, err
	}
	if o.PSKOnly {
		q.keys = nil
	}
	return q, nil
}

// Count is the number of rotations.
func (q *Rotations) Count() int { return len(q.keys) + len(q.psks) }

// NotDone is the number of those that failed or were not begun.
func (q *Rotations) NotDone() int { return len(q.left) }

// Announce says what will happen.
func (q *Rotations) Announce() {
	for _, x := range q.keys {
		peers := "no peer"
		if len(x.rotation.Peers) > 0 {
			var names []string
			for _, p := range x.rotation.Peers {
				names = append(names, p.Host)
			}
			const few = 8
			peers = strings.Join(names, ", ")
			if len(names) > few {
				peers = ui.Plural(len(names), "peer") + " (" + ui.Naming(names) + ")"
			}
		}
		text := "gets a new key; " + peers + " will follow"
		if len(x.unmanaged) > 0 {
			text += "; its public key is to be given by hand to " + strings.Join(x.unmanaged, ", ")
		}
		q.o.Event(rotate.Event{Host: x.host, Tunnel: x.tunnel.Name, Phase: "plan", Text: text})
	}
	for _, x := range q.psks {
		q.o.Event(rotate.Event{Host: x.hosts[0], Tunnel: x.tunnel.Name, Phase: "plan",
			Text: "gets a new preshared key with " + x.hosts[1]})
	}
}

// A step is one of several rotations.
type step interface {
	run(ctx context.Context) error
	replaced() []string // keys that are current now, for the user
	of() string         // the host that is named for it
	in() string         // the tunnel
	pskOnly() bool      // of two hosts' preshared key alone
}

// Run replaces the keys one after the other. If there are several, and ctx ends, the one
// under way is finished and no more are begun.
func (q *Rotations) Run(ctx context.Context) (errs []error) {
	own := ctx
	if q.Count() > 1 {
		own = context.WithoutCancel(ctx)
	}
	for _, x := range q.steps() {
		if ctx.Err() != nil || q.o.StopAfter > 0 && len(errs) >= q.o.StopAfter {
			q.left = append(q.left, x)
			continue
		}
		if p, ok := x.(*pskRotation); ok && q.behind(p) {
			continue
		}
		if err := x.run(own); err != nil {
			errs = append(errs, err)
			q.left = append(q.left, x)
		}
		q.Made = append(q.Made, x.replaced()...)
	}
	if ctx.Err() != nil && len(q.left) > 0 && len(errs) == 0 {
		errs = append(errs, fault.New("interrupted", "", fmt.Sprintf("%d of %d were not begun", len(q.left), q.Count()), ""))
	}
	q.tellByHand()
	return errs
}

// behind reports whether one of two hosts was left behind by a rotation of the other: then
// their preshared key is skipped, too.
func (q *Rotations) behind(p *pskRotation) bool {
	return slices.ContainsFunc(q.keys, func(x *rotation) bool {
		return x.tunnel.Name == p.tunnel.Name && slices.Contains(p.hosts[:], x.host) &&
			slices.ContainsFunc(x.rotation.LeftBehind, func(peer string) bool { return slices.Contains(p.hosts[:], peer) })
	})
}

func (q *Rotations) steps() (all []step) {
	for _, x := range q.keys {
		all = append(all, x)
	}
	for _, x := range q.psks {
		all = append(all, x)
	}
	return all
}

// A Rest is what was not done in one tunnel: the hosts whose key was not replaced, and
// those of which only preshared keys were not, each once.
type Rest struct {
	Tunnel     string
	Keys, PSKs []string
}

// Left returns what was not done, a Rest for each tunnel. Several reports whether there was
// anything to do in another tunnel as well: then naming only a host would replace its key
// there again.
func (q *Rotations) Left() (rest []Rest, several bool) {
	of := map[string]*Rest{}
	for _, x := range q.steps() {
		of[x.in()] = &Rest{Tunnel: x.in()}
	}
	for _, x := range q.left {
		if r := of[x.in()]; !x.pskOnly() && !slices.Contains(r.Keys, x.of()) {
			r.Keys = append(r.Keys, x.of())
		}
	}
	for _, x := range q.left {
		if r := of[x.in()]; x.pskOnly() && !slices.Contains(slices.Concat(r.Keys, r.PSKs), x.of()) {
			r.PSKs = append(r.PSKs, x.of())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if r := of[name]; len(r.Keys)+len(r.PSKs) > 0 {
			slices.Sort(r.Keys)
			slices.Sort(r.PSKs)
			rest = append(rest, *r)
		}
	}
	return rest, len(of) > 1
}

func (x *rotation) replaced() []string    { return x.made }
func (x *rotation) of() string            { return x.host }
func (x *rotation) in() string            { return x.tunnel.Name }
func (x *rotation) pskOnly() bool         { return false }
func (x *pskRotation) replaced() []string { return x.made }
func (x *pskRotation) of() string         { return x.hosts[0] }
func (x *pskRotation) in() string         { return x.tunnel.Name }
func (x *pskRotation) pskOnly() bool      { return true }

// due finds the keys that are older than max_key_age, in all tunnels.
func (q *Rotations) due() ([]repo.HostKey, error) {
	r := q.maker.Repo
	if !q.o.Due {
		return nil, nil
	}
	if r.MaxKeyAge == 0 {
		return nil, ui.Usage("cannot tell which keys are due in", r.Dir, "max_key_age is not set in "+repo.Marker,
			`write max_key_age = "365d" into `+repo.Marker)
	}
	return r.Due(time.Now())
}

func (q *Rotations) findKeys() error {
	tunnels, err := q.maker.Repo.SomeTunnels(q.o.Only)
	if err != nil {
		return err
	}
	due, err := q.due()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, t := range tunnels {
		for _, host := range t.Hosts() {
			wanted := q.wanted(host, t.Name, due)
			if t.Unmanaged(host) {
				q.leaveOut(host, t, wanted)
				continue
			}
			known[host] = true
			if !wanted {
				continue
			}
			x, err := q.rotation(t, host)
			if err != nil {
				return err
			}
			q.keys = append(q.keys, x)
		}
	}
	for _, name := range q.o.Hosts {
		if err := q.unmanaged[name]; err != nil && !known[name] && !q.o.PSKOnly {
			return err
		}
	}
	for _, name := range slices.Concat(q.o.Hosts, q.o.Skip) {
		if !known[name] && q.unmanaged[name] == nil {
			return tunnel.NoSuchHost(tunnels, name)
		}
	}
	return nil
}

// wanted reports whether the key of a host has to be replaced.
func (q *Rotations) wanted(host, tunnel string, due []repo.HostKey) bool {
	named := slices.Contains(q.o.Hosts, host)
	switch {
	case len(q.o.Hosts) > 0 && !named, !named && slices.Contains(q.o.Skip, host):
		return false
	case q.o.Due && !slices.ContainsFunc(due, func(k repo.HostKey) bool { return k.Host == host && k.Tunnel == tunnel }):
		return false
	}
	return q.o.Selected == nil || q.o.Selected.Has(host, tunnel)
}

// A rotation replaces one host's key in one tunnel.
type rotation struct {
	maker    *Maker
	o        *RotateOptions
	tunnel   *tunnel.Tunnel
	host     string
	current  keyring.PublicKey
	rotation *rotate.Rotation
	skipped  []string

	unmanaged []string          // peers that get the new public key by hand
	settled   keyring.PublicKey // the new key, once it is the current one
	made      []string          // keys that are current now, for the user
}

func (q *Rotations) rotation(t *tunnel.Tunnel, host string) (*rotation, error) {
	m := q.maker
	current, err := m.Repo.Ring.Get(host, t.Name)
	if err != nil {
		return nil, fault.WrapHost(err, "no key to replace on host", host, genIfNone(t, host, err))
	}
	view, err := m.Repo.View(t, host)
	if err != nil {
		return nil, err
	}
	_, err = m.Repo.Vault.Meta(host, vault.KeyFile(t.Name))
	m.tellByHand(err)
	x := &rotation{maker: m, o: &q.o, tunnel: t, host: host, current: current}
	x.rotation = &rotate.Rotation{Tunnel: t.Name, Commands: t.Commands, Jobs: q.o.Jobs, NoHold: q.o.NoHold,
		Report: q.o.Event, SkipUnreachable: q.o.SkipUnreachable, NoAnswer: noAnswer}
	if x.rotation.Host, err = m.Hosts.Participant(t, host); err != nil {
		return nil, err
	}
	for _, p := range view.Peers {
		if p.Unmanaged {
			x.unmanaged = append(x.unmanaged, p.Name)
			continue
		}
		if slices.Contains(q.o.Skip, p.Name) {
			x.skipped = append(x.skipped, p.Name)
			continue
		}
		peer, err := m.Hosts.Participant(t, p.Name)
		if err != nil {
			return nil, err
		}
		x.rotation.Peers = append(x.rotation.Peers, peer)
	}
	x.rotation.Flags = q.o.flags()
	return x, nil
}

// flags are those of the command line that the same rotation needs again.
func (o *RotateOptions) flags() (line []string) {
	for _, f := range []struct {
		set  bool
		name string
	}{{o.OnHost, "--on-host"}, {o.Unknown, "--unknown"}, {o.NoHold, "--no-hold"}} {
		if f.set {
			line = append(line, f.name)
		}
	}
	for _, peer := range o.Skip {
		line = append(line, "--skip", peer)
	}
	return line
}

// noAnswer reports whether a host could not be reached at all.
func noAnswer(err error) bool {
	return errors.Is(err, ssh.ErrUnreachable) || errors.Is(err, ssh.ErrSilent)
}

// leaveOutOwed leaves out the rotations of hosts whose new key only has to be committed.
func (q *Rotations) leaveOutOwed() {
	r := q.maker.Repo
	q.keys = slices.DeleteFunc(q.keys, func(x *rotation) bool {
		s, err := r.KeyState(x.host, x.tunnel.Name)
		if err != nil || s.UnderWay() || !slices.Contains(r.Changes.Owed, r.Ring.Path(x.host, x.tunnel.Name)) {
			return false
		}
		q.Made = append(q.Made, fmt.Sprintf("%s %s replaced by an earlier command", x.host, x.tunnel.Name))
		q.maker.Report.Say("%s has a new key in %s from an earlier command, which is committed now; it is not replaced again",
			x.host, x.tunnel.Name)
		return true
	})
}

// findPSKs finds the preshared keys that are replaced with the keys of some hosts, and
// those of the selection, each pair once.
func (q *Rotations) findPSKs() error {
	tunnels, err := q.maker.Repo.SomeTunnels(q.o.Only)
	if err != nil {
		return err
	}
	past := &repo.KeyHistory{Repo: q.maker.Repo}
	for _, t := range tunnels {
		for _, pair := range t.PSKPairs() {
			pair, byHand := managedFirst(t, pair)
			if !q.wantedPSK(t.Name, pair, byHand) {
				continue
			}
			if err := q.knownPSK(t.Name, pair); err != nil {
				return err
			}
			x := &pskRotation{maker: q.maker, o: &q.o, tunnel: t, hosts: pair, byHand: byHand, past: past}
			if err := x.reach(); err != nil {
				return err
			}
			q.psks = append(q.psks, x)
		}
	}
	q.sayStays()
	return nil
}

// knownPSK refuses a preshared key without metadata: it is not known whether the hosts use
// it, so it must not be overwritten, unless a key was stolen.
func (q *Rotations) knownPSK(tunnel string, pair [2]string) error {
	if q.o.Unknown || q.o.Now {
		return nil
	}
	var errs []error
	for i, host := range pair {
		if h := q.maker.Repo.PSKFile(tunnel, host, pair[1-i]); errors.Is(h.Err, vault.ErrNoMeta) {
			errs = append(errs, h.Err)
		}
	}
	return errors.Join(errs...)
}

// wantedPSK reports whether to replace the preshared key of two hosts. One that the second
// host gets by hand is replaced only if that host is named, since the two cannot complete a
// handshake until it has it.
func (q *Rotations) wantedPSK(tunnel string, pair [2]string, byHand bool) bool {
	if slices.ContainsFunc(pair[:], func(host string) bool { return slices.Contains(q.o.Skip, host) }) {
		return false
	}
	wanted := q.asksForPSK(tunnel, pair)
	if !byHand {
		return wanted
	}
	if q.o.PSKOnly && slices.Contains(q.o.Hosts, pair[1]) {
		return true
	}
	if wanted {
		q.stays = append(q.stays, pair)
	}
	return false
}

// asksForPSK reports whether the preshared key of two hosts belongs to what the user asked
// for.
func (q *Rotations) asksForPSK(tunnel string, pair [2]string) bool {
	return q.o.Selected != nil && q.o.Selected.HasPSK(pair, tunnel) ||
		slices.ContainsFunc(q.keys, func(x *rotation) bool {
			return x.tunnel.Name == tunnel && slices.Contains(pair[:], x.host)
		})
}

// Unmanaged hosts take no part in a rotation: what changes for them is brought there by
// hand.

// managedFirst puts the managed host first, and reports whether the other is unmanaged.
func managedFirst(t *tunnel.Tunnel, pair [2]string) (ordered [2]string, byHand bool) {
	if t.Unmanaged(pair[0]) {
		return [2]string{pair[1], pair[0]}, true
	}
	return pair, t.Unmanaged(pair[1])
}

// leaveOut records an unmanaged host. If the command was about its key, and the vault has
// one, it says that the key stays.
func (q *Rotations) leaveOut(host string, t *tunnel.Tunnel, wanted bool) {
	how := repo.NewKeyByHand(q.maker.Repo, host, t.Name)
	q.unmanaged[host] = t.RequireManaged(host, how)
	if wanted && (q.o.Due || q.o.Selected != nil) && !q.o.PSKOnly {
		q.maker.Report.Warn(fault.NewHost("will not replace the key of host", host, "nobody logs in to it", how))
	}
}

// tellByHand says what is left to be done by hand on unmanaged hosts.
func (q *Rotations) tellByHand() {
	for _, x := range q.keys {
		if x.settled.IsZero() || len(x.unmanaged) == 0 {
			continue
		}
		others := strings.Join(x.unmanaged, ", ")
		text := "give " + others + " its new public key by hand, or with " + repo.ExportTo(x.unmanaged) + ": " +
			x.settled.String() + "; until then " + x.host + " cannot be reached from there"
		if x.o.Now {
			text += ", and whoever stole the old key can pass for it there"
		}
		q.o.Event(rotate.Event{Host: x.host, Tunnel: x.tunnel.Name, Phase: "by hand", Text: text, Key: x.settled})
	}
	for _, x := range q.psks {
		if !x.byHand || len(x.made) == 0 {
			continue
		}
		text := "to be brought by hand, until then the two cannot reach each other: the preshared key with " + x.hosts[1] +
			", to it: wgkeys export --secret " + x.hosts[1]
		q.o.Event(rotate.Event{Host: x.hosts[0], Tunnel: x.tunnel.Name, Phase: "by hand", Text: text})
	}
}

// sayStays says which preshared keys are not replaced with the keys of their hosts.
func (q *Rotations) sayStays() {
	if len(q.stays) == 0 {
		return
	}
	names := make([]string, len(q.stays))
	for i, pair := range q.stays {
		names[i] = pair[0] + " with " + pair[1]
	}
	q.maker.Report.Say("preshared keys that stay, since nobody logs in to the second host: %s; "+
		"to replace one: wgkeys rotate --psk %s", strings.Join(names, ", "), q.stays[0][1])
}
