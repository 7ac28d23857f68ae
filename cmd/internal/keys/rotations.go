package keys

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Rotations are those that were asked for.
type Rotations struct {
	maker *Maker
	o     RotateOptions
	keys  []*rotation
	psks  []*pskRotation
	Made  []string // what is to be said of them in a commit
}

// Rotations finds what is to be rotated: a rotation for each host of each tunnel, and
// for each preshared key. It asks no host.
func (m *Maker) Rotations(o RotateOptions) (*Rotations, error) {
	q := &Rotations{maker: m, o: o}
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

// Count is how many there are.
func (q *Rotations) Count() int { return len(q.keys) + len(q.psks) }

// Announce tells what will happen.
func (q *Rotations) Announce() {
	for _, x := range q.keys {
		peers := "no peer"
		if len(x.rotation.Peers) > 0 {
			var names []string
			for _, p := range x.rotation.Peers {
				names = append(names, p.Host)
			}
			peers = strings.Join(names, ", ")
		}
		q.o.Event(rotate.Event{Host: x.host, Tunnel: x.tunnel.Name, Phase: "plan", Text: "gets a new key; " + peers + " will follow"})
	}
	for _, x := range q.psks {
		q.o.Event(rotate.Event{Host: x.hosts[0], Tunnel: x.tunnel.Name, Phase: "plan", Text: "gets a new preshared key with " + x.hosts[1]})
	}
}

// Run replaces the keys one after the other.
func (q *Rotations) Run(ctx context.Context) (errs []error) {
	for i, x := range q.keys {
		if ctx.Err() != nil {
			errs = append(errs, fault.NewHost("stopped before host", x.host, fmt.Sprintf("%d of %d are left", len(q.keys)-i, len(q.keys)), "wgkeys rotate "+x.host))
			break
		}
		if err := x.run(ctx); err != nil {
			errs = append(errs, err)
		}
		q.Made = append(q.Made, x.made...)
	}
	for _, x := range q.psks {
		if ctx.Err() != nil {
			break
		}
		if err := x.run(ctx); err != nil {
			errs = append(errs, err)
		}
		q.Made = append(q.Made, x.made...)
	}
	return errs
}

// due are the keys that are, of all tunnels.
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
			known[host] = true
			if !q.wanted(host, t.Name, due) {
				continue
			}
			x, err := q.rotation(t, host)
			if err != nil {
				return err
			}
			q.keys = append(q.keys, x)
		}
	}
	for _, name := range slices.Concat(q.o.Hosts, q.o.Skip) {
		if !known[name] {
			return fault.NewHost("no such host", name, "no tunnel file names it", "grep hosts "+tunnel.Dir+"/*.toml")
		}
	}
	return nil
}

// wanted reports whether the key of a host is to be replaced.
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

// A rotation is that of one host's key in one tunnel.
type rotation struct {
	maker    *Maker
	o        *RotateOptions
	tunnel   *tunnel.Tunnel
	host     string
	current  keyring.PublicKey
	rotation *rotate.Rotation
	skipped  []string
	made     []string // keys that are current now, for a person
}

func (q *Rotations) rotation(t *tunnel.Tunnel, host string) (*rotation, error) {
	m := q.maker
	current, err := m.Repo.Ring.Get(host, t.Name)
	if err != nil {
		return nil, fault.WrapHost(err, "no key to replace on host", host, "wgkeys gen "+host)
	}
	view, err := m.Repo.View(t, host)
	if err != nil {
		return nil, err
	}
	x := &rotation{maker: m, o: &q.o, tunnel: t, host: host, current: current}
	x.rotation = &rotate.Rotation{Tunnel: t.Name, Jobs: q.o.Jobs, NoHold: q.o.NoHold, Report: q.o.Event}
	if x.rotation.Host, err = m.Hosts.Participant(t, host); err != nil {
		return nil, err
	}
	for _, p := range view.Peers {
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
	return x, nil
}

// leaveOutOwed leaves out the rotations of hosts whose new key only lacks its commit.
func (q *Rotations) leaveOutOwed() {
	r := q.maker.Repo
	q.keys = slices.DeleteFunc(q.keys, func(x *rotation) bool {
		s, err := r.KeyState(x.host, x.tunnel.Name)
		if err != nil || s.UnderWay() || !slices.Contains(r.Changes.Owed, r.Ring.Path(x.host, x.tunnel.Name)) {
			return false
		}
		q.Made = append(q.Made, fmt.Sprintf("%s %s replaced by an earlier command", x.host, x.tunnel.Name))
		q.maker.Report.Say("%s has a new key in %s from an earlier command, which is committed now; it is not replaced again", x.host, x.tunnel.Name)
		return true
	})
}

// findPSKs finds the preshared keys that go with the rotations of some hosts, and those
// of the selection, each pair once.
func (q *Rotations) findPSKs() error {
	tunnels, err := q.maker.Repo.SomeTunnels(q.o.Only)
	if err != nil {
		return err
	}
	past := &repo.KeyHistory{Repo: q.maker.Repo}
	for _, t := range tunnels {
		for _, pair := range t.PSKPairs() {
			if !q.wantedPSK(t.Name, pair) {
				continue
			}
			x := &pskRotation{maker: q.maker, o: &q.o, tunnel: t, hosts: pair, past: past}
			if err := x.reach(); err != nil {
				return err
			}
			q.psks = append(q.psks, x)
		}
	}
	return nil
}

// wantedPSK reports whether the preshared key of two hosts is to be replaced.
func (q *Rotations) wantedPSK(tunnel string, pair [2]string) bool {
	if slices.ContainsFunc(pair[:], func(host string) bool { return slices.Contains(q.o.Skip, host) }) {
		return false
	}
	return q.o.Selected != nil && q.o.Selected.HasPSK(pair, tunnel) ||
		slices.ContainsFunc(q.keys, func(x *rotation) bool { return x.tunnel.Name == tunnel && slices.Contains(pair[:], x.host) })
}
